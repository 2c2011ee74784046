"""From the store to the published snapshot: nothing lost, nothing bad published, bursts in one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from controlplane.distribute.watcher import AT_ONCE, Watcher
from controlplane.model.config import Config, Found
from controlplane.model.resources import Resource, Route, Scope, Service
from controlplane.model.stored import COMMITS, PREFIX, encode, key_of
from controlplane.store import Batch, Delete, Entry, Listing, MemoryStore, Put, StoreUnavailable
from tests.support.waiting import eventually, within


class CountingStore(MemoryStore):
    """Counts lists; the watch can be broken with an error, and progress marks can be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = 0
        self.watches = 0
        self.probes = 0
        self.is_full = False
        self.marks: asyncio.Queue[Batch | Exception] = asyncio.Queue()

    async def list(self, prefix: str) -> Listing:
        self.lists += 1
        return await super().list(prefix)

    async def get(self, key: str) -> Entry | None:
        self.probes += 1
        return await super().get(key)

    async def full(self) -> bool:
        return self.is_full

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Batch, None]:
        self.watches += 1
        async with contextlib.aclosing(super().watch(prefix, after)) as batches:
            told = asyncio.ensure_future(anext(batches))
            marked = asyncio.ensure_future(self.marks.get())
            try:
                while True:
                    await asyncio.wait((told, marked), return_when=asyncio.FIRST_COMPLETED)
                    if marked.done():
                        mark, marked = marked.result(), asyncio.ensure_future(self.marks.get())
                        if isinstance(mark, Exception):
                            raise mark
                        yield mark
                    else:
                        batch, told = told.result(), asyncio.ensure_future(anext(batches))
                        yield batch
            finally:
                for task in (told, marked):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                        await task


async def put(store: MemoryStore, *resources: Resource) -> int:
    return await store.commit({}, [Put(key_of(one.KIND, one.name), encode(one)) for one in resources])


def service(name: str) -> Service:
    return Service(service_name=name)


@contextlib.asynccontextmanager
async def running(watcher: Watcher) -> AsyncIterator[Watcher]:
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
async def watcher(store: CountingStore) -> AsyncIterator[Watcher]:
    await put(store, service("orders"))
    async with running(Watcher(store, retry=(0.01, 0.05), probe=0.02)) as watcher:
        await within(watcher.caught_up.wait(), 30)
        yield watcher


def names(watcher: Watcher) -> set[str]:
    assert watcher.current is not None
    return {"/".join(identity) for identity in watcher.current.resources}


def revision_of(watcher: Watcher) -> int:
    return watcher.current.revision if watcher.current else 0


async def test_nothing_is_published_before_the_store_was_read(store: CountingStore) -> None:
    watcher = Watcher(store)
    assert (watcher.current, watcher.revision, watcher.connected) == (None, 0, False)
    assert not watcher.caught_up.is_set()


async def test_what_is_there_is_published(watcher: Watcher, store: CountingStore) -> None:
    assert names(watcher) == {"service/orders"}
    assert watcher.current is not None and watcher.current.revision == watcher.revision == store.revision
    assert watcher.connected and not watcher.problems


async def test_many_entries_are_taken_in_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    store, turn, taken = CountingStore(), 0, Counter[int]()
    await put(store, *(service(f"s{number}") for number in range(3 * AT_ONCE)))
    take_in = Config.put

    def counted(self: Config, entry: Entry, found: Found | None = None) -> None:
        taken[turn] += 1
        take_in(self, entry, found)

    monkeypatch.setattr(Config, "put", counted)
    async with running(Watcher(store)) as watcher, asyncio.timeout(30):
        while watcher.current is None:
            turn += 1
            await asyncio.sleep(0)
    assert len(watcher.current.resources) == taken.total() == 3 * AT_ONCE
    assert max(taken.values()) <= AT_ONCE


async def test_changes_are_published_without_listing_again(watcher: Watcher, store: CountingStore) -> None:
    revision = await put(store, service("payments"))
    await eventually(lambda: names(watcher) == {"service/orders", "service/payments"})
    await store.commit({}, [Delete(key_of("service", "orders"))])
    await eventually(lambda: names(watcher) == {"service/payments"})
    assert watcher.revision == revision + 1
    assert store.lists == 1


async def test_every_publication_wakes_listeners(watcher: Watcher, store: CountingStore) -> None:
    woken = asyncio.Event()
    with watcher.changed.wakes(woken):
        await put(store, service("payments"))
        await within(woken.wait(), 30)


async def test_fifty_rapid_changes_are_few_snapshots(watcher: Watcher, store: CountingStore) -> None:
    before = watcher.published
    for number in range(50):
        revision = await put(store, service(f"s{number}"))
    await eventually(lambda: revision_of(watcher) == revision)
    assert len(names(watcher)) == 51
    assert watcher.published - before <= 25


async def test_the_watermark_moves_on_without_a_new_publication(
    watcher: Watcher, store: CountingStore
) -> None:
    before, digest = watcher.published, watcher.current and watcher.current.digest
    revision = await put(store, Scope(name="orders:read"))
    await eventually(lambda: revision_of(watcher) == revision)
    assert watcher.current is not None
    assert (watcher.published, watcher.current.digest) == (before, digest)


async def test_a_progress_mark_moves_the_watermark(watcher: Watcher, store: CountingStore) -> None:
    store.marks.put_nowait(Batch(watcher.revision + 40))
    await eventually(lambda: revision_of(watcher) == store.revision + 40)


async def test_keys_of_others_are_none_of_its_business(watcher: Watcher, store: CountingStore) -> None:
    await store.commit({}, [Put("/somebody/else", b"nonsense"), Put(f"{PREFIX}future/x", b"?")])
    revision = await put(store, service("payments"))
    await eventually(lambda: revision_of(watcher) == revision)
    assert names(watcher) == {"service/orders", "service/payments"}


# Nonsense in the store


async def test_nonsense_keeps_the_last_good_snapshot_and_shows(
    watcher: Watcher, store: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    good = watcher.current
    await store.commit({}, [Put(key_of("route", "orders"), b"{not json")])
    await eventually(lambda: watcher.problems)
    assert watcher.current is good
    assert [str(problem) for problem in watcher.problems] == ["route/orders: is not JSON"]
    assert watcher.refused == 1
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "configuration in the store cannot be published"
    ]


async def test_a_dangling_reference_keeps_the_last_good_snapshot(
    watcher: Watcher, store: CountingStore
) -> None:
    good = watcher.current
    await put(store, Route(name="pay", prefix="/pay", service_name="payments"))
    (problem,) = await eventually(lambda: watcher.problems)
    assert (problem.field, watcher.current) == ("route/pay.service_name", good)


async def test_mending_the_store_publishes_all_that_came_meanwhile(
    watcher: Watcher, store: CountingStore
) -> None:
    await store.commit({}, [Put(key_of("route", "orders"), b"{not json")])
    await eventually(lambda: watcher.problems)
    await put(store, service("payments"))
    revision = await store.commit({}, [Delete(key_of("route", "orders"))])
    await eventually(lambda: not watcher.problems)
    assert names(watcher) == {"service/orders", "service/payments"}
    assert watcher.current is not None and watcher.current.revision == revision


async def test_the_same_problem_is_told_once(
    watcher: Watcher, store: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.commit({}, [Put(key_of("route", "orders"), b"{not json")])
    await eventually(lambda: watcher.problems)
    for number in range(3):
        revision = await put(store, service(f"s{number}"))
        await eventually(lambda: watcher.revision == revision)  # noqa: B023
    await store.commit({}, [Delete(key_of("route", "orders"))])
    await eventually(lambda: not watcher.problems)
    assert watcher.refused == 1
    assert sum("cannot be published" in record.message for record in caplog.records) == 1


async def test_nonsense_at_the_start_is_shown_and_not_caught_up(store: CountingStore) -> None:
    await store.commit({}, [Put(key_of("route", "orders"), b"[]")])
    async with running(Watcher(store)) as watcher:
        await eventually(lambda: watcher.problems)
        assert (watcher.current, watcher.connected) == (None, True)
        assert not watcher.caught_up.is_set()
        await store.commit({}, [Delete(key_of("route", "orders"))])
        await within(watcher.caught_up.wait(), 30)


async def test_a_fault_of_ours_is_as_harmless_as_nonsense(
    watcher: Watcher, store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("with something secret in it")

    good = watcher.current
    with monkeypatch.context() as patch:
        patch.setattr(Config, "publish", broken)
        await put(store, service("payments"))
        (problem,) = await eventually(lambda: watcher.problems)
    assert watcher.current is good and "secret" not in str(problem)
    await put(store, service("carts"))
    await eventually(lambda: not watcher.problems)
    assert names(watcher) == {"service/orders", "service/payments", "service/carts"}


async def test_an_entry_that_sets_off_a_fault_of_ours_is_one_that_does_not_parse(
    watcher: Watcher, store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("with something secret in it")

    good = watcher.current
    with monkeypatch.context() as patch:
        patch.setattr("controlplane.model.config.decode", broken)
        await put(store, service("payments"))
        (problem,) = await eventually(lambda: watcher.problems)
    assert watcher.current is good and "secret" not in str(problem)
    await put(store, service("payments"))
    await eventually(lambda: not watcher.problems)


# Who asks for the configuration


async def test_a_view_is_as_late_as_asked_for(watcher: Watcher, store: CountingStore) -> None:
    asked = asyncio.create_task(watcher.view(store.revision + 1, 5))
    await asyncio.sleep(0)
    assert not asked.done()
    revision = await put(store, service("payments"))
    view = await asked
    assert view is not None and view.revision(("service", "payments")) == revision


async def test_no_view_of_what_is_not_known_in_time(watcher: Watcher, store: CountingStore) -> None:
    assert await watcher.view(store.revision + 1, 0) is None
    assert await Watcher(store).view(0, 5) is None


async def test_a_change_that_is_not_all_there_is_neither_published_nor_viewed(
    watcher: Watcher, store: CountingStore
) -> None:
    good = watcher.current
    record = f"{COMMITS}x"
    await store.commit({}, [Put(record, b"{}")])
    revision = await put(store, service("payments"))
    await eventually(lambda: watcher.revision == revision)
    assert await watcher.view(revision, 0) is None
    assert watcher.current is good and watcher.decided == {record}
    revision = await store.commit({}, [Delete(record)])
    await eventually(lambda: revision_of(watcher) == revision)
    assert names(watcher) == {"service/orders", "service/payments"}


# The store away


async def test_an_outage_keeps_the_snapshot_and_is_caught_up_with(
    watcher: Watcher, store: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good = watcher.current
    store.available = False
    await eventually(lambda: not watcher.connected)
    probes = store.probes
    await eventually(lambda: store.probes >= probes + 3)
    assert watcher.current is good and not watcher.problems
    store.available = True
    await eventually(lambda: watcher.connected)
    await put(store, service("payments"))
    await eventually(lambda: "service/payments" in names(watcher))
    told = [record.message for record in caplog.records if "store" in record.message]
    assert told == ["store lost", "store answers"]


async def test_a_store_that_is_away_at_the_start_is_waited_for(
    store: CountingStore, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, service("orders"))
    store.available = False
    async with running(Watcher(store, retry=(0.01, 0.02), probe=0.02)) as watcher:
        await eventually(lambda: store.lists >= 4)
        assert not watcher.caught_up.is_set()
        store.available = True
        await within(watcher.caught_up.wait(), 30)
    assert sum(record.message == "store lost" for record in caplog.records) == 1


async def test_a_broken_watch_is_begun_again(watcher: Watcher, store: CountingStore) -> None:
    store.marks.put_nowait(StoreUnavailable("the watch broke"))
    await eventually(lambda: store.watches == 2)
    await put(store, service("payments"))
    await eventually(lambda: "service/payments" in names(watcher))


async def test_compaction_lists_anew_and_equal_data_is_no_change(
    watcher: Watcher, store: CountingStore
) -> None:
    published = watcher.published
    # The change and the compaction come while the watch cannot see them.
    store.available = False
    store._apply([Put(key_of("scope", "orders:read"), encode(Scope(name="orders:read")))])
    store.compact(store.revision)
    store.available = True
    await eventually(lambda: store.lists == 2 and revision_of(watcher) == store.revision)
    assert watcher.published == published


async def test_deletes_hidden_by_a_compaction_are_seen(watcher: Watcher, store: CountingStore) -> None:
    await put(store, service("payments"))
    await eventually(lambda: "service/payments" in names(watcher))
    store.available = False
    store._apply([Delete(key_of("service", "orders"))])
    store.compact(store.revision)
    store.available = True
    await eventually(lambda: names(watcher) == {"service/payments"})


async def test_a_store_that_went_back_is_not_believed(watcher: Watcher, store: CountingStore) -> None:
    good = watcher.current
    store._entries.clear()
    store._revision = 1
    store.marks.put_nowait(StoreUnavailable("the watch broke"))
    (problem,) = await eventually(lambda: watcher.problems)
    assert "the store went back from revision 2 to 1" in str(problem)
    assert watcher.current is good
    # Put right: the history is there again, and goes on.
    store._revision = 2
    await put(store, service("orders"))
    await eventually(lambda: revision_of(watcher) == 3)
    assert not watcher.problems


async def test_run_ends_when_cancelled(store: CountingStore) -> None:
    watcher = Watcher(store)
    task = asyncio.create_task(watcher.run())
    await within(watcher.caught_up.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task, 30)


async def test_a_full_store_is_noticed_and_is_not_lost(watcher: Watcher, store: CountingStore) -> None:
    store.is_full = True
    await eventually(lambda: watcher.full)
    assert watcher.connected and not watcher.problems
    store.is_full = False
    await eventually(lambda: not watcher.full)
