"""What the desk answers, as partitions are claimed and lost, and what it leaves for the next owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controlplane.limits import desk as desk_module
from controlplane.limits import floors
from controlplane.limits.claims import Claim, Claims
from controlplane.limits.desk import (
    COARSE,
    MOST_NODES,
    MOST_WORKERS,
    Desk,
    NotOwned,
    coarse_limit,
    fleet_limits,
)
from controlplane.limits.partitions import partition_of
from controlplane.model.rate_limit import RateLimit
from controlplane.store import FencedStore, MemoryStore, Put
from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import LEASE, Limit, WithoutOwner
from tests.support.waiting import eventually

FAST = Limit(10.0, 100, WithoutOwner.STRICT)
SLOW = Limit(0.001, 100, WithoutOwner.STRICT)
BY = "subject"


@pytest.fixture(autouse=True)
def _stored_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a limit has to wait for the store: by real time, which these tests have no use for."""
    monkeypatch.setattr(desk_module, "STORE_EVERY", 0.02)


class World:
    """A store, and one control plane after the other that owns all partitions."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = MemoryStore()
        self.claims = Claims(self.store, "a", lambda: ["a"], clock=lambda: self.now)
        self.claims._good_until = float("inf")

    async def claim(self, limit: str) -> Claim:
        key = f"/claim/{partition_of(limit)}"
        entry = await self.store.get(key)
        epoch = await self.store.commit({key: entry.revision if entry else 0}, [Put(key, b"")])
        fenced = FencedStore(self.store, key, epoch)
        claim = Claim(partition_of(limit), epoch, fenced, self.now)
        self.claims.held[claim.partition] = claim
        return claim

    @asynccontextmanager
    async def desk(self, **limits: Limit) -> AsyncIterator[Desk]:
        desk = Desk(self.claims, lambda: self.now)
        desk.adopt({name: (BY, limit) for name, limit in limits.items()})
        task = asyncio.create_task(desk.run())
        try:
            yield desk
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def exchange(self, desk: Desk, name: str, holder: Holder, run: str = "r", worker: str = "0") -> bool:
        self.now += 0.6
        ask = holder.ask(self.now)
        assert ask is not None
        answer = desk.ask(name, BY, ("gw", run, worker), ask)
        if answer is not None:
            holder.answer(answer, self.now)
        return answer is not None


def owned(desk: Desk, *names: str) -> Any:
    return eventually(lambda: set(names) <= set(desk._owners))


def spend(holder: Holder, key: str, now: float) -> int:
    holding = holder.holdings.get(key) or holder.open(key, now)
    return sum(holding.take(1.0, now) for _ in range(1000))


async def test_what_is_not_owned_is_not_answered() -> None:
    world = World()
    async with world.desk(fast=FAST) as desk:
        holder = Holder(FAST)
        with pytest.raises(NotOwned):
            world.exchange(desk, "fast", holder)
        holder.lost()
        await world.claim("fast")
        await owned(desk, "fast")
        await eventually(lambda: world.exchange(desk, "fast", holder) and holder.starter == 25)
        ask = holder.ask(world.now + 1)
        assert ask is not None
        with pytest.raises(NotOwned):
            desk.ask("fast", "address/64", ("gw", "r", "0"), ask)
        world.claims._good_until = 0.0
        with pytest.raises(NotOwned):
            desk.ask("fast", BY, ("gw", "r", "0"), ask)


async def test_a_limit_is_known_in_the_store_before_anything_of_it_is_granted() -> None:
    world = World()
    claim = await world.claim("fast")
    async with world.desk(fast=FAST) as desk:
        await owned(desk, "fast")
        entry = await world.store.get(floors.key_of(claim.partition))
        assert entry is not None and set(floors.decode(entry.value)) == {("fast", BY)}
        roll = desk._owners["fast"][2].roll
        assert not roll.unheard
        # What starters may be together is there before they are given.
        holder = Holder(FAST)
        await eventually(lambda: world.exchange(desk, "fast", holder) and holder.starter == 25)
        entry = await world.store.get(floors.key_of(claim.partition))
        assert entry is not None and floors.decode(entry.value)["fast", BY].starters == 25
    claim = await world.claim("fast")
    async with world.desk(fast=FAST) as desk:
        await owned(desk, "fast")
        owner = desk._owners["fast"][2]
        assert (owner.epoch, owner.roll.unheard) == (claim.epoch, 25)


async def test_the_next_owner_of_a_slow_limit_begins_where_the_store_says() -> None:
    world = World()
    await world.claim("slow")
    holder = Holder(SLOW)
    spent = 0
    async with world.desk(slow=SLOW) as desk:
        await owned(desk, "slow")
        await eventually(lambda: world.exchange(desk, "slow", holder) and holder.starter == 25)
        spent = spend(holder, "alice", world.now)

        def some() -> bool:
            """Spend what the store has said may be granted."""
            nonlocal spent
            world.exchange(desk, "slow", holder)
            spent += spend(holder, "alice", world.now)
            return spent >= 70

        await eventually(some, within=60)
    await world.claim("slow")
    async with world.desk(slow=SLOW) as desk:
        await owned(desk, "slow")

        def all_of_it() -> bool:
            return some() and desk._owners["slow"][2].accounts["alice"].pool < 1

        await eventually(all_of_it, within=60)
    assert 90 <= spent <= 101


async def test_workers_that_are_not_named_any_more_and_former_runs_have_ended() -> None:
    world = World()
    await world.claim("fast")
    async with world.desk(fast=FAST) as desk:
        await owned(desk, "fast")
        roll = desk._owners["fast"][2].roll
        assert desk.hear("gw", "r", 1, ["0", "1"])
        for worker in "01":
            world.exchange(desk, "fast", Holder(FAST), worker=worker)
        assert set(roll.members) == {"gw/r/0", "gw/r/1"}
        assert desk.hear("gw", "r", 3, ["1"])
        assert set(roll.members) == {"gw/r/1"}
        # It was sent before, and came late.
        assert desk.hear("gw", "r", 2, ["0", "1"])
        assert set(roll.members) == {"gw/r/1"}
        assert desk.hear("gw", "s", 1, ["0"])
        assert not roll.members
        assert not desk.hear("gw", "r", 4, ["1"])


async def test_a_changed_limit_carries_its_books_and_one_that_is_gone_is_forgotten() -> None:
    world = World()
    claim = await world.claim("fast")
    async with world.desk(fast=FAST) as desk:
        await owned(desk, "fast")
        owner = desk._owners["fast"][2]
        desk.adopt({"fast": (BY, Limit(1.0, 10, WithoutOwner.STRICT))})
        assert desk._owners["fast"][2] is owner and owner.roll.limit.burst == 10
        desk.adopt({})
        assert not desk._owners

        async def forgotten() -> bool:
            entry = await world.store.get(floors.key_of(claim.partition))
            return entry is not None and not floors.decode(entry.value)

        await eventually(forgotten)


async def test_floors_that_cannot_be_read_count_as_none() -> None:
    world = World()
    claim = await world.claim("slow")
    await world.store.commit({}, [Put(floors.key_of(claim.partition), b"nonsense")])
    async with world.desk(slow=SLOW) as desk:
        await owned(desk, "slow")
        assert desk._owners["slow"][2].blank.pool == 0


def test_terms_are_in_requests() -> None:
    plain = RateLimit(name="a", per_second=100, burst=1005, cost=10, mode="fleet", key="subject")
    local = RateLimit(name="b", per_second=1, burst=1)
    assert fleet_limits([plain, local]) == {"a": ("subject", Limit(10.0, 100))}
    assert fleet_limits([plain], 60.0) == {"a": ("subject", Limit(10.0, 100, share=60.0))}
    several = RateLimit(
        name="c",
        per_second=1,
        burst=9,
        mode="fleet",
        key=("address", "header"),
        header="x-a",
        address_prefix=56,
    )
    assert several.counts_by == "address/56,header:x-a"


async def test_a_data_plane_that_goes_on_beside_another_one_of_its_name_is_answered_again() -> None:
    world = World()
    await world.claim("fast")
    async with world.desk(fast=FAST) as desk:
        await owned(desk, "fast")
        roll = desk._owners["fast"][2].roll
        assert desk.hear("gw", "r", 1, ["0"])
        world.exchange(desk, "fast", Holder(FAST))
        # Another process of that name starts, and ends at once.
        assert desk.hear("gw", "s", 1, ["0"])
        assert not roll.members
        assert desk.hear("gw", "r", 2, ["0"]) is None, "it may have been sent before"
        world.now += LEASE
        assert desk.hear("gw", "r", 3, ["0", "1"]) == {"0", "1"}
        # None of the two ends the other one again.
        assert desk.hear("gw", "s", 2, ["0"]) == {"0"}
        assert desk.hear("gw", "r", 4, ["1"]) == {"1"}


def test_names_of_holders_cannot_be_made_up_from_those_of_others() -> None:
    desk = Desk(World().claims)
    assert desk.hear("gw", "1/r", 1, ["0"]) is None
    assert desk.hear("gw", "r", 1, ["0", "1/2", "", "x" * 65]) == {"0"}
    assert len(desk.hear("gw", "r", 2, map(str, range(10_000))) or ()) == MOST_WORKERS
    for number in range(MOST_NODES + 5):
        desk.hear(f"gw-{number}", "r", 1, ())
    assert len(desk._nodes) == MOST_NODES and "gw" not in desk._nodes


async def test_slow_limits_that_lie_together_have_room_for_so_many_keys_together() -> None:
    names = [f"slow-{number}" for number in range(2000) if partition_of(f"slow-{number}") == 7][:4]
    world = World()
    await world.claim(names[0])
    async with world.desk(**dict.fromkeys(names[:3], SLOW), **{names[3]: FAST}) as desk:
        await owned(desk, *names)
        await eventually(lambda: {found[2].most_stored for found in desk._owners.values()} == {3333})


async def test_the_limit_of_the_settings_is_shown_where_data_planes_count_it_so() -> None:
    assert coarse_limit(0.0, 150) == {}
    assert coarse_limit(10.0, 100, 60.0) == {COARSE: ("address/64", Limit(10.0, 100, share=60.0))}
    ((_, terms),) = coarse_limit(10.0, 100).values()
    world = World()
    await world.claim(COARSE)
    async with world.desk(**{COARSE: terms, "other": FAST}) as desk:
        desk.hear("gw", "r", 0, ["0"])
        holder = Holder(terms)
        await eventually(lambda: world.exchange(desk, COARSE, holder))
        assert [one.name for one in desk.measured()] == [COARSE]
        desk.hear("gw", "r", 1, [])
        assert desk.measured() == []
