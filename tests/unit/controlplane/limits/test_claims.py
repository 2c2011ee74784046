"""Who owns the partitions, as control planes come, go and fall silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.limits import claims as module
from controlplane.limits.claims import Claims
from controlplane.limits.partitions import COUNT, candidates
from controlplane.store import Delete, Deposed, MemoryStore, Put
from tests.support.waiting import eventually


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def taking_part(claims: Claims) -> AsyncIterator[Claims]:
    task = asyncio.create_task(claims.run())
    try:
        yield claims
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def claims(store: MemoryStore, name: str, members: list[str], clock: Clock | None = None) -> Claims:
    return Claims(store, name, lambda: members, look=0.01, clock=clock or Clock())


async def test_one_owns_everything_and_epochs_are_revisions() -> None:
    store = MemoryStore()
    async with taking_part(claims(store, "a", ["a"])) as a:
        await eventually(lambda: len(a.held) == COUNT)
        entry = await store.get(f"{module.CLAIMS}07")
        assert entry is not None and a.held[7].epoch == entry.revision
        assert a.owners == dict.fromkeys(range(COUNT), "a")


async def test_who_may_not_own_claims_nothing() -> None:
    store, looks = MemoryStore(), [0]

    def members() -> list[str]:
        looks[0] += 1
        return ["b"]

    async with taking_part(Claims(store, "a", members, look=0.001, clock=Clock())) as a:
        await eventually(lambda: looks[0] > 5)
        assert not a.held


async def test_what_another_leaves_is_claimed_with_a_higher_epoch() -> None:
    store, members = MemoryStore(), ["a", "b"]
    async with taking_part(claims(store, "a", members)) as a:
        async with taking_part(claims(store, "b", members)) as b:
            await eventually(lambda: len(a.held) + len(b.held) == COUNT)
            assert set(b.held) == {one for one in range(COUNT) if candidates(one, members)[0] == "b"}
            epochs = {one: claim.epoch for one, claim in b.held.items()}
            members.remove("b")
        await eventually(lambda: len(a.held) == COUNT)
        assert all(a.held[one].epoch > epoch for one, epoch in epochs.items())


async def test_a_member_that_comes_gets_its_part_and_what_was_given_up_is_fenced() -> None:
    store, members, clock = MemoryStore(), ["a"], Clock()
    async with taking_part(claims(store, "a", members, clock)) as a:
        await eventually(lambda: len(a.held) == COUNT)
        before = dict(a.held)
        given: list[int] = []
        a.leaving = lambda claim: given.append(claim.partition)
        members.append("b")
        async with taking_part(claims(store, "b", members, clock)) as b:
            await eventually(lambda: len(b.owners) == COUNT)
            assert len(a.held) == COUNT, "one that was claimed a moment ago is kept"
            a._good_until = b._good_until = clock.now + 100
            clock.now += module.STEADY
            await eventually(lambda: len(b.held) == len(given) > 10 and len(a.held) + len(b.held) == COUNT)
            with pytest.raises(Deposed):
                await before[given[0]].store.commit({}, [Put("/x", b"")])


async def test_the_next_in_the_order_stands_in_for_a_member_that_does_not_claim() -> None:
    store, members, clock = MemoryStore(), ["a", "dead"], Clock()
    async with taking_part(claims(store, "a", members, clock)) as a:
        first = sum(candidates(one, members)[0] == "a" for one in range(COUNT))
        await eventually(lambda: len(a.held) == first)
        a._good_until = clock.now + 100
        clock.now += module.STAND_IN
        await eventually(lambda: len(a.held) == COUNT)


async def test_what_somebody_deletes_in_the_store_is_claimed_anew() -> None:
    store, clock = MemoryStore(), Clock()
    async with taking_part(claims(store, "a", ["a"], clock)) as a:
        await eventually(lambda: len(a.held) == COUNT)
        before = a.held[7].epoch
        await store.commit({}, [Delete(f"{module.CLAIMS}07")])
        await eventually(lambda: 7 not in a.owners)
        a._good_until = clock.now + 100
        clock.now += module.STEADY
        await eventually(lambda: 7 in a.held and a.held[7].epoch > before and 7 in a.owners)


async def test_a_claim_counts_no_longer_than_the_lease_for_certain_does() -> None:
    store, clock = MemoryStore(), Clock()
    async with taking_part(claims(store, "a", ["a"], clock)) as a:
        await eventually(lambda: len(a.held) == COUNT)
        assert a.claim(3) is a.held[3]
        clock.now += module.TTL
        assert a.claim(3) is None
