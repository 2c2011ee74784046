"""The executor: every plan is carried out as a whole, if what it has read still holds; else it is planned again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from controlplane.commands.executor import TRIES, Executor
from controlplane.commands.plan import Plan, PlanView, Request
from controlplane.identity import Hasher
from controlplane.model.history import RECORDS, Record, read_records
from controlplane.model.stored import CHANGE
from controlplane.store import Conflict, LeaseGone, MemoryStore, Put, StoreUnavailable, Write

KEY = "/headgate/elsewhere/counter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count(Request):
    """A command for this test: adds to a number, under a lease if it is told to."""

    by: int = 1
    on_record: bool = False
    leased: bool = False

    @property
    def configuration(self) -> bool:
        return self.on_record

    @property
    def keys(self) -> tuple[str, ...]:
        return (KEY,)


def count(view: PlanView, request: Count) -> Plan[int]:
    entry = view.entries[KEY]
    number = (int(entry.value) if entry else 0) + request.by
    summary = "count" if request.on_record else ""
    expects = {KEY: entry.revision if entry else 0}
    if not request.by:
        return Plan(number)
    return Plan(
        number,
        [Put(KEY, str(number).encode(), request.plan_lease)],
        expects,
        summary,
        ttl=10.0 if request.leased else 0.0,
    )


class Raced(MemoryStore):
    """A store in which another writer comes between the view and the write of a plan."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0)
        self.rivals: list[Callable[[], Awaitable[object]]] = []

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        if self.rivals:
            await self.rivals.pop(0)()
        return await super().commit(expected, writes)


@pytest.fixture
def store() -> Raced:
    return Raced()


@pytest.fixture
def executor(store: Raced) -> Executor:
    return Executor(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 1.0)


async def records(store: MemoryStore) -> list[Record]:
    return read_records((await store.list(RECORDS)).entries)


async def value(store: MemoryStore) -> int:
    entry = await store.get(KEY)
    return int(entry.value) if entry else 0


async def test_a_plan_is_carried_out(store: Raced, executor: Executor) -> None:
    done = await executor.run(count, Count(author="me"))
    assert (done.receipt, done.revision, done.written) == (1, store.revision, True)
    assert await value(store) == 1
    assert await store.get(CHANGE) is None, "no summary, so no change of the configuration"
    assert await records(store) == []


async def test_a_plan_without_writes_does_nothing(store: Raced, executor: Executor) -> None:
    await executor.run(count, Count(author="me"))
    done = await executor.run(count, Count(author="me", by=0))
    assert (done.receipt, done.revision, done.written) == (1, store.revision, False)


async def test_a_plan_with_a_summary_is_on_record(store: Raced, executor: Executor) -> None:
    done = await executor.run(count, Count(author="me", on_record=True))
    (record,) = await records(store)
    assert (record.revision, record.author, record.summary, record.time) == (
        done.revision,
        "me",
        "count",
        1.0,
    )


@pytest.mark.parametrize("on_record", [False, True])
async def test_what_another_writer_left_is_planned_on(
    store: Raced, executor: Executor, on_record: bool
) -> None:
    async def rival() -> None:
        await MemoryStore.commit(store, {}, [Put(KEY, b"100"), Put(CHANGE, b"{}")])

    store.rivals = [rival, rival]
    done = await executor.run(count, Count(author="me", on_record=on_record))
    assert done.receipt == await value(store) == 101


async def test_after_many_conflicts_the_command_fails(store: Raced, executor: Executor) -> None:
    async def rival() -> None:
        await MemoryStore.commit(store, {}, [Put(KEY, b"100")])

    store.rivals = [rival] * TRIES
    with pytest.raises(Conflict):
        await executor.run(count, Count(author="me"))
    assert await value(store) == 100
    assert (await executor.run(count, Count(author="me"))).receipt == 101


async def test_a_lease_ends_with_a_plan_that_fails(store: Raced, executor: Executor) -> None:
    await executor.run(count, Count(author="me", leased=True))
    entry = await store.get(KEY)
    assert entry is not None and entry.lease == 1

    async def fails() -> None:
        raise StoreUnavailable("the store does not answer")

    store.rivals = [fails]
    with pytest.raises(StoreUnavailable):
        await executor.run(count, Count(author="me", leased=True))
    with pytest.raises(LeaseGone):
        await store.keep_alive(2)
    assert await store.keep_alive(1)


async def test_a_lease_that_ended_meanwhile_is_taken_anew(store: Raced, executor: Executor) -> None:
    async def ends() -> None:
        store.advance(11.0)

    store.rivals = [ends]
    await executor.run(count, Count(author="me", leased=True))
    entry = await store.get(KEY)
    assert entry is not None and entry.lease == 2


async def test_a_lease_that_was_not_needed_in_the_end_is_given_back(store: Raced, executor: Executor) -> None:
    async def rival() -> None:
        await MemoryStore.commit(store, {}, [Put(KEY, b"100")])

    def once(view: PlanView, request: Count) -> Plan[int]:
        return Plan(100) if view.entries[KEY] else count(view, request)

    store.rivals = [rival]
    assert not (await executor.run(once, Count(author="me", leased=True))).written
    with pytest.raises(LeaseGone):
        await store.keep_alive(1)
