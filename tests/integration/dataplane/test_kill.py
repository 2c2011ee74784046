"""kill -9 of a whole data plane under a stream of changes: alone afterwards, it serves what it had served before."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from headgate_api.v1 import config_pb2
from tests.support import wire
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually

ROUTES = 300


class Fleet:
    """A control plane and its configuration, of which one route changes again and again."""

    def __init__(self, controlplane: FakeControlPlane, orders: Instance) -> None:
        self.controlplane = controlplane
        self._kept = [
            wire.service("orders"),
            wire.instance("orders", "orders-1", orders.port),
            *(wire.route(f"r{number}", "orders") for number in range(ROUTES)),
        ]
        self.latest = self._at(5)
        controlplane.publish(self.latest)

    def _at(self, revision: int) -> config_pb2.Snapshot:
        changing = wire.route("orders", "orders", revision=revision, rewrite=f"/at/{revision}")
        return wire.snapshot(*self._kept, changing, revision=revision)

    async def acked(self, revision: int) -> None:
        """Wait until the node has acknowledged it, or what came after it."""
        await eventually(lambda: self.most_acked() >= revision, within=30, every=0.001)

    def most_acked(self) -> int:
        """The latest revision that the node has acknowledged, on whichever stream: it may have opened a new one."""
        return max((revision for each in self.controlplane.connections for revision in each.acked), default=0)

    async def change(self) -> None:
        """Send one change after the other, each as soon as the one before is acknowledged."""
        while True:
            await self.acked(self.latest.revision)
            before, self.latest = self.latest, self._at(self.latest.revision + 1)
            delta = wire.delta(before, self.latest)
            self.controlplane.keep(self.latest)
            self.controlplane.latest.outbox.put_nowait(config_pb2.StreamResponse(delta=delta))

    async def back(self) -> None:
        """Let the control plane answer again."""
        await self.controlplane.start()
        self.controlplane.publish(self.latest)
        await self.acked(self.latest.revision)


async def ask(node: DataPlane) -> None:
    """Requests until the node is gone: the instance sees which revision sent them on."""
    with contextlib.suppress(httpx.TransportError):
        while True:
            await node.get("/orders/1")


@asynccontextmanager
async def meanwhile(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def seen(orders: Instance) -> int:
    """The latest revision that sent a request on."""
    return max(int(head.split(b"/")[2]) for head in orders.heads)


@pytest.mark.parametrize("kills", [3, pytest.param(12, marks=pytest.mark.long)])
async def test_killed_again_and_again_it_never_comes_back_with_less(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, kills: int
) -> None:
    luck = random.Random(kills)
    fleet = Fleet(controlplane, orders)
    async with DataPlane(tmp_path, controlplane.address, WORKERS="2") as node:
        await node.started()
        await fleet.acked(5)
        for _ in range(kills):
            enough = fleet.latest.revision + luck.randrange(3, 40)
            # Not cancelled: a request that is cancelled while it connects leaves its socket open (anyio).
            asking = asyncio.create_task(ask(node))
            async with meanwhile(fleet.change()):
                await fleet.acked(enough)
                # Not a wait for anything: the kill is to come anywhere in the course of a change.
                await asyncio.sleep(luck.uniform(0.0, 0.02))
                await node.kill()
            await asking
            acked = fleet.most_acked()
            await controlplane.stop()
            await node.started()
            revision = (await node.status("/debug/config")).json()["revision"]
            assert revision >= max(acked, seen(orders))
            await fleet.back()
