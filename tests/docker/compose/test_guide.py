"""The troubleshooting guide's commands for containers, as printed, against a running docker-compose.yml.

tests/system/test_guide.py has the other commands.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any

import httpx
import pytest

from tests.support import compose_stage as stage
from tests.support.compose import Project
from tests.support.waiting import eventually_now

# The first test of a run builds the images and starts the project.
pytestmark = pytest.mark.timeout(1800)

COMMANDS = {
    # Check Redis service
    "docker-compose ps redis": r"redis.* Up ",
    "docker-compose logs redis": "Ready to accept connections",
    # Check Redis connection
    "docker-compose exec -T redis redis-cli ping": "^PONG$",
    "docker-compose exec -T redis redis-cli info": "redis_version:",
    # Application logs; with DEBUG=true in .env
    "docker-compose logs gateway": '"/orders/guide"',
    "docker-compose logs controlplane": '"level": ?"debug"',
    # Service logs
    "docker-compose logs orders": "GET /orders/guide",
    # Prometheus metrics, service metrics
    "curl http://localhost:9090/metrics": "^prometheus_build_info",
    "curl http://localhost:8000/metrics": "^headgate_requests_total",
    # Health check endpoint
    "curl http://localhost:8000/health": '"status"',
}
"""Commands of the guide, and what their output has: regular expressions."""
WITH_TOKEN = {
    "curl http://localhost:8000/api/v1/services": '"service_name": ?"orders"',
    "curl http://localhost:8000/api/v1/circuits": '"service_name": ?"orders"',
    "curl http://localhost:8000/api/v1/rate-limits": '"guide"',
}
"""Outside of the demo these need a token."""


def shell(project: Project, command: str) -> str:
    """Run a command of the guide at this project's ports."""
    for port, name in (("8000", "GATEWAY_PORT"), ("9090", "PROMETHEUS_PORT")):
        command = command.replace(f"localhost:{port}", f"localhost:{project.ports[name]}")
    done = subprocess.run(
        ["bash", "-c", command],
        env=project.environment | {"NO_PROXY": "*"},
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def one_request(gateway: httpx.Client, testuser: dict[str, Any]) -> None:
    """There is something to see."""
    gateway.get("/orders/guide", **testuser).raise_for_status()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(project: Project, command: str) -> None:
    wanted = re.compile(COMMANDS[command], re.MULTILINE)
    assert eventually_now(lambda: wanted.search(shell(project, command)))


@pytest.mark.parametrize("command", WITH_TOKEN)
def test_a_command_that_needs_a_token(project: Project, testuser: dict[str, Any], command: str) -> None:
    assert '"Could not validate credentials"' in shell(project, command)
    token = testuser["headers"]["Authorization"]
    assert re.search(WITH_TOKEN[command], shell(project, f"{command} -H 'Authorization: {token}'"))


def test_a_token_as_in_the_guide(project: Project) -> None:
    command = """curl -X POST "http://localhost:8000/api/v1/auth/token" \\
     -H "Content-Type: application/x-www-form-urlencoded" \\
     -d "username=testuser&password=testpass"
"""
    assert '"access_token"' in shell(project, command)


def test_the_settings_of_redis(project: Project) -> None:
    """`echo $REDIS_HOST` and `echo $REDIS_PORT`; the image has no shell."""
    show = "import os; print(os.environ['REDIS_HOST'], os.environ['REDIS_PORT'])"
    assert shell(project, f'docker-compose exec -T gateway python3 -c "{show}"') == "redis 6379\n"


def test_too_many_requests_are_counted_together(
    project: Project, gateway: httpx.Client, testuser: dict[str, Any]
) -> None:
    redis = "docker-compose exec -T redis redis-cli"
    shell(project, f"{redis} del rate_limit:guide:testuser")
    # Each on a new connection, so that the balancer changes gateways.
    url = f"{project.gateway}/guide"
    answers = [httpx.get(url, trust_env=False, timeout=10, **testuser) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert answers[-1].json()["detail"] == "Too many requests"
    assert shell(project, f"{redis} zcard rate_limit:guide:testuser") == "5\n"
    assert shell(project, f"{redis} del rate_limit:guide:testuser") == "1\n"
    assert gateway.get("/guide", **testuser).status_code == 200


def test_failed_to_connect_to_redis(project: Project, gateway: httpx.Client) -> None:
    message = "Failed to connect to Redis"
    project("kill", "redis")
    try:
        for _ in range(4):
            assert httpx.get(f"{project.gateway}/open", trust_env=False, timeout=10).status_code == 200
        eventually_now(lambda: all(message in str(health) for health in stage.gateway_health(project)))
        assert message in shell(project, "docker-compose logs gateway")
        assert " Up " not in shell(project, "docker-compose ps redis")
    finally:
        project("start", "redis")
    eventually_now(lambda: all(health["redis"]["connected"] for health in stage.gateway_health(project)))
    eventually_now(lambda: "Redis answers again" in shell(project, "docker-compose logs gateway"))
    assert gateway.get("/open").status_code == 200


def test_debug_mode_of_the_control_plane(project: Project) -> None:
    """`uvicorn … --log-level debug`, in the image."""
    arguments = ("controlplane.app:app", "--port", "8090", "--log-level", "debug")
    own = {"DEBUG": "true", "ADMIN_LISTEN": "127.0.0.1:8090", "GRPC_LISTEN": "127.0.0.1:50090"}
    settings = [word for name, value in own.items() for word in ("--env", f"{name}={value}")]
    first, _ = project.containers("controlplane")
    command = ("/opt/headgate/bin/python", "-m", "uvicorn", *arguments)
    project.docker("exec", "--detach", *settings, first, *command)
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8090/health').status)"
    eventually_now(lambda: project.docker("exec", first, "python3", "-c", ask) == "200")
    stop = (
        "import os, pathlib, signal\n"
        "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "    if b'-m\\0uvicorn' in path.read_bytes(): os.kill(int(path.parent.name), signal.SIGTERM)\n"
    )
    project.docker("exec", first, "python3", "-c", stop)
