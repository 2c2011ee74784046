"""Several processes that hold one instance, and what is done to it from outside meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import DuplicateInstance, Kept, Registration
from controlplane.commands.plans.holders import MOST_MARKS
from controlplane.identity import Hasher
from controlplane.model.config import build
from controlplane.model.problems import InvalidConfig
from controlplane.model.resources import Instance, Service
from controlplane.store import LeaseGone, MemoryStore, StoreUnavailable, Write

ORDERS = Service(service_name="orders")
NAME, TTL = "orders/a", 15.0


class Scene:
    """A registry, and processes that say hello and goodbye."""

    def __init__(self) -> None:
        self.store = MemoryStore(clock=lambda: 0.0)
        hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
        self.commands = Commands(self.store, hasher, lambda: 0.0)

    async def register(self, port: int = 9000, *, only_if_absent: bool = False) -> Registration:
        instance = Instance(service_name="orders", instance_id="a", host="10.0.0.1", port=port)
        return await self.commands.register(instance, ORDERS, TTL, only_if_absent=only_if_absent)

    async def goodbye(self, registration: Registration) -> None:
        """As the registry serves it."""
        _, since = await self.commands.leave(NAME, registration.lease)
        if since:
            await self.commands.deregister("orders", "a", lease=registration.lease, since=since)

    async def keep(self, *registrations: Registration) -> list[Kept]:
        return [await self.commands.keep(NAME, one.lease) for one in registrations]

    async def live(self, seconds: float, *registrations: Registration) -> None:
        """Time goes by, and these processes keep alive what they hold."""
        while seconds > 0:
            self.store.advance(min(5.0, seconds))
            seconds -= 5.0
            await self.keep(*registrations)

    async def ports(self) -> list[int | None]:
        listing = await self.store.list("/headgate/v1/")
        return [instance.port for instance in build(listing.entries, listing.revision).of(Instance).values()]

    async def leftovers(self) -> int:
        return len((await self.store.list("/headgate/holders/")).entries)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_workers_share_the_instance_until_the_last_one_leaves(scene: Scene) -> None:
    workers = [await scene.register() for _ in range(4)]
    assert [worker.workers for worker in workers] == [1, 2, 3, 4]
    await scene.live(60, *workers)
    for worker in workers:
        assert await scene.ports() == [9000]
        await scene.goodbye(worker)
    assert await scene.ports() == []
    assert await scene.leftovers() == 0


async def test_a_goodbye_that_leaves_the_instance_in_place_has_the_instance_s_revision(scene: Scene) -> None:
    """The followers of the configuration do not see the holders' keys."""
    first, second = await scene.register(), await scene.register()
    revision, last = await scene.commands.leave(NAME, first.lease)
    assert (revision, last) == (second.revision, 0)
    assert await scene.commands.leave(NAME, first.lease) == (second.revision, 0), "it has left already"


async def test_the_instance_does_not_blink_when_a_worker_is_killed(scene: Scene) -> None:
    first, second = await scene.register(), await scene.register()
    for _ in range(12):
        await scene.live(5, second)
        assert await scene.ports() == [9000]
    with pytest.raises(LeaseGone):
        await scene.keep(first)
    assert (await scene.register()).workers == 2, "who is dead is not counted"
    await scene.goodbye(second)
    assert await scene.ports() == [9000]


async def test_a_join_whose_answer_is_lost_takes_the_instance_from_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its write may have moved the instance to the shared lease, for the worker that was there before."""
    first = await scene.register()
    commit = scene.store.commit

    async def loses_the_answer(expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        monkeypatch.undo()
        await commit(expected, writes)
        raise StoreUnavailable("the answer was lost", unknown_outcome=True)

    monkeypatch.setattr(scene.store, "commit", loses_the_answer)
    with pytest.raises(StoreUnavailable):
        await scene.register()
    await scene.live(30, first)
    assert await scene.ports() == [9000]


async def test_a_further_worker_takes_one_lease(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one takes the shared lease as well; the third one finds it."""
    await scene.register()
    await scene.register()
    granted: list[float] = []
    grant = scene.store.grant

    async def counted(ttl: float) -> int:
        granted.append(ttl)
        return await grant(ttl)

    monkeypatch.setattr(scene.store, "grant", counted)
    await scene.register()
    assert granted == [TTL, TTL], "one to see that the instance is there, and one to join it"


async def test_with_the_last_worker_killed_the_instance_leaves_within_its_lease(scene: Scene) -> None:
    workers = [await scene.register() for _ in range(3)]
    await scene.live(30, *workers)
    scene.store.advance(TTL + 1)
    assert (await scene.ports(), await scene.leftovers()) == ([], 0)


async def test_a_successor_that_comes_before_the_old_lease_ends_takes_the_instance_out_itself(
    scene: Scene,
) -> None:
    """A process that crashed, and its successor at the same address."""
    await scene.register()
    successor = await scene.register()
    await scene.live(TTL + 5, successor)
    await scene.goodbye(successor)
    assert await scene.ports() == []


async def test_a_late_goodbye_removes_nothing_of_the_successor(scene: Scene) -> None:
    old = await scene.register(9000)
    new = await scene.register(9001)
    assert new.replaced == "10.0.0.1:9000"
    await scene.goodbye(old)
    assert await scene.ports() == [9001]
    with pytest.raises(LeaseGone):
        await scene.keep(old)
    await scene.live(30, new)


async def test_all_workers_of_the_old_address_make_room(scene: Scene) -> None:
    workers = [await scene.register(9000) for _ in range(2)]
    new = await scene.register(9001)
    for worker in workers:
        with pytest.raises(LeaseGone):
            await scene.keep(worker)
        await scene.goodbye(worker)
    assert await scene.ports() == [9001]
    await scene.live(30, new)


async def test_a_displaced_process_does_not_displace_its_successor(scene: Scene) -> None:
    await scene.register(9000)
    new = await scene.register(9001)
    with pytest.raises(DuplicateInstance, match=r"registered by another process, at 10\.0\.0\.1:9001"):
        await scene.register(9000, only_if_absent=True)
    await scene.goodbye(new)
    assert (await scene.register(9000, only_if_absent=True)).replaced == ""


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("hold", [0.0, 30.0])
async def test_what_is_taken_out_from_outside_stays_out(scene: Scene, count: int, hold: float) -> None:
    """Whatever the keep-alives of those who hold it do, and also while it is drained first."""
    workers = [await scene.register() for _ in range(count)]
    since = await scene.commands.drain("orders", "a", hold=hold) if hold else 0
    if hold:
        assert {one.removed for one in await scene.keep(*workers)} == {True}
    await scene.commands.deregister("orders", "a", since=since)
    await scene.live(60, *workers)
    assert {one.removed for one in await scene.keep(*workers)} == {True}
    assert await scene.ports() == []
    for worker in workers:
        await scene.goodbye(worker)
    assert await scene.leftovers() == 0


async def test_registering_anew_brings_it_back_for_all_who_are_there(scene: Scene) -> None:
    worker = await scene.register()
    await scene.commands.deregister("orders", "a")
    operator = await scene.register()
    assert [one.removed for one in await scene.keep(worker, operator)] == [False, False]
    await scene.live(30, worker)
    assert await scene.ports() == [9000], "the service keeps it when the operator has gone"


async def test_registering_anew_while_it_is_drained_ends_that(scene: Scene) -> None:
    worker = await scene.register()
    since = await scene.commands.drain("orders", "a", hold=30)
    anew = await scene.register()
    assert anew.workers == 1
    await scene.commands.deregister("orders", "a", since=since)
    assert await scene.ports() == [9000], "another registration than the one that was drained"
    await scene.live(60, worker, anew)
    assert await scene.ports() == [9000]


async def test_a_draining_from_outside_is_seen_by_those_who_hold_it(scene: Scene) -> None:
    workers = [await scene.register() for _ in range(2)]
    await scene.commands.drain("orders", "a")
    assert [one.draining for one in await scene.keep(*workers)] == [True, True]


async def test_processes_that_come_and_go_at_once_are_all_counted(scene: Scene) -> None:
    workers = await asyncio.gather(*(scene.register() for _ in range(5)))
    assert max(worker.workers for worker in workers) == 5
    await asyncio.gather(*(scene.goodbye(worker) for worker in workers))
    assert (await scene.ports(), await scene.leftovers()) == ([], 0)


async def test_a_process_that_knows_no_holders_is_kept_by_name(scene: Scene) -> None:
    """One of an older version says goodbye without its lease."""
    await scene.register()
    await scene.commands.deregister("orders", "a")
    assert await scene.ports() == []


async def test_nobody_renews_what_is_not_theirs(scene: Scene) -> None:
    registration = await scene.register()
    with pytest.raises(LeaseGone):
        await scene.commands.keep("orders/b", registration.lease)
    with pytest.raises(LeaseGone):
        await scene.commands.keep(NAME, registration.lease + 1)


async def test_no_more_hold_an_instance_than_can_be_taken_out_at_once(scene: Scene) -> None:
    workers = [await scene.register() for _ in range(MOST_MARKS)]
    with pytest.raises(InvalidConfig, match="held by 100 processes"):
        await scene.register()
    await scene.commands.deregister("orders", "a")
    assert all(kept.removed for kept in await scene.keep(*workers))
