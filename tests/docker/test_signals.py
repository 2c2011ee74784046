"""Containers of the planes: how they end, what their exit codes are, and who reaps orphans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.docker import Engine

PLANES = ("controlplane", "dataplane")
LISTEN = {"controlplane": "ADMIN_LISTEN", "dataplane": "STATUS_LISTEN"}
SECRET = "not-a-secret-0123456789-"
SETTINGS = {
    # Nothing answers there: both planes run without the other, and without a store.
    "controlplane": ("SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN", "ADMIN_PASSWORD"),
    "dataplane": ("DATAPLANE_TOKEN",),
}
ADDRESSES = (
    "--env=ETCD_ENDPOINTS=http://127.0.0.1:1",
    "--env=ADMIN_PLAINTEXT=true",
    "--env=CONTROLPLANE=127.0.0.1:1",
)
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
LEAVE_ORPHAN = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'print()'])"
ZOMBIES = """
import pathlib
states = [path.read_text().rpartition(")")[2].split()[0] for path in pathlib.Path("/proc").glob("[0-9]*/stat")]
print(states.count("Z"))
"""
PATIENCE = 120
pytestmark = pytest.mark.timeout(1800)


class Container:
    """A running container of a plane."""

    def __init__(self, docker: Engine, name: str) -> None:
        self._docker = docker
        self.name = name

    def python(self, source: str) -> str:
        """What a script in it prints."""
        return self._docker("exec", self.name, "python3", "-c", source)

    def wait_until_healthy(self, setting: str) -> None:
        """Ask its own health check until it succeeds."""
        check = ("exec", self.name, "python3", "-IS", "/opt/headgate-healthcheck.py", setting)
        self.wait(lambda: self._docker.run(*check).returncode == 0)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Ask again and again; AssertionError after PATIENCE seconds, or when the container has ended."""
        end = time.monotonic() + PATIENCE
        while not condition():
            running = self._docker("inspect", "--format", "{{.State.Running}}", self.name)
            assert running == "true" and time.monotonic() < end, self._docker.run("logs", self.name)
            time.sleep(0.1)

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM, and SIGKILL much later. Returns the exit code, and the seconds that it took."""
        begin = time.monotonic()
        self._docker("stop", "--time", str(PATIENCE), self.name, timeout=PATIENCE + 60)
        code = int(self._docker("inspect", "--format", "{{.State.ExitCode}}", self.name))
        return code, time.monotonic() - begin


@contextmanager
def running(docker: Engine, images: dict[str, str], plane: str) -> Iterator[Container]:
    """A plane in a container that may do little."""
    settings = [f"--env={name}={SECRET}{name}" for name in SETTINGS[plane]]
    command = ("run", "--detach", *CONFINED, "--tmpfs=/var/lib/headgate:uid=65532", *ADDRESSES, *settings)
    container = Container(docker, docker(*docker.labelled((*command, images[plane]))))
    try:
        yield container
    finally:
        docker.run("rm", "--force", "--volumes", container.name)


@pytest.mark.parametrize("plane", PLANES)
def test_sigterm_ends_a_plane_with_0(docker: Engine, images: dict[str, str], plane: str) -> None:
    with running(docker, images, plane) as container:
        container.wait_until_healthy(LISTEN[plane])
        code, seconds = container.stop()
        assert code == 0
        assert seconds < PATIENCE


@pytest.mark.parametrize("plane", PLANES)
def test_sigterm_ends_a_plane_that_still_starts(docker: Engine, images: dict[str, str], plane: str) -> None:
    with running(docker, images, plane) as container:
        # Its handlers are there: bit 15 of SigCgt is SIGTERM. It imports the rest now.
        caught = "print(int([l.split()[1] for l in open('/proc/1/status') if l.startswith('SigCgt')][0], 16) >> 14 & 1)"
        container.wait(lambda: container.python(caught) == "1")
        assert container.stop()[0] == 0


@pytest.mark.parametrize("plane", PLANES)
def test_wrong_settings_end_a_plane_with_2_and_one_line(
    docker: Engine, images: dict[str, str], plane: str
) -> None:
    ended = docker.run(*docker.labelled(("run", "--rm", *CONFINED, images[plane])))
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert ended.stderr.startswith(f"headgate-{plane}: ")


@pytest.mark.parametrize("plane", PLANES)
def test_pid_1_reaps_orphans(docker: Engine, images: dict[str, str], plane: str) -> None:
    with running(docker, images, plane) as container:
        container.wait_until_healthy(LISTEN[plane])
        for _ in range(3):
            container.python(LEAVE_ORPHAN)
        container.wait(lambda: container.python(ZOMBIES) == "0")
        assert container.stop()[0] == 0
