"""A project of Docker Compose for tests: runs its commands, and removes everything at the end.

Works with `docker compose` (the plugin) and with `docker-compose` 1.29. Both names are in the PATH of `shell`, so that
commands run as a page prints them: the missing one is a script that calls the other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.ports import free_port
from tests.support.docker import ROOT, Engine
from tests.support.waiting import eventually_now

SECRETS = ("SECRET_KEY", "DATAPLANE_TOKEN", "SERVICE_TOKEN", "ADMIN_PASSWORD")
PORTS = ("GATEWAY_PORT", "ADMIN_PORT", "GRPC_PORT", "PROMETHEUS_PORT")
UP = 300.0
"""Seconds in which a project must be up; only a failing test needs them."""
_OLD = """\
[ "$1" = compose ] || exec DOCKER "$@"
shift; wait=; words=()
for word; do [ "$word" = --wait ] && [ "$1" = up ] && wait=yes || words+=("$word"); done
docker-compose "${words[@]}" || exit
until [ -z "$wait" ] || ! docker-compose ps | grep --quiet "health: starting"; do :; done
"""
"""`docker` where Compose is 1.29, which has no `up --wait`."""
_PLUGIN = ("docker", "compose")
_PROGRAM = ("docker-compose",)


def find_compose() -> tuple[str, ...] | None:
    """The command of Compose on this machine; COMPOSE names one."""
    for command in [tuple(given.split())] if (given := os.environ.get("COMPOSE")) else [_PLUGIN, _PROGRAM]:
        if shutil.which(command[0]) and _run([*command, "version"], {}).returncode == 0:
            return command
    return None


@dataclass
class Project:
    """docker-compose.yml of a checkout, under a name and on ports of its own."""

    docker: Engine
    compose: tuple[str, ...]
    variables: Mapping[str, str]
    """Variables of docker-compose.yml: images, modes."""
    files: Sequence[Path] = ()
    """Its files; without any, docker-compose.yml and docker-compose.override.yml of the folder."""
    folder: Path = ROOT
    name: str = ""
    ports: dict[str, int] = field(default_factory=lambda: {port: free_port() for port in PORTS})

    def __post_init__(self) -> None:
        self.name = self.name or f"{self.docker.prefix}-{free_port()}"

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports['GATEWAY_PORT']}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.ports['ADMIN_PORT']}"

    @property
    def prometheus(self) -> str:
        return f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}"

    @property
    def network(self) -> str:
        """CONTROL_NETWORK, another one for each project."""
        port = self.ports["GATEWAY_PORT"]
        return f"10.{128 + (port >> 8) % 64}.{port % 256}"

    @property
    def environment(self) -> dict[str, str]:
        """That of every command."""
        ports = {name: str(port) for name, port in self.ports.items()}
        own = {"COMPOSE_PROJECT_NAME": self.name, "CONTROL_NETWORK": self.network}
        if self.files:
            own["COMPOSE_FILE"] = os.pathsep.join(map(str, self.files))
        own |= {"DOCKER_BUILDKIT": "1", "COMPOSE_DOCKER_CLI_BUILD": "1"}
        return os.environ | own | ports | dict(self.variables)

    def __call__(self, *arguments: str, timeout: float = UP) -> str:
        """Run a command of Compose; its output. AssertionError if it fails."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def run(self, *arguments: str, timeout: float = UP, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of Compose, which may fail."""
        return _run([*self.compose, *arguments], self.environment, self.folder, timeout, stdin)

    def up(self, *arguments: str) -> float:
        """Start it; seconds until every container is healthy."""
        began = time.monotonic()
        self("up", "--detach", *arguments)
        eventually_now(lambda: not self.ailing(), within=UP, every=0.1)
        return time.monotonic() - began

    def down(self) -> float:
        """Stop and remove everything; how many seconds that took."""
        began = time.monotonic()
        self("--profile", "tools", "--profile", "grafana", "down", "--volumes", "--remove-orphans")
        return time.monotonic() - began

    def containers(self, service: str = "") -> list[str]:
        """Ids of the containers of a service, or of the project; those that have ended, too."""
        of_service = ("--filter", f"label=com.docker.compose.service={service}") if service else ()
        of_project = ("--filter", f"label=com.docker.compose.project={self.name}")
        return self.docker("container", "ls", "--all", "--quiet", *of_project, *of_service).split()

    def inspect(self, container: str, what: str) -> str:
        """A field of a container, as a template of Go."""
        return self.docker("inspect", "--format", f"{{{{{what}}}}}", container)

    def address(self, container: str, network: str) -> str:
        """The address of a container in a network of docker-compose.yml."""
        name = f"{self.name}_{network}"
        return self.inspect(container, f'(index .NetworkSettings.Networks "{name}").IPAddress')

    def ailing(self) -> list[str]:
        """Containers that are not running and healthy, as name and state."""
        state = "{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        shown = self.docker("inspect", "--format", state, *self.containers()).splitlines()
        return [line for line in shown if not line.rstrip().endswith(("running healthy", "running"))]


@contextmanager
def both_names(compose: tuple[str, ...], folder: Path) -> Iterator[Path]:
    """A folder for PATH with the form of the command that this machine lacks."""
    folder.mkdir()
    real = shutil.which("docker")
    if compose == _PLUGIN:
        _script(folder / "docker-compose", 'exec docker compose "$@"')
    elif compose == _PROGRAM:
        _script(folder / "docker", _OLD.replace("DOCKER", str(real)))
    yield folder


def _script(file: Path, body: str) -> None:
    file.write_text(f"#!/bin/bash\n{body}\n")
    file.chmod(0o755)


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path = ROOT,
    timeout: float = 60,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=dict(environment) or None,
        cwd=folder,
        timeout=timeout,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
