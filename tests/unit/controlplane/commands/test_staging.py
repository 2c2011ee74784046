"""Changes in several transactions: all or nothing, whichever process dies or writes meanwhile, and nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.staging import (
    PART_BYTES,
    PART_WRITES,
    Sweeper,
    discard,
    finish,
    parts,
    write_staged,
)
from controlplane.identity import Hasher
from controlplane.model.config import Config
from controlplane.model.stored import CHANGE, COMMITS, PREFIX, QUARANTINE, STAGED, key_of
from controlplane.store import Conflict, Listing, MemoryStore, Put, StoreUnavailable, Write

MANY = 3 * PART_WRITES + 1
SCOPES = {"scopes": [{"name": f"s{number:03}"} for number in range(MANY)]}
PUTS = [
    Put(key_of("scope", f"s{number:03}"), b'{"name": "s%03d", "description": "\xc3\xa4"}' % number)
    for number in range(MANY)
]


class Dying(MemoryStore):
    """A store whose client dies before its n-th transaction; others may look in before each."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__(clock=lambda: 0.0)
        self.dies_at = dies_at
        self.commits = 0
        self.before: Callable[[], Awaitable[None]] | None = None

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        if self.before is not None:
            await self.before()
        if self.commits == self.dies_at:
            raise asyncio.CancelledError
        self.commits += 1
        return await super().commit(expected, writes)


class Failing(MemoryStore):
    """A store that answers no more from its n-th transaction on."""

    def __init__(self, fails_at: int | None) -> None:
        super().__init__(clock=lambda: 0.0)
        self.fails_at = fails_at
        self.commits = 0

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        if self.fails_at is not None and self.commits >= self.fails_at:
            raise StoreUnavailable("the store does not answer")
        self.commits += 1
        return await super().commit(expected, writes)


class Shown:
    """What is staged and decided, as of the last look."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._config = Config()

    async def look(self) -> None:
        self._config = Config((await self._store.list(PREFIX)).entries)

    @property
    def staged(self) -> frozenset[str]:
        return self._config.staged

    @property
    def decided(self) -> frozenset[str]:
        return self._config.decided


def commands_on(store: MemoryStore) -> Commands:
    return Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)


async def keys(store: MemoryStore) -> list[str]:
    return [entry.key for entry in (await store.list(PREFIX)).entries]


async def swept(store: MemoryStore) -> None:
    """What another control plane's sweeper makes of the store in three looks."""
    shown = Shown(store)
    looks = 0

    async def look(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks > 3:
            raise StopAsyncIteration
        await shown.look()

    with pytest.raises(StopAsyncIteration):
        await Sweeper(store, shown, look).run()


async def test_a_big_change_is_one_change() -> None:
    store = MemoryStore(clock=lambda: 0.0)
    receipt = await commands_on(store).apply(SCOPES, author="me")
    assert len(receipt.changes) == MANY
    assert not receipt.unfinished
    assert [record.revision for record in await commands_on(store).changes(list)] == [receipt.revision]
    assert await keys(store) == [CHANGE, *(key_of("scope", f"s{number:03}") for number in range(MANY))]
    again = await commands_on(store).apply(SCOPES, author="me")
    assert {change.action for change in again.changes} == {"unchanged"}


async def test_values_arrive_as_they_were() -> None:
    store = MemoryStore(clock=lambda: 0.0)
    await write_staged(store, {CHANGE: 0}, [Put(CHANGE, b"{}")], PUTS)
    listing = await store.list(key_of("scope", ""))
    assert [(entry.key, entry.value) for entry in listing.entries] == [(put.key, put.value) for put in PUTS]


async def test_readers_see_none_of_it_or_all() -> None:
    store = Dying()
    seen: set[int] = set()

    async def look() -> None:
        config = Config((await store.list(PREFIX)).entries)
        if not config.decided:
            seen.add(len(config.view().resources))

    store.before = look
    await commands_on(store).apply(SCOPES, author="me")
    await look()
    assert seen == {0, MANY}


@pytest.mark.parametrize("dies_at", range(11))
async def test_whenever_its_writer_dies_the_sweeper_makes_it_all_or_nothing(dies_at: int) -> None:
    store = Dying(dies_at)
    with pytest.raises(asyncio.CancelledError):
        await write_staged(store, {CHANGE: 0}, [Put(CHANGE, b"{}")], PUTS)
    store.dies_at = None
    store.advance(60.0)
    await swept(store)
    # One transaction for the writer's mark, four parts, the decision; then it is made.
    expected = [CHANGE, *(put.key for put in PUTS)] if dies_at > 5 else []
    assert await keys(store) == expected


async def test_the_sweeper_leaves_a_living_writer_alone() -> None:
    store = MemoryStore(clock=lambda: 0.0)
    lease = await store.grant(60)
    await store.commit({}, [Put(f"{STAGED}x/writer", b"", lease), Put(f"{STAGED}x/00000", b"{}")])
    await swept(store)
    assert len(await keys(store)) == 2


async def test_any_number_may_finish_at_once() -> None:
    store = Dying(dies_at=6)
    with pytest.raises(asyncio.CancelledError):
        await write_staged(store, {CHANGE: 0}, [Put(CHANGE, b"{}")], PUTS)
    store.dies_at = None
    (record,) = Config((await store.list(PREFIX)).entries).decided
    name = record.removeprefix(COMMITS)
    await asyncio.gather(*(finish(store, name) for _ in range(3)))
    assert await keys(store) == [CHANGE, *(put.key for put in PUTS)]
    # One that wakes up late has nothing to write over what came after.
    last = await store.commit({}, [Put(PUTS[0].key, b"newer")])
    await finish(store, name)
    found = await store.get(PUTS[0].key)
    assert found is not None and (found.value, store.revision) == (b"newer", last)


async def test_what_is_decided_cannot_be_discarded() -> None:
    store = Dying(dies_at=6)
    with pytest.raises(asyncio.CancelledError):
        await write_staged(store, {CHANGE: 0}, [Put(CHANGE, b"{}")], PUTS)
    store.dies_at = None
    (record,) = Config((await store.list(PREFIX)).entries).decided
    before = store.revision
    await discard(store, record.removeprefix(COMMITS))
    assert store.revision == before


async def test_what_is_discarded_cannot_be_decided() -> None:
    """The writer was paused for so long that it was taken for dead."""
    store = Dying()

    async def look() -> None:
        if store.commits == 3:
            store.before = None
            store.advance(61.0)
            await swept(store)

    store.before = look
    with pytest.raises(Conflict):
        await write_staged(store, {CHANGE: 0}, [Put(CHANGE, b"{}")], PUTS)
    assert await keys(store) == []


async def test_another_change_in_between_is_seen_and_the_big_one_tried_again() -> None:
    store = Dying()
    rivals = [{"scopes": [{"name": "rival"}]}]

    async def look() -> None:
        if store.commits == 3 and rivals:
            store.before = None
            await commands_on(store).apply(rivals.pop(), author="rival")

    store.before = look
    await commands_on(store).apply(SCOPES, author="me")
    assert len(await keys(store)) == MANY + 2


async def test_a_command_finishes_what_it_finds_decided() -> None:
    store = Dying(dies_at=7)
    with pytest.raises(asyncio.CancelledError):
        await write_staged(store, {CHANGE: 0}, [Put(CHANGE, b"{}")], PUTS)
    store.dies_at = None
    # The scope is in a part that was not moved: only who has finished can know it.
    name = PUTS[-1].key.rpartition("/")[2]
    with pytest.raises(Exception, match="exists already"):
        await commands_on(store).create("scope", {"name": name}, author="me")


async def test_a_store_that_fails_at_the_decision_leaves_it_open() -> None:
    """The answer was lost: it may be decided, so that nothing is discarded."""
    store = MemoryStore(clock=lambda: 0.0)
    commit, failing = store.commit, 5

    async def losing(expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        nonlocal failing
        revision = await commit(expected, writes)
        failing -= 1
        if failing < 0:
            raise StoreUnavailable("the answer was lost", unknown_outcome=True)
        return revision

    store.commit = losing  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await write_staged(store, {CHANGE: 0}, [Put(CHANGE, b"{}")], PUTS)
    store.commit = commit  # type: ignore[method-assign]
    await swept(store)
    assert await keys(store) == [CHANGE, *(put.key for put in PUTS)]


@pytest.mark.parametrize("fails_at", range(6, 11))
async def test_once_it_is_decided_a_store_that_fails_does_not_undo_it(fails_at: int) -> None:
    store = Failing(fails_at)
    receipt = await commands_on(store).apply(SCOPES, author="me")
    assert receipt.unfinished
    assert len(receipt.changes) == MANY
    store.fails_at = None
    await swept(store)
    assert len(await keys(store)) == MANY + 1
    (record,) = await commands_on(store).changes(list)
    assert record.revision == receipt.revision


async def test_a_store_that_fails_before_the_decision_leaves_nothing() -> None:
    store = Failing(fails_at=3)
    with pytest.raises(StoreUnavailable):
        await commands_on(store).apply(SCOPES, author="me")
    store.fails_at = None
    store.advance(61.0)
    await swept(store)
    assert await keys(store) == []
    assert await commands_on(store).changes(list) == []


# What lies in the store may be anything

DAMAGED = [
    b"",
    b"not JSON",
    b"\xff\xfe",
    b"[]",
    b"null",
    b'{"": {}}',
    b'{"/elsewhere": {}}',
    b'{"/headgate/v1/staged/x/00001": {}}',
    b"[" * 100_000,
    json.dumps({key_of("scope", f"t{number}"): {} for number in range(200)}).encode(),
]


@pytest.mark.parametrize("value", DAMAGED, ids=range(len(DAMAGED)))
async def test_a_damaged_part_is_put_aside_and_the_rest_arrives(
    value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(clock=lambda: 0.0)
    good, bad = f"{STAGED}x/00000", f"{STAGED}x/00001"
    part = json.dumps({key_of("scope", "a"): {"name": "a"}}).encode()
    await store.commit({}, [Put(COMMITS + "x", b"{}"), Put(good, part), Put(bad, value)])
    await swept(store)
    assert await keys(store) == [key_of("scope", "a")]
    kept = await store.get(f"{QUARANTINE}x/00001")
    assert kept is not None and kept.value == value
    assert [vars(record)["key"] for record in caplog.records if "damaged" in record.message] == [bad]


async def test_a_damaged_part_does_not_keep_commands_from_working() -> None:
    store = MemoryStore(clock=lambda: 0.0)
    await store.commit({}, [Put(COMMITS + "x", b"{}"), Put(f"{STAGED}x/00000", b"nonsense")])
    await commands_on(store).create("scope", {"name": "a"}, author="me")
    assert await keys(store) == [CHANGE, key_of("scope", "a")]


async def test_the_sweeper_outlives_whatever_fails() -> None:
    store = MemoryStore(clock=lambda: 0.0)
    await store.commit({}, [Put(COMMITS + "x", b"{}"), Put(COMMITS + "y", b"{}")])
    listed = store.list

    async def list_but_x(prefix: str) -> Listing:
        if prefix == f"{STAGED}x/":
            raise ZeroDivisionError
        return await listed(prefix)

    store.list = list_but_x  # type: ignore[method-assign]
    await swept(store)
    assert await keys(store) == [COMMITS + "x"]


def test_parts_fit_into_transactions() -> None:
    small = [Put(f"k{number}", b"x") for number in range(2 * PART_WRITES + 3)]
    assert [len(part) for part in parts(small)] == [PART_WRITES, PART_WRITES, 3]
    big = [Put(f"k{number}", b"x" * (PART_BYTES // 2)) for number in range(3)]
    assert [len(part) for part in parts(big)] == [1, 1, 1]
    assert [len(part) for part in parts([Put("k", b"x" * 2 * PART_BYTES)])] == [1]
    assert list(parts([])) == []
