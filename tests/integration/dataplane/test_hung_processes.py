"""Processes that neither work nor end: a worker, and the supervisor."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.support import wire
from tests.support.data_plane import DataPlane, is_alive
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _orders(controlplane: FakeControlPlane, orders: Instance) -> None:
    controlplane.publish(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            wire.route("orders", "orders"),
            revision=5,
        )
    )


async def test_a_frozen_worker_is_noticed_and_replaced(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2", WORKER_TIMEOUT="3") as node:
        await node.started()
        before = {worker.pid for worker in node.workers()}
        frozen = node.workers()[0]
        frozen.suspend()
        await eventually(lambda: not is_alive(frozen))
        await eventually(lambda: len(node.workers()) == 2)
        await node.ready()
        assert len({worker.pid for worker in node.workers()} - before) == 1
        assert await node.metric("headgate_worker_restarts_total") == 1
        await eventually(lambda: "sent nothing for 3 s" in {record.get("reason") for record in node.log()})
        for _ in range(10):  # each a connection of its own, to whichever worker
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{node.port}/orders/1")
                assert answer.text == "orders-1"


async def test_a_frozen_worker_that_drains_does_not_outlast_its_timeout(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKER_TIMEOUT="3", DRAIN_TIMEOUT="600") as node:
        await node.started()
        node.workers()[0].suspend()
        node.send(signal.SIGTERM)
        assert await node.exit_code(within=30) == 0


async def test_workers_serve_on_while_the_supervisor_is_frozen_and_are_not_blamed_for_it(
    tmp_path: Path, controlplane: FakeControlPlane
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKER_TIMEOUT="3") as node:
        await node.started()
        (worker,) = node.workers()
        node.send(signal.SIGSTOP)
        until = time.monotonic() + 5  # longer than a worker may be silent
        while time.monotonic() < until:
            assert (await node.get("/orders/1")).text == "orders-1"
            await asyncio.sleep(0.05)
        node.send(signal.SIGCONT)
        controlplane.publish(wire.snapshot(wire.user("alice", revision=6), revision=6))
        await node.serves(6)
        assert [worker.pid] == [each.pid for each in node.workers()]
