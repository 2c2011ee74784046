"""The Docker engine of this machine, for tests: runs commands, and removes what a test run has made."""

from __future__ import annotations

import io
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = (ROOT / "VERSION").read_text().strip()
NAMES = ("controlplane", "dataplane", "sdk")
PROGRAM = os.environ.get("DOCKER", "docker")


def versioned(prefix: str) -> dict[str, str]:
    """The images that `make images IMAGE_PREFIX=prefix` builds, by name."""
    return {name: f"{prefix}-{name}:{VERSION}" for name in NAMES}


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers."""

    prefix: str = field(default_factory=lambda: f"headgate-test-{secrets.token_hex(4)}")
    """Begins the names of everything that this run makes: images, containers, networks, volumes, compose projects."""

    @property
    def labels(self) -> tuple[str, str]:
        """Arguments of `run`, `network create` and so on that mark what clean_up removes."""
        return "--label", f"headgate-test={self.prefix}"

    def __call__(self, *arguments: str, timeout: float = 120) -> str:
        """Run `docker ARGUMENTS`; its output without the last newline. AssertionError if it fails."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def labelled(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """The arguments of `run` or `create`, with the labels after the command."""
        return arguments[0], *self.labels, *arguments[1:]

    def files(self, image: str) -> dict[str, int]:
        """The files of an image, by path, with their sizes."""
        container = self(*self.labelled(("create", image, "none")))
        export = subprocess.run((PROGRAM, "export", container), capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(export)) as archive:
            return {member.name: member.size for member in archive if member.isfile()}

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `docker ARGUMENTS`, which may fail."""
        command = (PROGRAM, *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, cwd=ROOT)

    def build_all(self, base: str, prefix: str = "", *extra: str, only: Sequence[str] = NAMES) -> None:
        """Build the images from `base` as `make images` does. `extra`: arguments of `docker build`."""
        command = [sys.executable, "-m", "deploy.images", "--base", base, "--prefix", prefix or self.prefix]
        command += ["--output", str(ROOT / "build" / self.prefix), "--only", *only]
        extra += tuple(shlex.split(os.environ.get("HEADGATE_TEST_BUILD", "")))
        done = subprocess.run([*command, *extra], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr

    def clean_up(self) -> None:
        """Remove what this run has made."""
        for kind, remove in KINDS:
            self._remove(remove, self._marked(*kind))
        for name in self("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split():
            if name.startswith(self.prefix):
                self.run("image", "rm", "--force", name)
        shutil.rmtree(ROOT / "build" / self.prefix, ignore_errors=True)

    def _marked(self, *kind: str) -> list[str]:
        return self(*kind, "--quiet", "--filter", f"label=headgate-test={self.prefix}").split()

    def _remove(self, remove: Iterable[str], names: Iterable[str]) -> None:
        for name in names:
            self.run(*remove, name)


KINDS = (
    (("container", "ls", "--all"), ("container", "rm", "--force", "--volumes")),
    (("network", "ls"), ("network", "rm")),
    (("volume", "ls"), ("volume", "rm")),
)
"""How each kind is listed, and how removed; containers use the others."""


def find_engine() -> Engine | str:
    """The engine that the docker command reaches, or why there is none."""
    if shutil.which(PROGRAM) is None:
        return f"there is no {PROGRAM} command"
    engine = Engine()
    try:
        asked = engine.run("version", "--format", "{{.Server.Version}}", timeout=20)
    except subprocess.TimeoutExpired:
        return "it does not answer"
    return (
        engine if asked.returncode == 0 else (asked.stderr.strip().splitlines() or ["it does not answer"])[-1]
    )


def main() -> None:
    """For `make docker-test`: ends with one line and 1 if there is no engine, where tests would only be skipped."""
    found = find_engine()
    if isinstance(found, str):
        sys.exit(f"No Docker engine: {found}")


if __name__ == "__main__":
    main()
