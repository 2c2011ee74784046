"""One leader at a time, and no write of one whose time is over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from controlplane.store import MemoryStore, Put
from controlplane.store.election import Deposed, Election, FencedStore
from tests.support.waiting import eventually, within


class Candidate:
    """Takes part, and writes `work/<n>` when told while it leads."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.name = name
        self.election = Election(store, "chores", name, ttl=10.0, pause=0.01)
        self.fenced: FencedStore | None = None
        self.terms: list[int] = []
        self.end = asyncio.Event()
        self.fail: Exception | None = None

    async def work(self, store: FencedStore) -> None:
        self.fenced = store
        self.terms.append(store.revision)
        await self.end.wait()
        self.end.clear()
        if self.fail is not None:
            raise self.fail

    async def write(self, text: str) -> int:
        assert self.fenced is not None
        return await self.fenced.commit({}, [Put("work", text.encode())])


@contextlib.asynccontextmanager
async def campaigning(*candidates: Candidate) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.election.run(one.work)) for one in candidates]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_one_of_many_leads(store: MemoryStore) -> None:
    candidates = [Candidate(store, f"c{number}") for number in range(5)]
    async with campaigning(*candidates):
        await eventually(lambda: any(one.election.leads for one in candidates))
        await asyncio.sleep(0.05)
        (leader,) = [one for one in candidates if one.election.leads]
        entry = await store.get("/headgate/election/chores")
        assert entry is not None and entry.value == leader.name.encode()
        await leader.write("done")


async def test_the_next_one_follows_at_once_when_a_leader_goes(store: MemoryStore) -> None:
    first, second = Candidate(store, "first"), Candidate(store, "second")
    async with campaigning(first):
        await eventually(lambda: first.election.leads)
        async with campaigning(second):
            await asyncio.sleep(0.02)
            assert not second.election.leads
            task = asyncio.create_task(eventually(lambda: second.election.leads, within=30))
            # The first one stays in the race: it may win again, but both get their turn.
            first.end.set()
            await eventually(lambda: first.terms[1:] or second.terms)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_leader_that_slept_cannot_write(store: MemoryStore) -> None:
    first, second = Candidate(store, "first"), Candidate(store, "second")
    async with campaigning(first):
        await eventually(lambda: first.election.leads)
        await first.write("mine")
        # Its lease ends, and its process does not get to know of it.
        store.advance(11)
        async with campaigning(second):
            await eventually(lambda: second.election.leads)
            await second.write("theirs")
            with pytest.raises(Deposed):
                await first.write("mine, too late")
            entry = await store.get("work")
            assert entry is not None and entry.value == b"theirs"


async def test_nobody_leads_and_nobody_writes(store: MemoryStore) -> None:
    first = Candidate(store, "first")
    async with campaigning(first):
        await eventually(lambda: first.election.leads)
    with pytest.raises(Deposed):
        await first.write("after the end")
    assert await store.get("/headgate/election/chores") is None


async def test_work_that_fails_with_the_store_begins_anew(store: MemoryStore) -> None:
    first = Candidate(store, "first")
    first.fail = Deposed("gone")
    async with campaigning(first):
        await eventually(lambda: first.election.leads)
        first.end.set()
        await eventually(lambda: len(first.terms) == 2)
        assert first.terms[1] > first.terms[0]


async def test_a_fault_in_the_work_is_not_hidden(store: MemoryStore) -> None:
    first = Candidate(store, "first")
    first.fail = RuntimeError("a fault")
    task = asyncio.create_task(first.election.run(first.work))
    await eventually(lambda: first.election.leads)
    first.end.set()
    with pytest.raises(RuntimeError, match="a fault"):
        await within(task, 30)


async def test_what_the_leader_reads_is_the_store(store: MemoryStore) -> None:
    first = Candidate(store, "first")
    async with campaigning(first):
        await eventually(lambda: first.fenced)
        assert first.fenced is not None
        revision = await first.write("x")
        found = await first.fenced.get("work")
        assert found is not None and found.revision == revision
        assert (await first.fenced.list("work")).entries == (found,)
        await first.fenced.status()
        lease = await first.fenced.grant(5)
        assert await first.fenced.keep_alive(lease) > 0
        await first.fenced.revoke(lease)
        await first.fenced.close()
        assert await store.get("work") is not None
