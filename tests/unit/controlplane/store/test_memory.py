"""What the fake offers beyond Store (the contract tests cover that): time, absence, forgetting."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest

from controlplane.store import Compacted, LeaseGone, MemoryStore, Put, StoreUnavailable


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=lambda: 100.0)


async def test_nothing_is_answered_while_it_is_away(store: MemoryStore) -> None:
    await store.commit({}, [Put("/a", b"")])
    store.available = False
    for ask in (store.get("/a"), store.list("/"), store.commit({}, []), store.grant(1), store.status()):
        with pytest.raises(StoreUnavailable):
            await ask
    store.available = True
    assert await store.get("/a") is not None


async def test_a_watch_waits_in_silence_and_goes_on(store: MemoryStore) -> None:
    async with asyncio.timeout(30), aclosing(store.watch("/", 1)) as watch:
        await store.commit({}, [Put("/a", b"")])
        assert (await anext(watch)).revision == 2
        store.available = False
        waiting = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.available = True
        await store.commit({}, [Put("/a", b"")])
        assert (await waiting).revision == 3


async def test_a_watch_that_was_away_too_long(store: MemoryStore) -> None:
    store.available = False
    watch = store.watch("/", 1)
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    store.available = True
    for _ in range(3):
        await store.commit({}, [Put("/a", b"")])
    store.compact(3)
    late = store.watch("/", 2)
    with pytest.raises(Compacted):
        await anext(late)
    await asyncio.gather(waiting, return_exceptions=True)
    await watch.aclose()


async def test_time_passes_by_hand(store: MemoryStore) -> None:
    lease = await store.grant(10)
    await store.commit({}, [Put("/a", b"", lease)])
    store.advance(9.9)
    assert await store.keep_alive(lease) == 10
    store.advance(9.9)
    assert await store.get("/a") is not None
    store.advance(0.2)
    assert await store.get("/a") is None
    with pytest.raises(LeaseGone):
        await store.keep_alive(lease)


async def test_or_by_the_clock() -> None:
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    lease = await store.grant(10)
    await store.commit({}, [Put("/a", b"", lease)])
    now[0] = 10.0
    assert await store.get("/a") is None


async def test_a_watch_sees_a_lease_end_by_the_real_clock() -> None:
    store = MemoryStore(time.monotonic)
    await store.commit({}, [Put("/a", b"", await store.grant(1))])
    store.advance(0.95)
    async with asyncio.timeout(30), aclosing(store.watch("/", 2)) as watch:
        assert (await anext(watch)).deletes == ("/a",)


async def test_leases_do_not_end_while_it_is_away(store: MemoryStore) -> None:
    lease = await store.grant(1)
    await store.commit({}, [Put("/a", b"", lease)])
    store.available = False
    store.advance(5)
    revision = store.revision
    store.available = True
    assert await store.get("/a") is None
    assert store.revision == revision + 1
