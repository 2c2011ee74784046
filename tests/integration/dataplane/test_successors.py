"""A data plane and its workers start again while no control plane answers: a limit of the fleet still serves a share,
and the bound holds over the whole history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headgate_api.leases.messages import Limit
from headgate_api.v1 import resources_pb2
from tests.support import wire
from tests.support.bound import overshoot, request_ids
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.fake_owner import FakeOwner
from tests.support.instance import Instance
from tests.support.load import Load
from tests.support.waiting import eventually

RATE, BURST = 40.0, 100


@pytest.fixture
def owner(controlplane: FakeControlPlane, orders: Instance) -> FakeOwner:
    fleet: dict[str, Any] = {"per_second": RATE, "burst": BURST, "mode": resources_pb2.LIMIT_MODE_FLEET}
    controlplane.publish(
        wire.snapshot(
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            wire.rate_limit("callers", keys=["route"], **fleet),
            wire.route("orders", "orders", rate_limits=["callers"]),
        )
    )
    owner = FakeOwner(Limit(RATE, BURST))
    controlplane.lend = owner.answer
    return owner


async def test_shares_outlast_processes_while_no_control_plane_answers(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, owner: FakeOwner
) -> None:
    async def serves(more: int) -> None:
        before = len(request_ids([orders]))
        await eventually(lambda: len(request_ids([orders])) >= before + more, within=60)

    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        record = node.cache_file.with_name("shares")
        async with Load({"node-1": node.port}, "/orders", clients=8, pause=0.005) as load:
            await serves(2 * BURST)
            assert not record.exists()
            await controlplane.stop()
            await eventually(record.exists, within=60)
            await node.kill()
            await node.started()
            await serves(30)
            await node.stop()
            await node.started()
            await serves(30)
            for worker in node.workers():
                worker.kill()
            await serves(30)
            named = len(owner.workers)
            await controlplane.start()
            await serves(2 * BURST)
            await eventually(lambda: len(owner.workers) == 2, within=60)
        assert named == 2
        assert not record.exists()
        assert len(owner.runs) == 1
        assert overshoot(load.answers, RATE, BURST) <= 0
