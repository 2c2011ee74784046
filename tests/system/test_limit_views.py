"""What operators see of limits, and reset: two control planes, a data plane at each, Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support import pair as pairs
from tests.support.instance import Instance
from tests.support.pair import Pair
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

NEVER = 0.001
"""Tokens a second that flow back."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    await asyncio.to_thread(server.start)
    yield server
    server.thaw()
    server.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> AsyncIterator[Pair]:
    settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port)}
    async with Instance("orders-1") as orders, pairs.running(tmp_path_factory.mktemp("pair")) as pair:
        await asyncio.gather(
            pair.add("at-a", pair.a.grpc, WORKERS="2", **settings),
            pair.add("at-b", pair.b.grpc, **settings),
        )
        await pair.settled()
        host = {"instance_id": "orders-1", "host": "127.0.0.1", "port": orders.port}
        await applied(pair, {"services": [{"service_name": "orders", "instances": [host]}]})
        yield pair


async def applied(pair: Pair, document: dict[str, Any]) -> None:
    (await pair.apply(pair.a, document, wait="20")).raise_for_status()


async def limited(pair: Pair, route: str, *limits: dict[str, Any]) -> None:
    """A route of this name under these limits, which count by route."""
    fields = [{"per_second": NEVER, "key": "route", **limit} for limit in limits]
    names = [limit["name"] for limit in limits]
    place = {"name": route, "prefix": f"/{route}", "service_name": "orders", "public": True}
    await applied(pair, {"rate_limits": fields, "routes": [{**place, "rate_limits": names}]})


async def answers(pair: Pair, route: str, status: int) -> None:
    """Ask at each data plane until it answers so."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for url in pair.urls(f"/{route}"):

            async def answered(url: str = url) -> bool:
                return (await client.get(url)).status_code == status

            await eventually(answered, within=60)


async def shown(pair: Pair, limit: str) -> list[dict[str, Any]]:
    """The limit as both control planes show it."""
    found = [await pair.view(one, f"/rate-limits?limit={limit}") for one in (pair.a, pair.b)]
    return [limits[0] for limits in found]


async def test_a_limit_of_the_fleet_is_seen_at_both_control_planes_and_reset_everywhere(pair: Pair) -> None:
    together = {"name": "together", "burst": 20, "mode": "fleet", "without_owner": "strict"}
    in_redis, here = {"name": "in-redis", "burst": 1000, "mode": "redis"}, {"name": "here", "burst": 1000}
    await limited(pair, "seen", together, in_redis, here)
    await answers(pair, "seen", 200)
    await answers(pair, "seen", 429)

    async def all_of_it() -> bool:
        for limit in await shown(pair, "together"):
            (bucket,) = limit["buckets"] or [{"key": "", "dataplanes": {}, "refused": 0, "remaining": 99}]
            nodes = bucket["dataplanes"]
            known = limit["bound"]["reason"] == f"workers lease from control plane {limit['owner']}"
            counted = {node: (one["counted"], one["away"]) for node, one in nodes.items()}
            if not known or counted != dict.fromkeys(("at-a", "at-b"), ("fleet", False)):
                return False
            # A worker may be refused more than its share while others hold theirs.
            if bucket["refused"] < 2 or bucket["remaining"] >= 20 or bucket["key"] != "route:seen":
                return False
        return True

    await eventually(all_of_it, within=60)

    async def same_owner() -> bool:
        of_a, of_b = await shown(pair, "together")
        over_the_fleet = of_a["bound"]["over"] == of_b["bound"]["over"] == "fleet"
        return over_the_fleet and of_a["owner"] is not None and of_a["owner"] == of_b["owner"]

    await eventually(same_owner, within=60)

    async def printed() -> bool:
        table = await pair.headgate("limits", "--limit", "together")
        assert table.returncode == 0, table.stderr
        parts = ("20 + 0.001/s, the fleet", "route:seen", "at-a ", "at-b ")
        return all(part in table.stdout for part in parts)

    # A data plane that a busy machine keeps from its control plane for a moment is not shown.
    await eventually(printed, within=60)

    async def local_ones() -> bool:
        # The workers of at-a forget a bucket that is nearly full after some seconds without requests.
        await answers(pair, "seen", 429)
        buckets = [bucket for limit in await shown(pair, "here") for bucket in limit["buckets"]]
        nodes = [one["counted"] for bucket in buckets for one in bucket["dataplanes"].values()]
        return nodes == ["node"] * 4

    await eventually(local_ones, within=60)
    reset = await pair.headgate("limits", "reset", "route:seen")
    assert (reset.returncode, reset.stdout) in (
        (0, "Reset 4 buckets of route:seen: here 2, in-redis 1, together 1\n"),
        (0, "Reset 3 buckets of route:seen: here 1, in-redis 1, together 1\n"),
    )
    await answers(pair, "seen", 200)


async def test_a_limit_in_redis_is_seen_and_reset_and_redis_that_is_away_is_named(
    pair: Pair, server: RedisServer
) -> None:
    await limited(pair, "small", {"name": "small", "burst": 3, "mode": "redis"})
    await answers(pair, "small", 429)
    await eventually(lambda: counted_in_redis(pair), within=60)
    reset = await pair.headgate("limits", "reset", "route:small")
    assert (reset.returncode, reset.stdout) == (0, "Reset 1 bucket of route:small: small 1\n")
    assert server.client().zcard("rate_limit:small:small") == 0
    await answers(pair, "small", 200)

    async def open_to_all() -> bool:
        await answers(pair, "small", 200)
        bounds = [limit["bound"] for limit in await shown(pair, "small")]
        return all(not bound["holds"] and "at-a, at-b: open" in bound["reason"] for bound in bounds)

    server.kill()
    try:
        await eventually(open_to_all, within=60)
        away = await pair.headgate("limits", "reset", "route:small")
    finally:
        await asyncio.to_thread(server.start)
    assert away.returncode == 0, away.stderr
    assert "Redis did not answer, where these are counted: in-redis, small" in away.stdout.splitlines()

    async def counted_again() -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            for url in pair.urls("/small"):
                await client.get(url)
        return all(limit["bound"]["holds"] for limit in await shown(pair, "small"))

    await eventually(counted_again, within=60)


async def counted_in_redis(pair: Pair) -> bool:
    for limit in await shown(pair, "small"):
        nodes = {node: one for bucket in limit["buckets"] for node, one in bucket["dataplanes"].items()}
        if set(nodes) != {"at-a", "at-b"} or not limit["bound"]["holds"] or limit["refused"] < 2:
            return False
        if {(one["counted"], one["away"]) for one in nodes.values()} != {("redis", False)}:
            return False
    return True


async def test_a_key_and_a_limit_that_there_are_not(pair: Pair) -> None:
    await limited(pair, "plain", {"name": "plain", "burst": 1})
    await answers(pair, "plain", 429)

    async def reported() -> bool:
        return bool((await shown(pair, "plain"))[0]["buckets"])

    await eventually(reported, within=60)
    mistyped = await pair.headgate("limits", "reset", "route:plane")
    assert (mistyped.returncode, mistyped.stderr) == (
        1,
        "headgate: no bucket of any limit has the key 'route:plane': did you mean route:plain?\n",
    )
    mistyped = await pair.headgate("limits", "--limit", "plane")
    assert (mistyped.returncode, mistyped.stderr) == (
        1,
        "headgate: rate limit 'plane' does not exist: did you mean plain?\n",
    )
