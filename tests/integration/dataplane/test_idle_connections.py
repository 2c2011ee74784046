"""Ten thousand clients that say nothing cost a worker less than 150 MiB, and hold nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually

COUNT = 10_000
MOST = 150 * 1024 * 1024
GET = b"GET /orders HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_ten_thousand_idle_connections(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * COUNT:
        pytest.skip(f"needs {2 * COUNT} file descriptors, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    controlplane.publish(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            wire.route("orders", "orders"),
        )
    )
    settings = {
        "MAX_CONNECTIONS": str(COUNT + 100),
        "MAX_CONNECTIONS_PER_ADDRESS": "0",
        "ACCESS_LOG": "false",
    }
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        async with DataPlane(tmp_path, controlplane.address, **settings) as node:
            await node.started()
            (worker,) = node.workers()
            empty = worker.memory_info().rss
            clients = [stack.enter_context(socket.socket()) for _ in range(COUNT)]
            await asyncio.to_thread(use, clients, node.port)
            await eventually(lambda: connected(node), within=30)
            full = worker.memory_info().rss
            latencies = sorted([await latency(clients[n * 97]) for n in range(100)])
            sys.stderr.write(
                f"{COUNT} idle connections: {full / 2**20:.0f} MiB, {empty / 2**20:.0f} MiB without"
                f" ({(full - empty) / COUNT / 1024:.1f} KiB each); median request among them"
                f" {latencies[50] * 1000:.2f} ms\n"
            )
            assert full < MOST
            spent = worker.cpu_times().user
            started = time.monotonic()
            while time.monotonic() < started + 1.0:
                assert (await node.status("/health")).status_code == 200
                await asyncio.sleep(0.1)
            # Silence is nearly free.
            assert worker.cpu_times().user - spent < 0.3


def use(clients: list[socket.socket], port: int) -> None:
    """Connect each and have it ask once: a connection that was never used is cheaper."""
    for at in range(0, len(clients), 50):
        group = clients[at : at + 50]
        for client in group:
            client.connect(("127.0.0.1", port))
            client.sendall(GET)
        for client in group:
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


async def connected(node: DataPlane) -> bool:
    return await node.metric("headgate_connections") >= COUNT


async def latency(client: socket.socket) -> float:
    """Seconds for one request."""
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    await loop.sock_sendall(client, GET)
    assert (await loop.sock_recv(client, 4096)).startswith(b"HTTP/1.1 200 ")
    return time.perf_counter() - started
