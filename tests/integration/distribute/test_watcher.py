"""The watcher on a real etcd that is killed, frozen, compacted and wiped."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controlplane.distribute.watcher import Watcher
from controlplane.model.resources import Service
from controlplane.model.stored import encode, key_of
from controlplane.store import EtcdStore, Put
from tests.support.etcd import Etcd, base64_of
from tests.support.proxy import Proxy
from tests.support.waiting import eventually, within


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    with Etcd(tmp_path) as etcd:
        yield etcd


@pytest.fixture
async def store(etcd: Etcd) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(etcd.settings(timeout=0.5))
    yield store
    await store.close()


@contextlib.asynccontextmanager
async def running(store: EtcdStore) -> AsyncIterator[Watcher]:
    await put(store, "orders")
    watcher = Watcher(store, retry=(0.05, 0.2), probe=0.1)
    task = asyncio.create_task(watcher.run())
    await within(watcher.caught_up.wait(), 30)
    yield watcher
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def watcher(store: EtcdStore) -> AsyncIterator[Watcher]:
    async with running(store) as watcher:
        yield watcher


async def put(store: EtcdStore, name: str) -> int:
    return await store.commit({}, [Put(key_of("service", name), encode(Service(service_name=name)))])


def services(watcher: Watcher) -> set[str]:
    assert watcher.current is not None
    return set(watcher.current.of(Service))


async def test_a_killed_etcd_is_missed_and_caught_up_with(
    etcd: Etcd, store: EtcdStore, watcher: Watcher
) -> None:
    good = watcher.current
    etcd.kill()
    await eventually(lambda: not watcher.connected)
    assert watcher.current is good
    await asyncio.to_thread(etcd.start)
    # Refused at once while gRPC waits to connect anew.
    await eventually(lambda: put(store, "payments"))
    await eventually(lambda: services(watcher) == {"orders", "payments"} and watcher.connected)


async def test_a_frozen_etcd_is_noticed(etcd: Etcd, store: EtcdStore, watcher: Watcher) -> None:
    etcd.freeze()
    await eventually(lambda: not watcher.connected)
    etcd.thaw()
    await eventually(lambda: watcher.connected)
    await eventually(lambda: put(store, "payments"))
    await eventually(lambda: services(watcher) == {"orders", "payments"})


async def test_a_compaction_while_the_wire_was_cut(etcd: Etcd, store: EtcdStore) -> None:
    async with Proxy(etcd.port) as proxy:
        behind = EtcdStore(etcd.settings(timeout=0.5, endpoints=(proxy.url,)))
        async with running(behind) as watcher:
            proxy.refusing = True
            proxy.cut()
            await put(store, "payments")
            await put(store, "carts")
            gone = etcd.ask("kv/deleterange", {"key": base64_of(key_of("service", "orders"))})
            etcd.compact(int(gone["header"]["revision"]))
            proxy.refusing = False
            await eventually(lambda: services(watcher) == {"payments", "carts"})
            assert not watcher.problems
        await behind.close()


async def test_nonsense_written_with_etcdctl(etcd: Etcd, watcher: Watcher) -> None:
    good = watcher.current
    etcd.put(key_of("route", "orders"), "{prefix: /orders}")
    (problem,) = await eventually(lambda: watcher.problems)
    assert (str(problem), watcher.current) == ("route/orders: is not JSON", good)


async def test_a_wiped_etcd_takes_nothing_away(etcd: Etcd, watcher: Watcher, tmp_path: Path) -> None:
    good = watcher.current
    etcd.kill()
    shutil.rmtree(tmp_path / "data")
    await asyncio.to_thread(etcd.start)
    (problem,) = await eventually(lambda: watcher.problems)
    assert "the store went back" in str(problem)
    assert watcher.current is good
