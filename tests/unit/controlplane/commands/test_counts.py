"""How many processes hold an instance: what is counted, and how often the store is asked."""

from __future__ import annotations

from controlplane.commands.counts import OLD, Workers
from tests.unit.controlplane.commands.test_holders import NAME, Scene


async def test_those_who_hold_it_are_counted() -> None:
    scene, now = Scene(), [0.0]
    workers = Workers(scene.store, lambda: now[0])

    async def later() -> int:
        now[0] += OLD
        return (await workers.counts()).get(NAME, 0)

    first = await scene.register()
    assert await later() == 0, "one alone needs no entry"
    others = [await scene.register() for _ in range(2)]
    assert await later() == 3
    await scene.goodbye(others[0])
    assert await later() == 2
    await scene.store.revoke(first.lease)
    assert await later() == 1
    await scene.commands.deregister("orders", "a")
    assert await later() == 0


async def test_the_store_is_asked_once_in_a_while() -> None:
    scene, now = Scene(), [0.0]
    workers = Workers(scene.store, lambda: now[0])
    await workers.counts()
    for _ in range(2):
        await scene.register()
    assert await workers.counts() == {}
    now[0] += OLD
    assert await workers.counts() == {NAME: 2}


async def test_without_the_store_nothing_is_said() -> None:
    scene = Scene()
    scene.store.available = False
    assert await Workers(scene.store).counts() == {}
