"""Every kind of fault, one after the other, while a service is used and routes are added.

After each: no request failed, no data plane went back or lost what it had shown, and everything that was acknowledged
is served everywhere in time. `make chaos` mixes the faults at random, for as long as one likes.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.support.load import Load
from tests.support.waiting import eventually
from tests.system.chaos import faults
from tests.system.chaos.faults import FAULTS, Fault, Scene
from tests.system.chaos.history import History
from tests.system.chaos.judge import judged, told
from tests.system.chaos.world import ROUTE, SERVICE, running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180), pytest.mark.long]

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "0"))
SEED = int(os.environ.get("CHAOS_SEED", str(random.SystemRandom().getrandbits(32))))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Everything is settled, the service is used, and routes are being added."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running(tmp_path_factory.mktemp("chaos")))
        history = await stack.enter_async_context(History(world))
        await eventually(lambda: history.acknowledged, within=30)
        await history.put([ROUTE, {**ROUTE, "name": "to-be-deleted", "prefix": "/to-be-deleted"}])
        await world.settled()
        load = Load(world.ports, ROUTE["prefix"])
        await world.healthy()
        await stack.enter_async_context(load)
        yield Scene(world, load, history)


async def test_twenty_live_changes(scene: Scene) -> None:
    async with judged(scene, "20 live changes"):
        await scene.history.rest()
        for number in range(20):
            assert await scene.history.write(number % 2, f"chaos-live-{number}") == 200
            assert await scene.history.everywhere(within=30) < 2.0
        scene.history.writing = True


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_fault(scene: Scene, fault: Fault) -> None:
    async with judged(scene, fault.__name__):
        await fault(scene)
        await scene.hold(0.5)


@pytest.mark.skipif(not ROUNDS, reason="the long form: make chaos")
@pytest.mark.parametrize("turn", range(ROUNDS))
async def test_faults_at_random(scene: Scene, turn: int) -> None:
    scene.luck = random.Random(SEED + turn)
    scene.held = scene.luck.uniform(0.5, 12.0)
    chosen = scene.luck.choices(FAULTS, k=scene.luck.randint(1, 3))
    names = ", ".join(fault.__name__ for fault in chosen)
    async with judged(scene, f"CHAOS_SEED={SEED + turn}: {names}"):
        for fault in chosen:
            await fault(scene)


async def test_etcd_restored_from_an_older_copy(scene: Scene) -> None:
    """The fleet keeps what is newer, and goes on by itself when the right data are back."""
    older = await faults.copied(scene)
    await faults.settle(scene)
    written = len(scene.history.acknowledged)
    await eventually(lambda: len(scene.history.acknowledged) > written + 3, within=30)
    async with judged(scene, "etcd restored from an older copy"):
        await scene.history.rest()
        stamps = {node: seen.stamp for node, seen in scene.history.seen.items()}
        newer = await faults.exchanged(scene, older)
        await eventually(lambda: faults.frozen(scene), within=30, every=0.1)
        # No answer in time is no verdict: a busy machine takes long.
        assert await eventually(lambda: scene.history.write(0, "chaos-into-the-past")) == 503
        await scene.hold(1.0)
        assert all(seen.stamp >= stamps[node] for node, seen in scene.history.seen.items())
        await faults.exchanged(scene, newer)
        await eventually(lambda: faults.thawed(scene), within=30, every=0.1)
        scene.history.writing = True


async def test_etcd_wiped(scene: Scene) -> None:
    """The last one: the fleet keeps what it has until an operator has his say."""
    await scene.history.rest()
    await scene.history.everywhere(within=30)
    await faults.settle(scene)
    before = {node: seen.stamp for node, seen in scene.history.seen.items()}
    routes = {node: seen.routes for node, seen in scene.history.seen.items()}
    begun = time.monotonic()
    await faults.wipe(scene)
    await eventually(lambda: faults.frozen(scene), within=30, every=0.1)
    assert await eventually(lambda: scene.history.write(0, "chaos-into-the-void")) == 503
    # A control plane that is started now knows nothing else, and believes the store. Data planes do not.
    restarted = scene.world.controlplanes[1]
    await scene.world.stop(restarted.name)
    await scene.world.start(restarted)
    scene.history.forget_logins()
    await eventually(lambda: scene.world.holds(SERVICE, len(scene.world.instances), 1), within=30)
    await scene.history.put([ROUTE], 1)
    await scene.hold(2.0)
    assert all(seen.stamp[0] == before[node][0] for node, seen in scene.history.seen.items())
    assert {node: seen.routes for node, seen in scene.history.seen.items()} == routes

    await scene.history.confirm(1)
    await eventually(
        lambda: all(seen.stamp[0] > before[node][0] for node, seen in scene.history.seen.items()), within=30
    )
    await scene.world.settled()
    await scene.hold(1.0)
    assert not scene.history.violations
    failed = [answer for answer in scene.load.since(begun) if answer.status != 200]
    assert not failed, told(failed, begun)
