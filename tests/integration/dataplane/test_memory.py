"""Fourteen rounds of clients that come and go and of routes that change: a worker's memory stays flat."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from pathlib import Path

from headgate_api.v1 import config_pb2
from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance

ROUNDS = 14
WARM_UP = 7
"""Rounds in which the allocator and the caches grow to their size."""
CONNECTIONS = 2000
GROUP = 50
ROUTES = 150
MOST = 4 * 1024 * 1024
"""Bytes by which a worker may grow afterwards, with garbage that waits for its collection. It was 46 MiB when changes
kept closed connections alive."""
GET = b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_clients_that_come_and_go_and_routes_that_change(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(snapshot(orders, 1))
    settings = {"ACCESS_LOG": "false", "MAX_CONNECTIONS_PER_ADDRESS": "0"}
    async with DataPlane(tmp_path, controlplane.address, **settings) as node:
        await node.started()
        (worker,) = node.workers()
        sizes = []
        for number in range(2, ROUNDS + 2):
            await asyncio.to_thread(come_and_go, node.port)
            controlplane.publish(snapshot(orders, number))
            await node.serves(number)
            sizes.append(worker.memory_info().rss)
        sys.stderr.write(f"MiB by round: {[round(size / 2**20, 1) for size in sizes]}\n")
        assert sizes[-1] - sizes[WARM_UP - 1] < MOST


def snapshot(orders: Instance, revision: int) -> config_pb2.Snapshot:
    """Every route is another one in every revision."""
    return wire.snapshot(
        wire.service("orders"),
        wire.instance("orders", "orders-1", orders.port),
        *(
            wire.route(f"route-{number}", "orders", revision=revision, prefix=f"/v{revision}/{number}")
            for number in range(ROUTES)
        ),
        revision=revision,
    )


def come_and_go(port: int) -> None:
    """Clients that are all there together, ask once and leave."""
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS // GROUP):
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(GROUP)
            ]
            for client in clients:
                client.sendall(GET)
            for client in clients:
                assert client.recv(4096).startswith(b"HTTP/1.1 404 ")
