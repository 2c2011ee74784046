"""One limit for the whole fleet: two control planes, data planes at both of them, and what instances saw.

`make limits-test` runs the long form: more data planes, more ways to lose an owner, more restarts.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import pytest_asyncio

from controlplane.limits.claims import CLAIMS
from controlplane.limits.partitions import partition_of
from controlplane.store import EtcdSettings, EtcdStore
from dataplane.config.cache import Cache
from demo.processes import ControlPlane, DataPlane
from headgate_api.leases.successor import Share
from tests.support import pair as pairs
from tests.support.bound import overshoot, request_ids
from tests.support.instance import Instance
from tests.support.load import Load
from tests.support.pair import Pair
from tests.support.waiting import eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

RATE, BURST = 40.0, 100
LONG = bool(os.environ.get("LIMITS_LONG"))
ENOUGH = 4 * BURST if LONG else 3 * BURST // 2
"""Requests after which a bucket was emptied, and has been filled for a while."""
LOST_BY = ("kill", "stop", "freeze") if LONG else ("kill",)
RESTARTS = 4 if LONG else 2
LARGEST = 10 if LONG else 5
"""Data planes that the fleet grows to."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance() -> AsyncIterator[Instance]:
    async with Instance("orders-1") as orders:
        yield orders


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory, instance: Instance) -> AsyncIterator[Pair]:
    """A data plane with two workers at `a`, one at `b`, and one that knows both."""
    async with pairs.running(tmp_path_factory.mktemp("pair")) as pair:
        await asyncio.gather(
            pair.add("at-a", pair.a.grpc, WORKERS="2"),
            pair.add("at-b", pair.b.grpc),
            pair.add(pair.prefers(pair.b, "either"), *pair.addresses),
        )
        await pair.settled()
        host = {"instance_id": "orders-1", "host": "127.0.0.1", "port": instance.port}
        await applied(pair, {"services": [{"service_name": "orders", "instances": [host]}]})
        yield pair


async def applied(pair: Pair, document: dict[str, Any]) -> None:
    (await pair.apply(pair.a, document, wait="20")).raise_for_status()


async def limited(pair: Pair, name: str, **limit: Any) -> str:
    """A route of this name whose requests all share one bucket; its path."""
    fields = {"name": name, "per_second": RATE, "burst": BURST, "key": "route", "mode": "fleet", **limit}
    route = {
        "name": name,
        "prefix": f"/{name}",
        "service_name": "orders",
        "public": True,
        "rate_limits": [name],
    }
    await applied(pair, {"rate_limits": [fields], "routes": [route]})
    return f"/{name}"


async def owner_of(pair: Pair, limit: str) -> ControlPlane | None:
    """The control plane that has claimed the limit."""
    store = EtcdStore(EtcdSettings((pair.a.etcd_url,)))
    try:
        entry = await store.get(f"{CLAIMS}{partition_of(limit):02}")
    finally:
        await store.close()
    if entry is None:
        return None
    ports = {str(one.url.rpartition(":")[2]): one for one in (pair.a, pair.b)}
    return next(one for port, one in ports.items() if f"-{port}-" in entry.value.decode())


def seen(instance: Instance, path: str) -> int:
    """Requests on this path that the instance saw, by distinct ids."""
    only = Instance()
    only.heads = [head for head in instance.heads if head.startswith(b"GET %b " % path.encode())]
    return len(request_ids([only]))


async def test_the_fleet_lets_through_no_more_than_one_bucket_and_all_of_it(
    pair: Pair, instance: Instance
) -> None:
    path = await limited(pair, "exact")
    async with Load(pair.ports, path, clients=4, pause=0.01) as load:
        await eventually(lambda: seen(instance, path) >= ENOUGH, within=90)
        await eventually(lambda: passed_by(load) == set(pair.ports), within=90)
    assert overshoot(load.answers, RATE, BURST) <= 0


@pytest.mark.parametrize("how", LOST_BY)
async def test_an_owner_that_is_lost_is_replaced_and_the_bound_holds(
    pair: Pair, instance: Instance, how: str
) -> None:
    name = f"moved-by-{how}"
    path = await limited(pair, name)
    await eventually(lambda: owner_of(pair, name), within=30)
    owner = await owner_of(pair, name)
    assert owner is not None
    async with Load(pair.ports, path, clients=4, pause=0.01) as load:
        await eventually(lambda: seen(instance, path) >= ENOUGH, within=90)
        async with pair.frozen(owner) if how == "freeze" else pair.lost(owner, how):
            await eventually(lambda: replaced(pair, name, owner), within=60)
            before = seen(instance, path)
            await eventually(lambda: seen(instance, path) >= before + BURST, within=90)
        # One that was frozen believes for a moment that it still owns the limit.
        before = seen(instance, path)
        await eventually(lambda: seen(instance, path) >= before + BURST, within=90)
    await pair.settled()
    assert overshoot(load.answers, RATE, BURST) <= 0
    assert await eventually(lambda: overshoots(pair, name), within=30) == {0.0}


async def test_data_planes_that_are_restarted_get_nothing_twice(pair: Pair, instance: Instance) -> None:
    path = await limited(pair, "restarted")
    planes = list(pair.dataplanes.values())
    async with Load(pair.ports, path, clients=4, pause=0.01) as load:
        for turn in range(RESTARTS):
            before = seen(instance, path)
            await eventually(lambda before=before: seen(instance, path) >= before + BURST // 2, within=90)  # type: ignore[misc]
            plane = planes[turn % len(planes)]
            await (pair.kill(plane) if turn % 2 else pair.stop(plane))
            await pair.start(plane)
    await pair.settled()
    assert overshoot(load.answers, RATE, BURST) <= 0


async def test_the_fleet_grows_and_shrinks_under_one_limit(pair: Pair, instance: Instance) -> None:
    path = await limited(pair, "scaled")
    load = Load(dict(pair.ports), path, clients=3, pause=0.02)
    more = [f"more-{number}" for number in range(LARGEST - len(pair.ports))]
    async with load:
        await eventually(lambda: seen(instance, path) >= BURST, within=90)
        await asyncio.gather(*(pair.add(name, *pair.addresses) for name in more))
        async with Load({name: pair.ports[name] for name in more}, path, clients=3, pause=0.02) as added:
            await eventually(lambda: passed_by(added) == set(more), within=120)
            before = seen(instance, path)
            await eventually(lambda: seen(instance, path) >= before + ENOUGH, within=90)
        for name in more:
            await pair.remove(pair.dataplanes[name])
        before = seen(instance, path)
        await eventually(lambda: seen(instance, path) >= before + BURST, within=90)
    assert overshoot([*load.answers, *added.answers], RATE, BURST) <= 0
    assert await eventually(lambda: overshoots(pair, "scaled"), within=30) == {0.0}


async def test_without_any_control_plane_a_strict_limit_lets_nothing_through_and_others_go_on(
    pair: Pair, instance: Instance
) -> None:
    strict = await limited(pair, "strict", without_owner="strict")
    shared = await limited(pair, "shared")
    async with (
        Load(pair.ports, strict, clients=2, pause=0.01) as of_strict,
        Load(pair.ports, shared, clients=2, pause=0.01) as of_shared,
    ):
        await eventually(lambda: seen(instance, strict) >= ENOUGH, within=90)
        await eventually(lambda: seen(instance, shared) >= ENOUGH, within=90)
        async with pair.lost(pair.a, "kill"), pair.lost(pair.b, "kill"):
            await eventually(lambda: nothing_passes(of_strict), within=60)
            before = seen(instance, shared)
            await eventually(lambda: seen(instance, shared) >= before + BURST // 2, within=90)
            assert nothing_passes(of_strict)
        await eventually(lambda: not nothing_passes(of_strict), within=90)
    await pair.settled()
    assert overshoot(of_strict.answers, RATE, BURST) <= 0
    assert overshoot(of_shared.answers, RATE, BURST) <= 0


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_data_planes_that_restart_without_any_control_plane_serve_their_shares(
    pair: Pair, instance: Instance
) -> None:
    path = await limited(pair, "inherited")
    first, second = pair.dataplanes["at-a"], pair.dataplanes["at-b"]
    async with Load(pair.ports, path, clients=4, pause=0.01) as load:
        await eventually(lambda: seen(instance, path) >= ENOUGH, within=90)
        async with pair.lost(pair.a, "kill"), pair.lost(pair.b, "kill"):
            await eventually(lambda: shares(pair, first) and shares(pair, second), within=60)
            recorded, left = time.monotonic(), [(plane, shares(pair, plane)) for plane in (first, second)]
            for end in (pair.stop, pair.kill):
                for plane in (first, second):
                    await end(plane)
                    await pair.start(plane)
                for plane in (first, second):
                    await serves(load, plane, 10)
            for worker in psutil.Process(pair.processes[second.name].pid).children():
                worker.kill()
            await serves(load, second, 10)
            for plane, terms in left:
                own = [one for one in load.since(recorded) if one.node == plane.name]
                assert overshoot(own, sum(one.pace for one in terms), sum(one.starter for one in terms)) <= 0
        await eventually(lambda: not shares(pair, first) and not shares(pair, second), within=60)
        before = seen(instance, path)
        await eventually(lambda: seen(instance, path) >= before + ENOUGH, within=90)
        for plane in (first, second):
            await serves(load, plane, 10)
    await pair.settled()
    assert overshoot(load.answers, RATE, BURST) <= 0
    assert await eventually(lambda: overshoots(pair, "inherited"), within=30) == {0.0}


async def test_the_limit_of_the_settings_is_one_for_the_fleet(pair: Pair, instance: Instance) -> None:
    """Control planes own it by their own settings, which are the defaults here."""
    await limited(pair, "coarse", mode="local", per_second=10_000, burst=10_000)
    settings = {"RATE_LIMIT_PER_SECOND": "100", "RATE_LIMIT_MODE": "fleet"}
    async with (
        pair.guest("coarse-a", pair.a.grpc, **settings) as one,
        pair.guest("coarse-b", pair.b.grpc, WORKERS="2", **settings) as other,
    ):
        ports = {plane.name: plane.port for plane in (one, other)}
        async with Load(ports, "/coarse", clients=8, pause=0.005) as load:
            await eventually(lambda: passed_by(load) == set(ports), within=90)
            await eventually(lambda: refused_by(load) == set(ports), within=90)
            before = seen(instance, "/coarse")
            await eventually(lambda: seen(instance, "/coarse") >= before + 150, within=90)
        assert await eventually(lambda: overshoots(pair, "headgate:address"), within=30) == {0.0}
    assert overshoot(load.answers, 100, 150) <= 0


def shares(pair: Pair, plane: DataPlane) -> list[Share]:
    """The shares of "inherited" that a data plane has recorded for its next process."""
    records = Cache(pair.folder / "run" / f"{plane.name}-cache" / plane.name, "shares").load()
    rows = json.loads(records[0])[2] if records else []
    return [Share(*terms) for _, limit, _, terms in rows if limit == "inherited"]


async def serves(load: Load, plane: DataPlane, more: int) -> None:
    """Wait until a data plane has let through so many more requests."""
    started = time.monotonic()

    def passed() -> bool:
        own = [one for one in load.since(started) if one.node == plane.name and one.status == 200]
        return len(own) >= more

    await eventually(passed, within=90)


async def replaced(pair: Pair, limit: str, former: ControlPlane) -> bool:
    return await owner_of(pair, limit) not in (None, former)


async def overshoots(pair: Pair, limit: str) -> set[float]:
    """What the owner of a limit has measured; empty while nobody owns it."""
    name = f'headgate_limit_overshoot{{limit="{limit}"}}'
    found = [(await pair.metrics(one)).get(name) for one in (pair.a, pair.b)]
    return {value for value in found if value is not None}


def passed_by(load: Load) -> set[str]:
    """The data planes that let something through."""
    return {answer.node for answer in load.answers if answer.status == 200}


def refused_by(load: Load) -> set[str]:
    """Those that refused something."""
    return {answer.node for answer in load.answers if answer.status == 429}


def nothing_passes(load: Load) -> bool:
    """Whether the last hundred answers were refusals."""
    return len(load.answers) > 100 and all(answer.status == 503 for answer in load.answers[-100:])
