"""Workers of one data plane share a limit: they lease it from their supervisor."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import wire
from tests.support.bound import overshoot, request_ids
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.load import Load
from tests.support.waiting import eventually

RATE, BURST = 50.0, 120
ENOUGH = 3 * BURST


@pytest.fixture(autouse=True)
def _orders(controlplane: FakeControlPlane, orders: Instance) -> None:
    controlplane.publish(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            wire.rate_limit("shared", per_second=RATE, burst=BURST, keys=["route"]),
            wire.route("orders", "orders", rate_limits=["shared"]),
        )
    )


async def test_workers_let_through_no_more_than_one_bucket_has_and_all_of_it(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        async with Load({"node-1": node.port}, "/orders", clients=8, pause=0.005) as load:
            await eventually(lambda: len(request_ids([orders])) >= ENOUGH, within=60)
        assert overshoot(load.answers, RATE, BURST) <= 0


async def test_a_worker_that_dies_takes_no_tokens_with_it_and_its_successor_gets_none_twice(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        async with Load({"node-1": node.port}, "/orders", clients=8, pause=0.005) as load:
            for _ in range(3):
                await _kill_one(node, orders)
        assert overshoot(load.answers, RATE, BURST) <= 0


async def _kill_one(node: DataPlane, orders: Instance) -> None:
    """Kill a worker once some more requests have been let through, and wait for its successor."""
    seen, victim = len(request_ids([orders])), node.workers()[0]
    await eventually(lambda: len(request_ids([orders])) > seen + 20, within=60)
    victim.kill()
    await eventually(lambda: victim.pid not in {one.pid for one in node.workers()}, within=60)
    await eventually(lambda: len(node.workers()) == 2, within=60)
