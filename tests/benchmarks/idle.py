"""What a gateway costs that nobody uses: CPU and memory of every process over a minute, with and without connections.

    python -m tests.benchmarks.idle [SECONDS]

The CPU time is that of the processes, so a busy machine makes it only a little longer. PSS is memory with the share of
pages that others use too; USS is what would be free after the end of the process.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets, kill_all

WORKERS = 2
CONNECTIONS = 1000
SETTLE = 20.0
"""Seconds after the start, and after the connections, in which nothing is measured."""
REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
MIB = 2.0**20
# None of the bounds on clients may end the connections.
SETTINGS = {
    "WORKERS": str(WORKERS),
    "KEEP_ALIVE_TIMEOUT": "3600",
    "MAX_CONNECTIONS_PER_ADDRESS": "0",
    "RATE_LIMIT_PER_SECOND": "0",
}


@dataclass(frozen=True, slots=True)
class Watched:
    """One process, and its name in the report."""

    name: str
    process: psutil.Process

    @property
    def cpu(self) -> float:
        """Seconds so far."""
        spent = self.process.cpu_times()
        return float(spent.user + spent.system)


def main() -> None:
    """Measure, and print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    _allow_files()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        watched, port = _start(Path(folder), stack)
        time.sleep(SETTLE)
        _report("none", watched, seconds)
        clients = [stack.enter_context(_client(port)) for _ in range(CONNECTIONS)]
        time.sleep(SETTLE)
        _report(str(len(clients)), watched, seconds)
        assert all(_answered(client) for client in clients), "connections were closed"


def _allow_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _start(folder: Path, stack: contextlib.ExitStack) -> tuple[Sequence[Watched], int]:
    """etcd, a control plane and a data plane; the port of the latter."""
    started: list[Process] = []
    stack.callback(kill_all, started)
    etcd, secrets = Etcd(), Secrets()
    started.append(etcd.start(folder))
    controlplane = ControlPlane(etcd.url, secrets)
    started.append(controlplane.start(folder))
    dataplane = DataPlane(controlplane.grpc, secrets, settings=SETTINGS)
    started.append(dataplane.start(folder))
    names = "etcd", "control plane", "supervisor"
    watched = [Watched(name, psutil.Process(one.pid)) for name, one in zip(names, started, strict=True)]
    watched += [Watched("worker", child) for child in watched[-1].process.children()]
    return watched, dataplane.port


@contextlib.contextmanager
def _client(port: int) -> Iterator[socket.socket]:
    """A connection that has been used once."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert _answered(client)
        yield client


def _answered(client: socket.socket) -> bool:
    client.settimeout(10)
    client.sendall(REQUEST)
    received = b""
    while part := client.recv(65_536):
        received += part
        head, end, body = received.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            return head.startswith(b"HTTP/1.1 200")
    return False


def _length(head: bytes) -> int:
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return int(fields[b"content-length"])


def _report(connections: str, watched: Sequence[Watched], seconds: float) -> None:
    before = [one.cpu for one in watched]
    time.sleep(seconds)
    for one, spent in zip(watched, before, strict=True):
        memory = one.process.memory_full_info()
        cpu = (one.cpu - spent) * 1000 / seconds
        sizes = "  ".join(f"{name} {getattr(memory, name) / MIB:6.1f}" for name in ("rss", "pss", "uss"))
        sys.stdout.write(f"{connections:>5} connections  {one.name:14} {cpu:6.2f} ms/s  {sizes} MiB\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
