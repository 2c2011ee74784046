"""What every store promises: one script, played on the fake in memory and on a real etcd."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from controlplane.store import (
    Batch,
    Compacted,
    Conflict,
    Delete,
    Entry,
    EtcdStore,
    LeaseGone,
    MemoryStore,
    Put,
    Store,
    StoreUnavailable,
    TooLarge,
    Write,
)
from tests.support.etcd import Etcd


@dataclass
class World:
    """A store, keys that no other test uses, and the two things a store does not do by itself."""

    store: Store
    etcd: Etcd | None
    prefix: str = field(default_factory=lambda: f"/test/{uuid.uuid4()}/")

    def key(self, name: str) -> str:
        return self.prefix + name

    async def put(self, *names: str, value: bytes = b"") -> int:
        return await self.store.commit({}, [Put(self.key(name), value or name.encode()) for name in names])

    def compact(self, revision: int) -> None:
        if self.etcd is not None:
            self.etcd.compact(revision)
        else:
            assert isinstance(self.store, MemoryStore)
            self.store.compact(revision)

    def let_time_pass(self, seconds: float) -> None:
        """In memory at once; with etcd the test waits for what time brings."""
        if isinstance(self.store, MemoryStore):
            self.store.advance(seconds)


@pytest.fixture(params=["memory", "etcd"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        world = World(MemoryStore(clock=lambda: 0.0), None)
    else:
        etcd: Etcd = request.getfixturevalue("etcd")
        world = World(EtcdStore(etcd.settings(timeout=10.0)), etcd)
    yield world
    await world.store.close()


async def batches(world: World, after: int, count: int, within: float = 30.0) -> list[Batch]:
    """The next `count` batches with changes in them."""
    found: list[Batch] = []
    async with asyncio.timeout(within), aclosing(world.store.watch(world.prefix, after)) as watch:
        async for batch in watch:
            if batch.puts or batch.deletes:
                found.append(batch)
            if len(found) == count:
                break
    return found


def names(world: World, batch: Batch) -> tuple[list[str], list[str]]:
    """Names put and names deleted."""
    puts = [entry.key.removeprefix(world.prefix) for entry in batch.puts]
    return puts, [key.removeprefix(world.prefix) for key in batch.deletes]


class TestTransactions:
    async def test_what_was_put_is_there(self, world: World) -> None:
        assert await world.store.get(world.key("a")) is None
        revision = await world.put("a", value=b"\x00\xff")
        assert await world.store.get(world.key("a")) == Entry(world.key("a"), b"\x00\xff", revision)

    async def test_an_entry_carries_the_revision_of_its_creation(self, world: World) -> None:
        first = await world.put("a")
        second = await world.put("a")
        found = await world.store.get(world.key("a"))
        assert found is not None and (found.created, found.revision) == (first, second)
        await world.store.commit({}, [Delete(world.key("a"))])
        third = await world.put("a")
        found = await world.store.get(world.key("a"))
        assert found is not None and found.created == third

    async def test_an_entry_carries_the_revision_of_its_own_last_change(self, world: World) -> None:
        first = await world.put("a")
        await world.put("b")
        entry = await world.store.get(world.key("a"))
        assert entry is not None
        assert entry.revision == first

    async def test_an_empty_value_and_letters_of_all_kinds(self, world: World) -> None:
        await world.store.commit({}, [Put(world.key("größe/日本"), b"")])
        entry = await world.store.get(world.key("größe/日本"))
        assert entry is not None
        assert entry.value == b""

    async def test_zero_expects_absence(self, world: World) -> None:
        await world.store.commit({world.key("a"): 0}, [Put(world.key("a"), b"1")])
        with pytest.raises(Conflict) as conflict:
            await world.store.commit({world.key("a"): 0}, [Put(world.key("a"), b"2")])
        assert conflict.value.keys == (world.key("a"),)
        entry = await world.store.get(world.key("a"))
        assert entry is not None
        assert entry.value == b"1"

    async def test_a_conflict_names_the_keys_and_writes_nothing(self, world: World) -> None:
        right = await world.put("right")
        wrong = await world.put("wrong")
        await world.put("wrong")
        expected = {world.key("right"): right, world.key("wrong"): wrong, world.key("absent"): 5}
        with pytest.raises(Conflict) as conflict:
            await world.store.commit(expected, [Put(world.key("new"), b""), Delete(world.key("right"))])
        assert set(conflict.value.keys) == {world.key("wrong"), world.key("absent")}
        assert await world.store.get(world.key("new")) is None
        assert await world.store.get(world.key("right")) is not None

    async def test_all_writes_happen_at_one_revision(self, world: World) -> None:
        await world.put("old")
        revision = await world.store.commit(
            {}, [Put(world.key("a"), b""), Put(world.key("b"), b""), Delete(world.key("old"))]
        )
        listing = await world.store.list(world.prefix)
        assert [(entry.key, entry.revision) for entry in listing.entries] == [
            (world.key("a"), revision),
            (world.key("b"), revision),
        ]

    async def test_what_changes_nothing_makes_no_revision(self, world: World) -> None:
        revision = await world.put("a")
        assert await world.store.commit({}, [Delete(world.key("absent"))]) == revision
        assert await world.store.commit({world.key("a"): revision}, []) == revision
        with pytest.raises(Conflict):
            await world.store.commit({world.key("a"): 0}, [])

    async def test_a_deleted_key_may_come_back(self, world: World) -> None:
        first = await world.put("a")
        await world.store.commit({world.key("a"): first}, [Delete(world.key("a"))])
        second = await world.store.commit({world.key("a"): 0}, [Put(world.key("a"), b"")])
        assert second > first

    async def test_concurrent_writers_lose_no_update(self, world: World) -> None:
        async def increment() -> None:
            while True:
                entry = await world.store.get(world.key("n"))
                value, revision = (int(entry.value), entry.revision) if entry else (0, 0)
                try:
                    put = Put(world.key("n"), str(value + 1).encode())
                    await world.store.commit({world.key("n"): revision}, [put])
                except Conflict:
                    continue
                return

        await asyncio.gather(*(increment() for _ in range(8)))
        entry = await world.store.get(world.key("n"))
        assert entry is not None
        assert entry.value == b"8"


class TestLimits:
    async def test_128_operations_fit(self, world: World) -> None:
        await world.put(*(str(number) for number in range(128)))
        assert len((await world.store.list(world.prefix)).entries) == 128

    async def test_129_writes_do_not(self, world: World) -> None:
        with pytest.raises(TooLarge, match="129 writes"):
            await world.put(*(str(number) for number in range(129)))
        assert (await world.store.list(world.prefix)).entries == ()

    async def test_nor_do_129_expectations(self, world: World) -> None:
        with pytest.raises(TooLarge, match="129 expected"):
            await world.store.commit({world.key(str(number)): 0 for number in range(129)}, [])

    async def test_nor_one_and_a_half_mebibytes(self, world: World) -> None:
        with pytest.raises(TooLarge, match="bytes"):
            await world.put("a", value=bytes(1_572_864))
        await world.put("a", value=bytes(1_560_000))

    @pytest.mark.parametrize(
        "writes",
        [[Put("", b"")], [Delete("")], [Put("/a", b""), Delete("/a")], [Put("/a", b""), Put("/a", b"")]],
    )
    async def test_nonsense_is_refused_before_it_is_sent(self, world: World, writes: list[Write]) -> None:
        with pytest.raises(ValueError, match="must not"):
            await world.store.commit({}, writes)

    async def test_an_empty_key_cannot_be_expected(self, world: World) -> None:
        with pytest.raises(ValueError, match="must not be empty"):
            await world.store.commit({"": 0}, [])


class TestListing:
    async def test_nothing(self, world: World) -> None:
        revision = await world.put("a")
        listing = await world.store.list(world.key("b"))
        assert listing.entries == ()
        assert listing.revision >= revision

    async def test_only_the_prefix_and_sorted(self, world: World) -> None:
        await world.put("b/2", "b/1", "a/1", "bb", "b")
        listing = await world.store.list(world.key("b/"))
        assert [entry.key for entry in listing.entries] == [world.key("b/1"), world.key("b/2")]

    async def test_many_more_than_a_page(self, world: World) -> None:
        for hundred in range(13):
            revision = await world.put(*(f"{hundred:02}/{number:03}" for number in range(100)))
        listing = await world.store.list(world.prefix)
        assert listing.revision == revision
        keys = [entry.key for entry in listing.entries]
        assert len(keys) == 1300
        assert keys == sorted(set(keys))


class TestWatching:
    async def test_history_first_and_then_what_happens(self, world: World) -> None:
        start = await world.put("before")
        await world.put("a")
        async with asyncio.timeout(30), aclosing(world.store.watch(world.prefix, start)) as watch:
            assert names(world, await anext(watch)) == (["a"], [])
            revision = await world.put("b")
            batch = await anext(watch)
        assert batch == Batch(revision, (Entry(world.key("b"), b"b", revision),))

    async def test_every_revision_is_one_batch(self, world: World) -> None:
        start = await world.put("a")
        await world.put("a")
        await world.store.commit(
            {}, [Delete(world.key("a")), Put(world.key("b"), b""), Put(world.key("c"), b"")]
        )
        last = await world.put("a")
        found = await batches(world, start, 3)
        assert [names(world, batch) for batch in found] == [(["a"], []), (["b", "c"], ["a"]), (["a"], [])]
        assert [batch.revision for batch in found] == [last - 2, last - 1, last]

    async def test_other_prefixes_are_not_seen(self, world: World) -> None:
        start = await world.put("a")
        await world.store.commit({}, [Put(world.prefix[:-1] + "0", b""), Put(world.prefix[:-1], b"")])
        await world.put("b")
        (batch,) = await batches(world, start, 1)
        assert names(world, batch) == (["b"], [])

    async def test_several_watch_the_same(self, world: World) -> None:
        start = await world.put("a")
        watching = [asyncio.create_task(batches(world, start, 5)) for _ in range(3)]
        for number in range(5):
            await world.put(str(number))
        one, two, three = await asyncio.gather(*watching)
        assert one == two == three

    async def test_a_burst_arrives_whole_and_in_order(self, world: World) -> None:
        start = await world.put("a")
        watching = asyncio.create_task(batches(world, start, 300))
        for number in range(300):
            await world.put("n", value=str(number).encode())
        found = await watching
        assert [int(batch.puts[0].value) for batch in found] == list(range(300))

    async def test_a_slow_reader_loses_nothing(self, world: World) -> None:
        start = await world.put("a")
        async with asyncio.timeout(30), aclosing(world.store.watch(world.prefix, start)) as watch:
            await world.put("first")
            found = [await anext(watch)]
            for number in range(100):
                await world.put(str(number))
            found += [await anext(watch) for _ in range(100)]
        assert [names(world, batch)[0][0] for batch in found] == ["first", *map(str, range(100))]

    async def test_from_the_compacted_revision_all_is_well(self, world: World) -> None:
        start = await world.put("a")
        await world.put("b")
        world.compact(start)
        (batch,) = await batches(world, start, 1)
        assert names(world, batch) == (["b"], [])

    async def test_before_it_history_is_gone(self, world: World) -> None:
        start = await world.put("a")
        compacted = await world.store.commit({}, [Delete(world.key("a"))])
        await world.put("b")
        world.compact(compacted)
        # etcd 3.5.1 would watch from the compacted revision on, without the deletion that it was.
        with pytest.raises(Compacted):
            await batches(world, start, 1)
        with pytest.raises(Compacted):
            await batches(world, start - 1, 1)

    async def test_a_revision_yet_to_come_means_that_the_store_went_back(self, world: World) -> None:
        revision = await world.put("a")
        with pytest.raises(Compacted):
            await batches(world, revision + 1000, 1)


class TestLeases:
    async def test_keys_go_with_their_lease_in_one_revision(self, world: World) -> None:
        lease = await world.store.grant(1)
        start = await world.store.commit({}, [Put(world.key(name), b"", lease) for name in ("a", "b")])
        entry = await world.store.get(world.key("a"))
        assert entry is not None
        assert entry.lease == lease
        world.let_time_pass(1)
        (batch,) = await batches(world, start, 1)
        assert sorted(names(world, batch)[1]) == ["a", "b"]
        with pytest.raises(LeaseGone):
            await world.store.keep_alive(lease)

    async def test_a_lease_that_is_renewed_stays(self, world: World) -> None:
        lease = await world.store.grant(30)
        await world.store.commit({}, [Put(world.key("a"), b"", lease)])
        world.let_time_pass(20)
        assert await world.store.keep_alive(lease) == pytest.approx(30, abs=1)
        world.let_time_pass(20)
        assert await world.store.get(world.key("a")) is not None
        await world.store.revoke(lease)

    async def test_many_leases_are_renewed_each_with_an_outcome_of_its_own(self, world: World) -> None:
        stays, gone = await world.store.grant(30), await world.store.grant(30)
        await world.store.revoke(gone)
        outcomes = await world.store.keep_alive_all([stays, gone])
        assert outcomes[stays] == pytest.approx(30, abs=1)
        assert isinstance(outcomes[gone], LeaseGone)
        assert await world.store.keep_alive_all([]) == {}

    async def test_a_revoked_lease_takes_its_keys_along(self, world: World) -> None:
        lease = await world.store.grant(30)
        start = await world.store.commit({}, [Put(world.key("a"), b"", lease), Put(world.key("b"), b"")])
        await world.store.revoke(lease)
        (batch,) = await batches(world, start, 1)
        assert names(world, batch) == ([], ["a"])
        await world.store.revoke(lease)  # gone already: what was wished for holds

    async def test_a_lease_that_is_gone_holds_nothing(self, world: World) -> None:
        lease = await world.store.grant(30)
        await world.store.revoke(lease)
        with pytest.raises(LeaseGone) as gone:
            await world.store.commit({}, [Put(world.key("b"), b""), Put(world.key("a"), b"", lease)])
        assert gone.value.lease == lease
        assert await world.store.get(world.key("b")) is None

    async def test_a_key_put_without_it_leaves_its_lease(self, world: World) -> None:
        lease = await world.store.grant(30)
        await world.store.commit({}, [Put(world.key("a"), b"", lease)])
        await world.put("a")
        await world.store.revoke(lease)
        assert await world.store.get(world.key("a")) is not None


class TestEnd:
    async def test_it_answers_until_it_is_closed(self, world: World) -> None:
        await world.store.status()
        assert not await world.store.full()
        await world.store.close()
        with pytest.raises(StoreUnavailable):
            await world.store.status()
        with pytest.raises(StoreUnavailable):
            await world.put("a")

    async def test_a_watch_ends_with_it(self, world: World) -> None:
        start = await world.put("a")
        watching = asyncio.create_task(batches(world, start, 2))
        await world.put("b")
        await asyncio.sleep(0)
        await world.store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await watching
