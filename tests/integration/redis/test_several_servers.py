"""Limits in a Redis that Sentinels watch, and in a Cluster: fail-over, moved slots, a node that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.redis.store import slot_of
from headgate_api.v1 import resources_pb2 as pb
from tests.support import redis_server
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.redis_nodes import ask, has_found, has_lost, limit, messages, node, snapshot
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, eventually_now

KEY = "rate_limit:callers:127.0.0.1"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A primary, its replica, and the Sentinel that watches them."""
    primary = RedisServer(tmp_path)
    replica = RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(primary.port))
    sentinel = redis_server.Sentinel(tmp_path, "limits", primary.port)
    servers = primary, replica, sentinel
    try:
        for server in servers:
            server.start()
        eventually_now(lambda: "slaves=1" in sentinel.cli("info", "sentinel"))
        eventually_now(lambda: "master_link_status:up" in replica.cli("info", "replication"))
        yield servers
    finally:
        for server in servers:
            if server.process is not None:
                server.kill()


def by_sentinel(folder: Path, controlplane: FakeControlPlane, sentinel: RedisServer) -> DataPlane:
    sentinels = f"127.0.0.1:1,127.0.0.1:{sentinel.port}"
    return node(folder, controlplane, REDIS_SENTINELS=sentinels, REDIS_SENTINEL_NAME="limits")


async def test_the_replica_takes_over(
    tmp_path: Path,
    controlplane: FakeControlPlane,
    orders: Instance,
    watched: tuple[RedisServer, RedisServer, RedisServer],
) -> None:
    primary, replica, sentinel = watched
    controlplane.publish(snapshot(orders, limit("callers", 6)))
    async with by_sentinel(tmp_path, controlplane, sentinel) as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        assert await ask(plane, 2) == [200] * 2
        await eventually(lambda: replica.cli("zcard", KEY) == "2")
        primary.kill()
        await eventually(lambda: "Failed to connect to Redis" in messages(plane))

        async def refuses() -> bool:
            return 429 in await ask(plane)

        # What passes uncounted meanwhile is not in the way: six are counted, the first two by the old primary.
        await eventually(refuses)
        assert replica.cli("zcard", KEY) == "6"


async def test_a_primary_that_is_one_no_more_is_left(
    tmp_path: Path,
    controlplane: FakeControlPlane,
    orders: Instance,
    watched: tuple[RedisServer, RedisServer, RedisServer],
) -> None:
    primary, replica, sentinel = watched
    controlplane.publish(snapshot(orders, limit("callers", 1000)))
    async with by_sentinel(tmp_path, controlplane, sentinel) as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        assert await ask(plane) == [200]
        assert sentinel.cli("sentinel", "failover", "limits") == "OK"
        await eventually(lambda: "role:master" in replica.cli("info", "replication"))
        await eventually(lambda: "role:slave" in primary.cli("info", "replication"))

        async def counted_by_the_new_one() -> bool:
            before = int(replica.cli("zcard", KEY))
            assert await ask(plane) == [200]
            return int(replica.cli("zcard", KEY)) > before

        await eventually(counted_by_the_new_one)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[RedisServer]]:
    nodes = redis_server.cluster(tmp_path)
    try:
        for each in nodes:
            each.start()
        redis_server.join(nodes)
        yield nodes
    finally:
        for each in nodes:
            if each.process is not None:
                each.kill()


def in_cluster(folder: Path, controlplane: FakeControlPlane, nodes: list[RedisServer]) -> DataPlane:
    return node(folder, controlplane, REDIS_CLUSTER=",".join(f"127.0.0.1:{each.port}" for each in nodes))


ROUTES = [f"r{number}" for number in range(30)]


async def each_caller(plane: DataPlane, count: int) -> dict[str, list[int]]:
    """The statuses that callers get who send so many requests each."""
    found = await asyncio.gather(*(ask(plane, count, headers={"Host": f"{name}.example"}) for name in ROUTES))
    return dict(zip(ROUTES, found, strict=True))


async def test_callers_are_spread_over_a_cluster(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, cluster: list[RedisServer]
) -> None:
    controlplane.publish(snapshot(orders, limit("callers", 2, keys=["header:host"])))
    async with in_cluster(tmp_path, controlplane, cluster) as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        for statuses in (await each_caller(plane, 3)).values():
            assert sorted(statuses) == [200, 200, 429]
        names = [each.cli("keys", "*callers*").split() for each in cluster]
        assert all(names), "each node has some"
        assert sum(map(len, names)) == len(ROUTES)
        assert all(name.startswith("rate_limit:{callers:#") for each in names for name in each)
        gone, gone_names = cluster[0], names[0]
        gone.kill()
        await eventually(lambda: has_lost(plane))
        found = await each_caller(plane, 2)
        assert sum(statuses == [200, 200] for statuses in found.values()) == len(gone_names)
        assert sum(statuses == [429, 429] for statuses in found.values()) == len(ROUTES) - len(gone_names)
        gone.start()
        await eventually(lambda: has_found(plane))


async def test_a_slot_that_moves_is_followed(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, cluster: list[RedisServer]
) -> None:
    closed = limit("callers", 4, on_store_failure=pb.STORE_FAILURE_CLOSED)
    controlplane.publish(snapshot(orders, closed))
    name = "rate_limit:{callers:127.0.0.1}"
    slot = str(slot_of(name.encode()))
    assert cluster[0].cli("cluster", "keyslot", name) == slot
    async with in_cluster(tmp_path, controlplane, cluster) as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        source = next(each for each in cluster if not each.cli("zcard", name).startswith("MOVED"))
        target = next(each for each in cluster if each is not source)
        ids = {each.port: each.cli("cluster", "myid") for each in cluster}
        # On its way: whoever asks for a key that is no longer here is sent there.
        assert target.cli("cluster", "setslot", slot, "importing", ids[source.port]) == "OK"
        assert source.cli("cluster", "setslot", slot, "migrating", ids[target.port]) == "OK"
        assert await ask(plane) == [200]
        # Arrived.
        for each in (target, source):
            assert each.cli("cluster", "setslot", slot, "node", ids[target.port]) == "OK"
        found = await ask(plane, 6)
        assert (found.count(200), found.count(429)) == (3, 3)
        assert target.cli("zcard", name) == "4"
