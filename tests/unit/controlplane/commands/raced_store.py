"""A store with rivals, a cheap hasher, and a small configuration: what the tests of commands share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from controlplane.commands.commands import Commands
from controlplane.identity import Hasher
from controlplane.model.problems import InvalidConfig
from controlplane.model.stored import CHANGE
from controlplane.store import MemoryStore, Write

NOW = 1_700_000_000.0


class RacedStore(MemoryStore):
    """A store in which another writer comes between a command's read and its write."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0)
        self.rivals: list[Callable[[], Awaitable[object]]] = []
        self.commits = 0

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        self.commits += 1
        if self.rivals:
            await self.rivals.pop(0)()
        return await super().commit(expected, writes)


class CountingHasher(Hasher):
    """Cheap, and counts what would be dear."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.hashed = 0

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)


def elsewhere(store: MemoryStore) -> Commands:
    """Another control plane's commands, which do not wait for the turn of ours."""
    return Commands(store, CountingHasher(), lambda: NOW)


SERVICE = {"service_name": "orders"}
SCOPE = {"name": "orders:read"}
ROUTE = {"name": "orders", "prefix": "/orders", "service_name": "orders", "scopes": ["orders:read"]}
LIMIT = {"name": "few", "per_second": 1, "burst": 1}
DOCUMENT = {"services": [SERVICE], "scopes": [SCOPE], "routes": [ROUTE]}


async def refused(attempt: Awaitable[object]) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        await attempt
    return [str(problem) for problem in caught.value.problems]


def actions(receipt: Any) -> list[str]:
    return [f"{change.action} {change.kind}/{change.name}" for change in receipt.changes]


async def change(store: MemoryStore) -> dict[str, object]:
    entry = await store.get(CHANGE)
    assert entry is not None
    found: dict[str, object] = json.loads(entry.value)
    return found
