"""Writers at the same time: a command that lost is planned again, on what is there now."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.commands.commands import Commands
from controlplane.model.stored import CHANGE
from controlplane.store import Conflict, MemoryStore, Put
from tests.unit.controlplane.commands.raced_store import (
    DOCUMENT,
    ROUTE,
    SCOPE,
    SERVICE,
    RacedStore,
    elsewhere,
    refused,
)


async def test_writers_at_the_same_time_all_succeed(commands: Commands) -> None:
    names = [f"s{number:02}" for number in range(30)]
    await asyncio.gather(*(commands.create("scope", {"name": name}, author=name) for name in names))
    assert [stamped.resource.name for stamped in await commands.list("scope")] == names


async def test_a_scope_that_is_deleted_meanwhile_is_missed(store: RacedStore, commands: Commands) -> None:
    await commands.apply({"services": [SERVICE], "scopes": [SCOPE]}, author="me")
    store.rivals = [lambda: elsewhere(store).delete("scope", "orders:read", author="rival")]
    assert await refused(commands.apply({"routes": [ROUTE]}, author="me")) == [
        "routes[0].scopes[0]: scope 'orders:read' does not exist"
    ]


async def test_a_scope_that_is_needed_meanwhile_is_not_deleted(store: RacedStore, commands: Commands) -> None:
    await commands.apply({"services": [SERVICE], "scopes": [SCOPE]}, author="me")
    store.rivals = [lambda: elsewhere(store).apply({"routes": [ROUTE]}, author="rival")]
    assert await refused(commands.delete("scope", "orders:read", author="me")) == [
        "scope 'orders:read' is needed by route 'orders'"
    ]


async def test_trying_again_ends(store: RacedStore, commands: Commands) -> None:
    async def rival() -> None:
        await MemoryStore.commit(store, {}, [Put(CHANGE, b"{}")])

    store.rivals = [rival] * 100
    with pytest.raises(Conflict):
        await commands.apply(DOCUMENT, author="me")
    assert store.commits == 8
