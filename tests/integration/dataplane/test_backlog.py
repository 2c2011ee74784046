"""kill -9 of a worker on real processes: whoever connects while it is gone waits for the next one, and is served."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from tests.support import wire
from tests.support.data_plane import DataPlane, is_alive
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.http_stage import Client
from tests.support.instance import Instance
from tests.support.waiting import eventually, within

GET = b"GET /orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


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


async def ask(node: DataPlane) -> int:
    """The status of a request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        client = Client(reader, writer)
        await client.say(GET)
        head = await within(reader.readuntil(b"\r\n\r\n"), 30.0)
        return int(head[9:12])
    finally:
        writer.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_connections_wait_for_the_next_worker(
    tmp_path: Path, controlplane: FakeControlPlane, workers: int
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKERS=str(workers)) as node:
        await node.started()
        for _ in range(2):
            await kill(node.workers()[0])
            # More than one for each worker's queue, all of them while one is gone.
            assert await asyncio.gather(*(ask(node) for _ in range(20))) == [200] * 20
            await node.ready()


async def test_a_load_of_connections_sees_none_refused(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    """Those that the killed worker had accepted may be reset; nobody is refused."""
    refused: list[OSError] = []
    served: list[int] = []

    async def load(node: DataPlane) -> None:
        while True:
            try:
                served.append(await ask(node))
            except ConnectionRefusedError as error:
                refused.append(error)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass

    async with DataPlane(tmp_path, controlplane.address) as node:
        await node.started()
        tasks = [asyncio.create_task(load(node)) for _ in range(4)]
        for _ in range(2):
            await more(served)
            await kill(node.workers()[0])
            await node.ready()
        await more(served)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not refused and set(served) == {200}


async def test_a_node_that_drains_refuses_at_once(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address, DRAIN_TIMEOUT="60") as node:
        await node.started()
        orders.hold = asyncio.Event()
        held = asyncio.create_task(ask(node))
        await eventually(lambda: orders.waiting == 1)
        assert node.process is not None
        node.process.popen.terminate()

        async def is_refused() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", node.port)
            except ConnectionRefusedError:
                return True
            writer.close()
            return False

        await eventually(is_refused)
        orders.hold.set()
        assert await held == 200


async def kill(worker: psutil.Process) -> None:
    worker.kill()
    await eventually(lambda: not is_alive(worker), every=0.001)


async def more(served: list[int]) -> None:
    before = len(served)
    await eventually(lambda: len(served) > before + 20)
