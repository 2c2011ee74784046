"""What lies under leases of a real etcd: the holders of an instance, and the families of refresh tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controlplane.commands.adapters import StoredFamilies
from controlplane.commands.commands import Commands
from controlplane.identity import Hasher, InvalidToken
from controlplane.identity.families import Member
from controlplane.model.resources import Instance, Service
from controlplane.store import EtcdStore, LeaseGone, Store
from tests.support.etcd import Etcd

INSTANCE = Instance(service_name="orders", instance_id="a", host="10.0.0.1", port=9000)
ORDERS = Service(service_name="orders")


@pytest.fixture
async def store(own_etcd: Etcd) -> AsyncIterator[Store]:
    store = EtcdStore(own_etcd.settings())
    yield store
    await store.close()


async def present(store: Store) -> int:
    return len((await store.list("/headgate/v1/instance/")).entries)


async def test_holders(store: Store) -> None:
    commands = Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)
    workers = await asyncio.gather(*(commands.register(INSTANCE, ORDERS, 5) for _ in range(3)))
    assert max(worker.workers for worker in workers) == 3
    dead, *living = workers
    await store.revoke(dead.lease)  # as if it had ended
    with pytest.raises(LeaseGone):
        await commands.keep(INSTANCE.name, dead.lease)
    for worker in living:
        assert await present(store) == 1
        assert not (await commands.keep(INSTANCE.name, worker.lease)).removed
        _, since = await commands.leave(INSTANCE.name, worker.lease)
        if since:
            await commands.deregister("orders", "a", lease=worker.lease, since=since)
    assert await present(store) == 0
    assert not (await store.list("/headgate/holders/")).entries


@pytest.mark.parametrize("count", [1, 2])
async def test_what_is_taken_out_stays_out(store: Store, count: int) -> None:
    commands = Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)
    workers = [await commands.register(INSTANCE, ORDERS, 5) for _ in range(count)]
    await commands.deregister("orders", "a", since=await commands.drain("orders", "a", hold=5))
    assert [(await commands.keep(INSTANCE.name, worker.lease)).removed for worker in workers] == [
        True
    ] * count
    assert await present(store) == 0


async def test_a_refresh_token_is_used_once(store: Store) -> None:
    commands = Commands(store, Hasher(time_cost=1, memory_cost=8, parallelism=1), lambda: 0.0)
    rotation, first = StoredFamilies(commands.executor, 600), Member("family", 0, 1000.0)
    found = await asyncio.gather(
        *(rotation.use("ann", first, 1001.0) for _ in range(3)), return_exceptions=True
    )
    assert sum(isinstance(one, Member) for one in found) == 1
    with pytest.raises(InvalidToken):
        await rotation.use("ann", Member("family", 1, 1000.0), 1002.0)
    assert (await rotation.use("ann", Member("other", 0, 1000.0), 1002.0)).sequence == 1
    (entry,) = (await store.list("/headgate/refresh/v1/")).entries
    assert entry.lease
