"""One signing key for all tests of this folder: making one takes a good part of a second."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.identity import KeyRing
from controlplane.store import MemoryStore
from tests.support.keys import open_keys


async def _new_ring() -> KeyRing:
    store = MemoryStore(clock=lambda: 0.0)
    return await open_keys(store, "x" * 32, issuer="headgate", audience="headgate", now=0.0)


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    return asyncio.run(_new_ring())


@pytest.fixture(scope="session")
def other_ring() -> KeyRing:
    return asyncio.run(_new_ring())
