"""Values in the store that nobody of ours has written: each kind is read, and nothing is ended by it."""

from __future__ import annotations

import pytest

from controlplane.commands.commands import Commands
from controlplane.commands.plans.holders import PREFIX as HOLDERS
from controlplane.commands.plans.own import BUILT_IN
from controlplane.identity import Hasher
from controlplane.model.history import HEAD, RECORDS
from controlplane.model.lineage import LINEAGE
from controlplane.model.resources import Instance, Service
from controlplane.store import MemoryStore, Put

KEYS = [BUILT_IN, HEAD, f"{RECORDS}000000000001", f"{HOLDERS}orders/a/shared", LINEAGE]


@pytest.mark.parametrize("value", [b"", b"\xff", b"null", b"[1]", b"{}", b"[" * 100_000])
@pytest.mark.parametrize("key", KEYS)
async def test_a_damaged_value_ends_nothing(key: str, value: bytes) -> None:
    store = MemoryStore(clock=lambda: 0.0)
    hasher = Hasher(time_cost=1, memory_cost=8, parallelism=1)
    commands = Commands(store, hasher, lambda: 0.0)
    await store.commit({}, [Put(key, value)])
    await commands.ensure_lineage("me")
    await commands.build_in((Service(service_name="orders"),), (), author="me")
    instance = Instance(service_name="orders", instance_id="a", host="10.0.0.1", port=1)
    for _ in range(2):
        assert (await commands.register(instance, None, 15.0)).lease
    assert await commands.changes(len) >= 1
    assert (await commands.confirm_store("me"))[1].epoch > 0
