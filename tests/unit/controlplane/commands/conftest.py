"""Commands on a store in which others may write in between."""

from __future__ import annotations

import pytest

from controlplane.commands.commands import Commands
from tests.unit.controlplane.commands.raced_store import NOW, CountingHasher, RacedStore


@pytest.fixture
def store() -> RacedStore:
    return RacedStore()


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def commands(store: RacedStore, hasher: CountingHasher) -> Commands:
    return Commands(store, hasher, lambda: NOW)
