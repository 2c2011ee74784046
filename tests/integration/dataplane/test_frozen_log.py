"""Nobody reads what a data plane writes: its log collector stands still, and the pipe is full."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from demo.processes import ROOT, Process
from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually, within


class Unread(DataPlane):
    """A data plane that writes everything into one pipe, as under `2>&1 |` or systemd."""

    def start(self) -> Unread:
        """Start it; `reader` is the end of the pipe that nobody reads."""
        self.reader, ours = os.pipe()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.settings}
        popen = subprocess.Popen(
            [sys.executable, "-m", "dataplane"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=ours,
            stderr=ours,
            start_new_session=True,
        )
        os.close(ours)
        (self.folder / "nothing").touch()
        self.process = Process("dataplane", popen, self.folder / "nothing")
        return self


@pytest.fixture
async def gone() -> AsyncIterator[Instance]:
    async with Instance("gone-1") as instance:
        yield instance


@pytest.fixture
async def node(tmp_path: Path, controlplane: FakeControlPlane, orders: Instance) -> AsyncIterator[Unread]:
    resources = (
        wire.service("orders"),
        wire.instance("orders", "orders-1", orders.port),
        wire.route("orders", "orders"),
    )
    controlplane.publish(wire.snapshot(*resources, revision=5))
    async with Unread(tmp_path, controlplane.address) as node:
        await node.started()
        yield node
        os.close(node.reader)


async def test_traffic_and_changes_go_on(
    node: Unread, controlplane: FakeControlPlane, orders: Instance, gone: Instance
) -> None:
    for _ in range(600):  # more lines of the access log than a pipe holds
        assert (await node.get("/orders/1")).status_code == 200
    resources = (
        wire.service("orders", check_interval=1),
        wire.instance("orders", "orders-1", orders.port),
        wire.route("orders", "orders"),
        wire.service("gone", circuit=wire.circuit(failure_threshold=2)),
        wire.instance("gone", "gone-1", gone.port),
        wire.route("gone", "gone"),
    )
    # The supervisor logs a new configuration, and the worker a circuit that opens.
    controlplane.publish(wire.snapshot(*resources, revision=6))
    await node.serves(6)
    await eventually(lambda: _status(node, "/gone", 200))
    await gone.die()
    await eventually(lambda: _opened(node))
    before = orders.probes
    await eventually(lambda: orders.probes > before + 1)
    for _ in range(20):
        assert (await within(node.get("/orders/1"), 5)).status_code == 200
        await asyncio.sleep(0.05)


async def _status(node: Unread, path: str, status: int) -> bool:
    return (await node.get(path)).status_code == status


async def _opened(node: Unread) -> bool:
    return "Circuit breaker is open" in (await node.get("/gone")).text
