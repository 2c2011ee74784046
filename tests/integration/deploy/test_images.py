"""The Dockerfile's two images: labels, a health check, and nothing to install with; and the health check itself."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHECK = ROOT / "deploy" / "healthcheck.py"
STAGES = {
    re.split(r"\sAS\s", stage.splitlines()[0])[-1]: stage
    for stage in re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
}
PLANES = {"controlplane": "ADMIN_LISTEN", "dataplane": "STATUS_LISTEN"}


@pytest.mark.parametrize("plane", PLANES)
def test_an_image_says_what_it_is(plane: str) -> None:
    stages = STAGES["runtime"] + STAGES[plane]
    for label in ("licenses", "version", "revision", "title", "description"):
        assert f"org.opencontainers.image.{label}=" in stages


@pytest.mark.parametrize(("plane", "setting"), PLANES.items())
def test_an_image_checks_the_port_that_it_listens_on(plane: str, setting: str) -> None:
    assert f'CMD ["python3", "/opt/headgate-healthcheck.py", "{setting}"]' in STAGES[plane]
    assert re.search(rf"{setting}=0\.0\.0\.0:\d+", STAGES[plane])


def test_what_is_copied_is_in_the_build_context() -> None:
    context = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", "".join(STAGES.values()), re.MULTILINE):
        for source in line.split():
            assert f"!{source}" in context
            assert (ROOT / source).exists()


def test_no_image_has_pip() -> None:
    assert "pip uninstall" in STAGES["runtime"]
    assert "-m venv --without-pip /opt/headgate" in STAGES["build"]
    for plane in PLANES:
        assert "pip" not in STAGES[plane]


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


def check(listen: str) -> int:
    """The exit code, with a proxy in the environment that nothing answers at."""
    environment = {"STATUS_LISTEN": listen, "http_proxy": "http://127.0.0.1:1"}
    command = [sys.executable, str(CHECK), "STATUS_LISTEN"]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_check_tells_a_plane_that_is_well(plane: http.server.HTTPServer, status: int, code: int) -> None:
    plane.status = status  # type: ignore[attr-defined]
    assert check(f"0.0.0.0:{plane.server_port}") == code
    assert check(f"127.0.0.1:{plane.server_port}") == code
