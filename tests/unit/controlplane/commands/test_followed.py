"""Commands that read the configuration from a watcher instead of listing the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.errors import NotFound
from controlplane.commands.executor import read_configuration
from controlplane.distribute.watcher import Watcher
from controlplane.model.config import View
from controlplane.model.resources import Scope
from controlplane.model.stored import PREFIX, Stamped, encode, key_of
from controlplane.store import Entry, Listing, MemoryStore, Put
from tests.support.waiting import eventually
from tests.unit.controlplane.commands.raced_store import (
    NOW,
    ROUTE,
    SCOPE,
    SERVICE,
    CountingHasher,
    RacedStore,
    elsewhere,
)


@asynccontextmanager
async def followed(store: MemoryStore) -> AsyncIterator[tuple[Commands, Watcher]]:
    """Commands that read what a watcher has."""
    watcher = Watcher(store, retry=(0.01, 0.05))
    task = asyncio.create_task(watcher.run())
    await eventually(watcher.caught_up.is_set)
    try:
        yield Commands(store, CountingHasher(), lambda: NOW, watcher), watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class ListingStore(RacedStore):
    """Counts how often everything is read, and single keys."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = 0
        self.asked: list[str] = []

    async def get(self, key: str) -> Entry | None:
        self.asked.append(key)
        return await super().get(key)

    async def list(self, prefix: str) -> Listing:
        self.listed += prefix == PREFIX
        return await super().list(prefix)


async def test_commands_do_not_list_a_store_that_is_followed() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        for number in range(5):
            await commands.create("scope", {"name": f"s{number}"}, author="me")
        await commands.delete("scope", "s0", author="me")
        assert [one.resource.name for one in await commands.list("scope")] == ["s1", "s2", "s3", "s4"]
    assert store.listed == 1


async def test_a_change_of_one_resource_is_one_question_to_the_store() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await commands.create("scope", {"name": "first"}, author="me")
        store.asked.clear()
        store.commits = 0
        for number in range(5):
            await commands.create("scope", {"name": f"s{number}"}, author="me")
        await commands.delete("scope", "s0", author="me")
        assert (store.asked, store.commits) == ([], 6)
        assert len(await commands.changes(list)) == 7


class Behind:
    """A follower who does not know yet what others have changed, unless he is told that there is something."""

    def __init__(self, store: MemoryStore, known: View) -> None:
        self._store, self._known = store, known

    def registration(self, name: str) -> Stamped | None:
        return None

    async def view(self, after: int, within: float) -> View | None:
        return self._known if after <= self._known.change else await read_configuration(self._store)


async def test_a_change_of_another_writer_a_moment_ago_counts() -> None:
    store = ListingStore()
    await elsewhere(store).apply({"scopes": [SCOPE]}, author="other")
    follower = Behind(store, await read_configuration(store))
    commands = Commands(store, CountingHasher(), lambda: NOW, follower)
    newer = {**SCOPE, "description": "new"}
    other = await elsewhere(store).put("scope", newer, author="other")
    # To him who is behind it is as it was, and nothing would have to be written.
    back = await commands.put("scope", SCOPE, author="me")
    assert back.revision == store.revision > other.revision
    # And this is not refused for being there, for it is not any more.
    await elsewhere(store).delete("scope", SCOPE["name"], author="other")
    assert (await commands.create("scope", SCOPE, author="me")).revision == store.revision


async def test_a_change_that_the_follower_never_sees_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a restored store, whose revisions are lower."""
    monkeypatch.setattr("controlplane.commands.executor.CACHED_WITHIN", 0.01)
    store = MemoryStore(clock=lambda: 0.0)
    waited: list[int] = []

    class Lost:
        def registration(self, name: str) -> Stamped | None:
            return None

        async def view(self, after: int, within: float) -> View | None:
            waited.append(after)
            return None if after > 1000 else await read_configuration(store)

    commands = Commands(store, CountingHasher(), lambda: NOW, Lost())
    commands.executor._latest = 5000
    await commands.put("scope", SCOPE, author="me")
    await commands.put("scope", {**SCOPE, "description": "new"}, author="me")
    assert [after for after in waited if after > 1000] == [5000]


async def test_what_another_control_plane_wrote_is_seen_before_it_is_judged() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await elsewhere(store).apply({"services": [SERVICE], "scopes": [SCOPE]}, author="other")
        # Not refused for what the watcher has not seen yet.
        await commands.apply({"routes": [ROUTE]}, author="me")
        await elsewhere(store).delete("route", "orders", author="other")
        with pytest.raises(NotFound):
            await commands.delete("route", "orders", author="me")
    assert store.listed == 1 + 2  # the watcher's own, and those of the other one


async def test_what_was_written_by_hand_is_met_and_then_read() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await commands.apply({"scopes": [SCOPE]}, author="me")

        async def by_hand() -> None:
            await MemoryStore.commit(
                store, {}, [Put(key_of("scope", "orders:read"), encode(Scope(name="orders:read")))]
            )

        store.rivals = [by_hand]
        changed = await commands.put("scope", {**SCOPE, "description": "new"}, author="me")
        assert changed.revision == store.revision


async def test_a_follower_that_fell_silent_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controlplane.commands.executor.SEEN_WITHIN", 0.01)
    store = ListingStore()
    async with followed(store) as (commands, watcher):
        watcher._advance = lambda revision: None  # type: ignore[method-assign]
        await elsewhere(store).apply({"scopes": [SCOPE]}, author="other")
        await commands.put("scope", {**SCOPE, "description": "new"}, author="me")


async def test_many_at_once_take_turns() -> None:
    store = ListingStore()
    async with followed(store) as (commands, _):
        await asyncio.gather(
            *(commands.create("scope", {"name": f"s{number}"}, author="me") for number in range(50))
        )
        assert len(await commands.list("scope")) == 50
    assert store.commits == 50
