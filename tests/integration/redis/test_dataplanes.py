"""Limits in Redis on real data planes: shared by all, and what holds when Redis is killed, frozen or started anew.

Kills, freezes and restarts are real ones.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headgate_api.v1 import resources_pb2 as pb
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.redis_nodes import HOUR, ask, has_found, has_lost, health, limit, messages, node, snapshot
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

LOST, FOUND = "Failed to connect to Redis", "Redis answers again"
REFUSES = "Redis refuses limits: the ACL of the user in REDIS_URL lacks a rule"


async def test_all_data_planes_and_workers_share_one_window(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    controlplane.publish(snapshot(orders, limit("callers", 10)))
    async with (
        node(tmp_path / "one", controlplane, server, WORKERS="2") as one,
        node(tmp_path / "two", controlplane, server, NODE="node-2") as two,
    ):
        await asyncio.gather(one.started(), two.started())
        found = [*await ask(one, 12), *await ask(two, 12)]
        assert (found.count(200), found.count(429)) == (10, 14)
        redis = server.client()
        assert redis.zcard("rate_limit:callers:127.0.0.1") == 10
        refused = await two.get("/orders/1")
        assert int(refused.headers["retry-after"]) > HOUR - 120
        assert refused.headers["ratelimit-policy"] == '"callers";q=10;w=3600'
        assert redis.delete("rate_limit:callers:127.0.0.1") == 1
        assert await ask(one) == [200]
        assert (await health(one))["redis"] == {"connected": True}


async def test_a_refusal_takes_nothing_from_the_others(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    here = limit("here", 50, mode=pb.LIMIT_MODE_LOCAL)
    many = limit("many", 5000, cost=2)
    controlplane.publish(snapshot(orders, here, limit("wide", 9), many, limit("narrow", 3)))
    async with node(tmp_path, controlplane, server) as plane:
        await plane.started()
        assert sorted(await ask(plane, 8)) == [200] * 3 + [429] * 5
        redis = server.client()
        await eventually(lambda: redis.zcard("rate_limit:wide:127.0.0.1") == 3)
        await eventually(lambda: redis.hget("rate_limit:many:127.0.0.1", "used") == b"6")
        rows = {row.name: row for row in await _reported(controlplane)}
        assert rows["here"].remaining == pytest.approx(47, abs=0.1)
        assert rows["narrow"].remaining == 0


async def _reported(controlplane: FakeControlPlane) -> Any:
    before = controlplane.latest.heard
    await eventually(lambda: controlplane.latest.heard > before + 2)
    assert controlplane.latest.stats is not None
    return controlplane.latest.stats.rate_limits


async def test_what_may_be_secret_is_not_in_redis(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    controlplane.publish(snapshot(orders, limit("keys", 5, keys=["api_key", "header:x-tenant"])))
    async with node(tmp_path, controlplane, server, REDIS_KEY_PREFIX="shop:") as plane:
        await plane.started()
        headers = {"X-API-Key": "the-secret-key", "X-Tenant": "acme"}
        assert await ask(plane, 1, headers=headers) == [200]
        (name,) = (key for key in server.cli("keys", "*").split() if "keys" in key)
        assert name.startswith("shop:rate_limit:keys:#")
        assert "secret" not in name
        assert "acme" not in name


@pytest.mark.parametrize(
    ("policy", "statuses"),
    [
        (pb.STORE_FAILURE_OPEN, {200}),
        (pb.STORE_FAILURE_CLOSED, {503}),
        (pb.STORE_FAILURE_LOCAL, {200, 429}),
    ],
)
async def test_redis_is_killed_and_comes_back(
    tmp_path: Path,
    controlplane: FakeControlPlane,
    orders: Instance,
    own_server: RedisServer,
    policy: pb.StoreFailure.ValueType,
    statuses: set[int],
) -> None:
    controlplane.publish(snapshot(orders, limit("callers", 4, on_store_failure=policy)))
    async with node(tmp_path, controlplane, own_server, WORKERS="2") as plane:
        await plane.started()
        assert set(await ask(plane, 20)) == {200, 429}
        before = [messages(plane).count(text) for text in (LOST, FOUND)]
        own_server.kill()
        await eventually(lambda: has_lost(plane))
        assert set(await ask(plane, 20)) == statuses
        assert (await plane.get("/free/1")).status_code == 200
        said = await health(plane)
        assert said["status"] == "degraded"
        assert any(problem.startswith("Failed to connect to Redis, since 2") for problem in said["problems"])
        own_server.start()
        await eventually(lambda: has_found(plane))
        assert (await health(plane))["status"] == "ok"
        found = await ask(plane, 20)
        assert (found.count(200), found.count(429)) == (4, 16)
        after = [count + 1 for count in before]
        await eventually(lambda: [messages(plane).count(text) for text in (LOST, FOUND)] == after)


async def test_redis_hangs_and_goes_on(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, own_server: RedisServer
) -> None:
    """Each request waits for one time-out, at most: then Redis is asked no more until it answers again."""
    controlplane.publish(snapshot(orders, limit("callers", 4)))
    async with node(tmp_path, controlplane, own_server, REDIS_TIMEOUT="0.2") as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        own_server.freeze()
        try:
            assert (await plane.get("/free/1")).status_code == 200
            while not await has_lost(plane):
                assert await ask(plane, 3) == [200] * 3
            assert await ask(plane, 3) == [200] * 3
        finally:
            own_server.thaw()
        await eventually(lambda: has_found(plane))
        await eventually(lambda: _refuses(plane))
        await eventually(lambda: LOST in messages(plane))


async def _refuses(plane: DataPlane) -> bool:
    return 429 in await ask(plane, 3)


async def test_redis_is_restarted_under_load(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, own_server: RedisServer
) -> None:
    """Nobody gets an error, and the window holds for as long as one Redis lives."""
    controlplane.publish(snapshot(orders, limit("callers", 1000)))
    async with node(tmp_path, controlplane, own_server, WORKERS="2") as plane:
        await plane.started()
        stop = asyncio.Event()
        found: list[int] = []

        async def load() -> None:
            while not stop.is_set():
                found.append((await plane.get("/orders/1")).status_code)

        senders = [asyncio.create_task(load()) for _ in range(4)]
        for _ in range(3):
            before = len(found)
            await eventually(lambda before=before: len(found) > before + 50)  # type: ignore[misc]
            own_server.kill()
            await eventually(lambda: has_lost(plane))
            before = len(found)
            own_server.start()
            await eventually(lambda: has_found(plane))
        await eventually(lambda: len(found) > before + 50)
        stop.set()
        await asyncio.gather(*senders)
        assert set(found) <= {200, 429}
        counted = own_server.client().zcard("rate_limit:callers:127.0.0.1")
        assert 0 < counted <= min(1000, len(found) - before + len(senders))


async def test_redis_is_not_there_from_the_start(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, own_server: RedisServer
) -> None:
    own_server.kill()
    controlplane.publish(snapshot(orders, limit("callers", 4)))
    async with node(tmp_path, controlplane, own_server) as plane:
        await plane.started()
        assert await ask(plane, 6) == [200] * 6
        await eventually(lambda: has_lost(plane))
        own_server.start()
        await eventually(lambda: has_found(plane))
        assert sorted(await ask(plane, 6)) == [200] * 4 + [429] * 2


async def test_a_data_plane_without_redis_says_so(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    closed = limit("callers", 4, on_store_failure=pb.STORE_FAILURE_CLOSED)
    controlplane.publish(snapshot(orders, closed))
    async with DataPlane(tmp_path, controlplane.address) as plane:
        await plane.started()
        answer = await plane.get("/orders/1")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"] == "Service unavailable"
        assert "Failed to connect to Redis: REDIS_HOST is not set" in (await health(plane))["problems"]


async def test_scripts_that_were_flushed_are_loaded_again(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    controlplane.publish(snapshot(orders, limit("callers", 4)))
    async with node(tmp_path, controlplane, server) as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        server.client().script_flush()
        found = await ask(plane, 6)
        assert (found.count(200), found.count(429)) == (4, 2)
        assert "Failed to connect to Redis" not in messages(plane)


async def test_a_key_that_somebody_else_wrote_concerns_nobody_else(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    controlplane.publish(snapshot(orders, limit("callers", 2, keys=["header:x-tenant"])))
    async with node(tmp_path, controlplane, server) as plane:
        await plane.started()
        assert await ask(plane, headers={"X-Tenant": "a"}) == [200]
        (name,) = (key for key in server.cli("keys", "*").split() if "callers" in key)
        server.client().set(name, "nonsense")
        for _ in range(5):
            assert await ask(plane, 2, headers={"X-Tenant": "a"}) == [200, 200]
        assert sorted(await ask(plane, 3, headers={"X-Tenant": "b"})) == [200, 200, 429]
        assert LOST not in messages(plane)
        assert await plane.metric("headgate_limit_unanswered_total", limit="callers") >= 0


async def test_a_redis_that_cannot_count(
    tmp_path: Path,
    controlplane: FakeControlPlane,
    orders: Instance,
    own_server: RedisServer,
) -> None:
    """It has become a replica, and no Sentinel says whose."""
    closed = limit("callers", 1000, on_store_failure=pb.STORE_FAILURE_CLOSED)
    controlplane.publish(snapshot(orders, closed))
    async with node(tmp_path, controlplane, own_server) as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        assert await ask(plane) == [200]
        assert own_server.cli("replicaof", "127.0.0.1", "1") == "OK"

        async def is_lost() -> bool:
            await ask(plane)
            return await has_lost(plane)

        await eventually(is_lost)
        assert "READONLY" in (await plane.status("/debug/config")).json()["redis_problem"]
        assert await ask(plane) == [503]
        assert own_server.cli("replicaof", "no", "one") == "OK"
        await eventually(lambda: has_found(plane))
        assert await ask(plane) == [200]


async def test_the_settings_limit_can_be_in_redis(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    controlplane.publish(snapshot(orders))
    settings = {"RATE_LIMIT_MODE": "redis", "RATE_LIMIT_PER_SECOND": "0.01", "RATE_LIMIT_BURST": "5"}
    async with node(tmp_path, controlplane, server, **settings) as plane:
        await plane.started()
        found = await ask(plane, 9)
        assert (found.count(200), found.count(429)) == (5, 4)
        assert server.client().zcard("rate_limit:headgate:address:127.0.0.1") == 5


async def test_a_reset_reaches_redis(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    first = snapshot(orders, limit("callers", 4))
    controlplane.publish(first)
    async with node(tmp_path, controlplane, server) as plane:
        await plane.started()
        assert 429 in await ask(plane, 6)
        order = wire.reset("address:127.0.0.1", revision=6, rate_limit="address:127.0.0.1")
        controlplane.publish(wire.snapshot(*first.resources, order, revision=6))
        await plane.serves(6)
        await eventually(lambda: not server.client().exists("rate_limit:callers:127.0.0.1"))
        assert 200 in await ask(plane)


async def test_a_reset_reaches_redis_when_it_is_there_again(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, own_server: RedisServer
) -> None:
    first = snapshot(orders, limit("callers", 4))
    controlplane.publish(first)
    async with node(tmp_path, controlplane, own_server, REDIS_TIMEOUT="0.2") as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        # A key that only an order removes.
        own_server.client().zadd("rate_limit:callers:alice", {"a": 1})
        own_server.freeze()
        try:

            async def loses() -> bool:
                await ask(plane)
                return await has_lost(plane)

            await eventually(loses)
            order = wire.reset("alice", revision=6, rate_limit="alice")
            controlplane.publish(wire.snapshot(*first.resources, order, revision=6))
            await plane.serves(6)
        finally:
            own_server.thaw()
        await eventually(lambda: not own_server.client().exists("rate_limit:callers:alice"))


async def test_a_password_and_a_database(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, own_server: RedisServer
) -> None:
    own_server.client().acl_setuser(
        "gate", enabled=True, passwords=["+s3:cret"], categories=["+@all"], keys=["*"]
    )
    controlplane.publish(snapshot(orders, limit("callers", 4)))
    url = f"redis://gate:s3%3Acret@127.0.0.1:{own_server.port}/3"
    async with DataPlane(tmp_path, controlplane.address, REDIS_URL=url, REDIS_TIMEOUT="5") as plane:
        await plane.started()
        assert sorted(await ask(plane, 6)) == [200] * 4 + [429] * 2
        assert own_server.client(db=3).zcard("rate_limit:callers:127.0.0.1") == 4
        for worker in plane.workers():
            assert "s3" not in " ".join(worker.cmdline())
            assert not any("s3%3Acret" in value for value in worker.environ().values())
    wrong = f"redis://gate:other@127.0.0.1:{own_server.port}/3"
    async with DataPlane(tmp_path / "wrong", controlplane.address, REDIS_URL=wrong) as plane:
        await plane.started()
        await eventually(lambda: has_lost(plane))
        assert "WRONGPASS" in (await plane.status("/debug/config")).json()["redis_problem"]
        said = await health(plane)
        assert said["redis"]["refused"] == "credentials"
        (problem,) = said["problems"]
        assert problem.startswith(
            "Failed to connect to Redis: it refuses the gateway's user or password, since 2"
        )
        assert "other" not in json.dumps(said)
        await eventually(lambda: LOST in messages(plane))


async def test_a_client_that_leaves_while_redis_is_asked(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, own_server: RedisServer
) -> None:
    controlplane.publish(snapshot(orders, limit("callers", 100)))
    async with node(tmp_path, controlplane, own_server) as plane:
        await plane.started()
        await eventually(lambda: has_found(plane))
        own_server.freeze()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", plane.port)
            writer.write(b"GET /orders/1 HTTP/1.1\r\nhost: a\r\n\r\n")
            await writer.drain()
            # Answered by the same worker afterwards: it has read the first.
            assert (await plane.get("/free/1")).status_code == 200
            reset = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            writer.close()
            await eventually(lambda: any('"client_left"' in line for line in plane.output()))
        finally:
            own_server.thaw()
        await eventually(lambda: has_found(plane))
        assert await ask(plane, 3) == [200] * 3
        assert len(orders.heads) == 4


async def test_redis_over_tls(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "stranger")
    controlplane.publish(snapshot(orders, limit("callers", 4)))
    async with tls_in_front(server.port, authority) as port:
        url, known, other = (
            f"rediss://localhost:{port}",
            str(authority.certificate),
            str(stranger.certificate),
        )
        async with node(tmp_path / "known", controlplane, REDIS_URL=url, REDIS_CA=known) as plane:
            await plane.started()
            assert sorted(await ask(plane, 6)) == [200] * 4 + [429] * 2
        async with node(tmp_path / "unknown", controlplane, REDIS_URL=url, REDIS_CA=other) as plane:
            await plane.started()
            await eventually(lambda: has_lost(plane))
            assert (
                "certificate verify failed" in (await plane.status("/debug/config")).json()["redis_problem"]
            )


async def test_redis_that_asks_for_a_client_certificate(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, server: RedisServer
) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = map(str, authority.issue("gateway"))
    controlplane.publish(snapshot(orders, limit("callers", 4)))
    async with tls_in_front(server.port, authority, ask=True) as port:
        known = {"REDIS_URL": f"rediss://localhost:{port}", "REDIS_CA": str(authority.certificate)}
        async with node(
            tmp_path / "shown", controlplane, None, **known, REDIS_CERT=cert, REDIS_KEY=key
        ) as plane:
            await plane.started()
            assert sorted(await ask(plane, 6)) == [200] * 4 + [429] * 2
        async with node(tmp_path / "none", controlplane, None, **known) as plane:
            await plane.started()
            await eventually(lambda: has_lost(plane))


async def test_an_acl_without_the_keys_of_limits_is_named_and_no_failure_to_connect(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, own_server: RedisServer
) -> None:
    own_server.client().acl_setuser("gate", enabled=True, nopass=True, categories=["+@all"], keys=["shop:*"])
    controlplane.publish(snapshot(orders, limit("callers", 4)))
    url = f"redis://gate:x@127.0.0.1:{own_server.port}"
    async with node(tmp_path, controlplane, REDIS_URL=url) as plane:
        await plane.started()
        redis = await eventually(lambda: refused(plane))
        assert (redis["connected"], redis["acl_lacks"]) == (True, "~rate_limit:*")
        await eventually(lambda: REFUSES in messages(plane))
        (record,) = [one for one in plane.log() if one.get("message") == REFUSES]
        assert record["lacks"] == "~rate_limit:*"
        assert LOST not in messages(plane)
        assert own_server.cli("acl", "setuser", "gate", "~rate_limit:*") == "OK"
        await eventually(lambda: "Redis accepts limits again" in messages(plane))
        await eventually(lambda: has_found(plane))
        assert sorted(await ask(plane, 6)) == [200] * 4 + [429] * 2


async def refused(plane: DataPlane) -> Any:
    redis = (await health(plane))["redis"]
    return redis if "acl_lacks" in redis else None


@asynccontextmanager
async def tls_in_front(port: int, authority: Authority, *, ask: bool = False) -> AsyncIterator[int]:
    """A port that speaks TLS and passes on to `port`, as Redis may not have been built with TLS; with `ask` it asks for
    client certificates."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("redis"))
    if ask:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.certificate)
    writers: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, forth), pump(back, writer), return_exceptions=True)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for writer in writers:
            writer.close()
        await listener.wait_closed()
