"""A real worker without file descriptors: serves what it has, does not spin, and lets clients wait in the backlog."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import psutil
import pytest

from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.http_stage import Client
from tests.support.instance import Instance
from tests.support.waiting import eventually

GET = b"GET /orders HTTP/1.1\r\nHost: a\r\n\r\n"


async def connect(node: DataPlane) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", node.port))


async def status(client: Client) -> int:
    await client.say(GET)
    head, _ = await client.answer()
    return int(head[9:12])


def leave_room_for(worker: psutil.Process, count: int) -> None:
    """From now on the process may open so many more file descriptors."""
    _, hard = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (worker.num_fds() + count, hard))


def cpu(worker: psutil.Process) -> float:
    times = worker.cpu_times()
    return float(times.user + times.system)


@pytest.fixture(autouse=True)
def _orders(controlplane: FakeControlPlane, orders: Instance) -> None:
    controlplane.publish(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            wire.route("orders", "orders"),
            revision=1,
        )
    )


async def test_no_descriptor_for_clients(tmp_path: Path, controlplane: FakeControlPlane) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        (worker,) = node.workers()
        known = await connect(node)
        assert await status(known) == 200
        leave_room_for(worker, 1)
        strangers = [await connect(node) for _ in range(50)]
        # Those beyond wait in the backlog, and lose nothing; the one that was there is served as before.
        clock = asyncio.get_running_loop().time
        spent, until = cpu(worker), clock() + 1.0
        while clock() < until:
            assert await status(known) == 200
            await asyncio.sleep(0.05)
        # A loop that spins takes the whole second.
        assert cpu(worker) - spent < 0.4
        leave_room_for(worker, 100)
        assert [await status(stranger) for stranger in strangers] == [200] * 50
        for client in (known, *strangers):
            client.close()


async def test_no_descriptor_for_instances(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        (worker,) = node.workers()
        first, second = await connect(node), await connect(node)
        assert await status(first) == await status(second) == 200
        orders.hold = asyncio.Event()
        waiting = asyncio.create_task(status(first))
        await eventually(lambda: orders.waiting == 1)
        leave_room_for(worker, 0)
        # That is nobody's fault but ours: it opens no breaker, however often it happens.
        assert [await status(second) for _ in range(20)] == [503] * 20
        assert (await node.status("/health")).json()["circuits"].get("orders", {}).get("state") in (
            None,
            "closed",
        )
        orders.hold.set()
        assert await waiting == 200
        await eventually(lambda: not orders.waiting)
        assert await status(second) == 200
        await eventually(lambda: any(line.get("decision") == "exhausted" for line in node.log()))
        for client in (first, second):
            client.close()


async def test_a_worker_takes_no_more_clients_than_it_has_descriptors_for(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with DataPlane(tmp_path, controlplane.address) as node:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
        try:
            await node.started()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        (worker,) = node.workers()
        # What the process that started it was content with is raised to what is allowed.
        assert resource.prlimit(worker.pid, resource.RLIMIT_NOFILE) == (limits[1], limits[1])
