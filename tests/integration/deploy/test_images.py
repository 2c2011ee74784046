"""The Dockerfile's images: labels, a health check, no shell; and the health check itself. tests/docker runs them."""

from __future__ import annotations

import http.server
import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.images import LIMITS
from tests.support.certificates import Authority
from tests.support.docker import NAMES

ROOT = Path(__file__).parents[3]
CHECK = ROOT / "deploy" / "healthcheck.py"
STAGES = {
    re.split(r"\sAS\s", stage.splitlines()[0])[-1]: stage
    for stage in re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
}
PLANES = {"controlplane": "ADMIN_LISTEN", "dataplane": "STATUS_LISTEN"}
IMAGES = (*PLANES, "sdk")


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_says_what_it_is(name: str) -> None:
    stages = STAGES["image"] + STAGES[name]
    for label in ("licenses", "version", "revision", "title", "description"):
        assert f"org.opencontainers.image.{label}=" in stages


@pytest.mark.parametrize(("plane", "setting"), PLANES.items())
def test_an_image_checks_the_port_that_it_listens_on(plane: str, setting: str) -> None:
    assert f'CMD ["python3", "-IS", "/opt/headgate-healthcheck.py", "{setting}"]' in STAGES[plane]
    assert re.search(rf"{setting}=0\.0\.0\.0:\d+", STAGES[plane])


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_needs_no_shell(name: str) -> None:
    stages = STAGES["image"] + STAGES[name]
    assert "\nRUN " not in stages
    commands = re.findall(r"(?:CMD|ENTRYPOINT) (.*)", stages)
    assert commands
    assert all(json.loads(command) for command in commands)


def test_what_is_copied_is_in_the_build_context() -> None:
    context = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", "".join(STAGES.values()), re.MULTILINE):
        for source in line.split():
            assert f"!{source}" in context
            assert (ROOT / source).exists()


def test_every_image_is_built_and_has_a_limit() -> None:
    assert set(LIMITS) == set(IMAGES) == set(NAMES)


@pytest.mark.parametrize(
    ("module", "said"),
    [("deploy.images", "No images"), ("tests.support.docker", "No Docker engine")],
)
def test_without_docker_make_says_so_in_one_line(module: str, said: str) -> None:
    """`make images` and `make docker-test`."""
    command = [sys.executable, "-m", module]
    environment = os.environ | {"DOCKER": "docker-of-nobody"}
    refused = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (1, f"{said}: there is no docker-of-nobody command\n")


class Plane(http.server.BaseHTTPRequestHandler):
    """Answers /health with the status of its server."""

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/health" else 404)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def plane() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Plane)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def check(listen: str, *path: str) -> int:
    """The exit code."""
    command = [sys.executable, "-IS", str(CHECK), "STATUS_LISTEN", *path]
    return subprocess.run(command, env={"STATUS_LISTEN": listen}, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_check_tells_a_plane_that_is_well(plane: http.server.HTTPServer, status: int, code: int) -> None:
    plane.status = status  # type: ignore[attr-defined]
    assert check(f"0.0.0.0:{plane.server_port}") == code
    assert check(f"127.0.0.1:{plane.server_port}") == code


def test_the_check_asks_another_path(plane: http.server.HTTPServer) -> None:
    plane.status = 200  # type: ignore[attr-defined]
    assert check(f"127.0.0.1:{plane.server_port}", "/ready") == 1


def test_the_check_fails_where_nothing_answers(unused_tcp_port: int) -> None:
    assert check(f"127.0.0.1:{unused_tcp_port}") == 1


def test_the_check_speaks_tls_to_an_admin_api_that_does(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("admin.example", hosts=["admin.example"])
    server = http.server.HTTPServer(("127.0.0.1", 0), Plane)
    server.status = 200  # type: ignore[attr-defined]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    environment = {"ADMIN_LISTEN": f"127.0.0.1:{server.server_port}", "ADMIN_CERT": str(certificate)}
    command = [sys.executable, "-IS", str(CHECK), "ADMIN_LISTEN"]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    thread.join()
    server.server_close()
