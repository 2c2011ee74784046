"""Signing keys for tests: read from a store, or made there, as a control plane does at its start."""

from __future__ import annotations

from controlplane.commands import adapters
from controlplane.commands.executor import Executor
from controlplane.identity import Hasher, KeyRing
from controlplane.store import Store


async def open_keys(store: Store, secret_key: str, *, issuer: str, audience: str, now: float) -> KeyRing:
    """The keys in `store`, and a first one if there was none."""
    executor = Executor(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: now)
    return await adapters.open_keys(executor, secret_key, issuer=issuer, audience=audience, now=now)
