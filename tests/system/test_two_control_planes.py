"""Waits at one control plane for data planes that are connected to the other one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

import headgate
from controlplane.store import EtcdSettings, EtcdStore
from demo.processes import ControlPlane, DataPlane
from headgate import RegistrationRequest, ServiceDefinition
from tests.support import pair as pairs
from tests.support.pair import Pair
from tests.support.proxy import Proxy
from tests.support.rolling import Callers, Working
from tests.support.waiting import eventually, within

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """One data plane at `a`, one with two workers at `b`, and one that is at `b` and knows both."""
    async with pairs.running(tmp_path_factory.mktemp("pair")) as pair:
        await asyncio.gather(
            pair.add("at-a", pair.a.grpc),
            pair.add("at-b", pair.b.grpc, WORKERS="2"),
            pair.add(pair.prefers(pair.b, "either"), *pair.addresses),
        )
        await pair.settled()
        assert await pair.serving(pair.a) == {"at-a"}
        (await pair.apply(pair.a, {"services": [{"service_name": "orders"}]})).raise_for_status()
        yield pair


def route(name: str, service: str = "orders") -> dict[str, Any]:
    return {"routes": [{"name": name, "prefix": f"/{name}", "service_name": service, "public": True}]}


async def statuses(pair: Pair, path: str) -> set[int]:
    """What every data plane answers."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return {(await client.get(url)).status_code for url in pair.urls(path)}


async def apply(pair: Pair, document: object, *options: str) -> Any:
    """`headgate apply --wait` at `a`; the receipt."""
    done = await pair.headgate(
        "apply", "-f", "-", "-o", "json", "--wait", *options, stdin=json.dumps(document)
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Changes


async def test_a_receipt_names_the_data_planes_of_both(pair: Pair) -> None:
    for number in range(5):
        receipt = await apply(pair, route(f"everywhere{number}"))
        assert await statuses(pair, f"/everywhere{number}") == {503}, "the route, and nobody behind it"
        assert (receipt["state"], receipt["serving"]) == ("served", 3)
        nodes = {node["node"]: node["applied_revision"] for node in receipt["nodes"] if node["done"]}
        assert set(nodes) == set(pair.dataplanes)
        assert min(nodes.values()) >= receipt["revision"]
        for controlplane in (pair.a, pair.b):
            shown = await pair.view(controlplane, "/dataplanes")
            assert {node["digest"] for node in shown if node["connected"]} == {receipt["digest"]}


async def test_etcd_holds_who_is_there_and_nothing_of_the_data_planes(pair: Pair) -> None:
    store = EtcdStore(EtcdSettings((pair.a.etcd_url,)))
    try:
        before = await store.list("/headgate/fleet/")
        summaries = {entry.value for entry in before.entries if "/members/" not in entry.key}
        addresses = {
            json.loads(entry.value)["address"] for entry in before.entries if "/members/" in entry.key
        }
        assert (summaries, addresses) == ({b""}, set(pair.addresses))
        await apply(pair, route("quietly"))
        after = await store.list("/headgate/fleet/")
        assert after.entries == before.entries, "what they tell each other does not go through the store"
    finally:
        await store.close()


async def test_a_frozen_one_at_the_other_is_named(pair: Pair) -> None:
    late = pair.dataplanes["at-b"]
    async with pair.frozen(late):
        done = await pair.headgate(
            "apply", "-f", "-", "--wait", "--timeout", "1", stdin=json.dumps(route("late"))
        )
        assert done.returncode == 3
        (line,) = done.stderr.splitlines()
        assert "is written, but only 2 of 3 data planes serve it; not yet: at-b (serves revision" in line
        assert (await apply(pair, route("late"), "--quorum", "2"))["serving"] == 2
    assert (await apply(pair, route("late")))["serving"] == 3


async def test_a_frozen_control_plane_is_left_within_two_seconds(pair: Pair) -> None:
    async with pair.guest(pair.prefers(pair.b, "moving"), *pair.addresses) as moving:
        await pair.settled()
        assert moving.name in await pair.serving(pair.b)
        async with pair.frozen(pair.b):
            begun = time.monotonic()

            async def moved() -> bool:
                return moving.name in await pair.serving(pair.a)

            await eventually(moved, within=30)
            assert time.monotonic() - begun < 5, "2 s, and what a busy machine adds"


async def test_a_rejection_at_the_other_ends_the_wait_and_shows_here(pair: Pair) -> None:
    await apply(pair, route("known"))
    count = len(await pair.view(pair.a, "/routes"))
    bound = {"MAX_ROUTES": str(count + 1)}
    why = f"{count + 3} exceeds MAX_ROUTES {count + 1}"
    names = [f"many{number}" for number in range(3)]
    async with pair.guest("small", pair.b.grpc, **bound), AsyncExitStack() as undone:
        for name in names:
            undone.push_async_callback(pair.headgate, "delete", "route", name)
        await pair.settled()
        begun = time.monotonic()
        document = {"routes": [route(name)["routes"][0] for name in names]}
        refused = await pair.apply(pair.a, document, wait="50")
        assert refused.status_code == 409, refused.text
        assert time.monotonic() - begun < 10
        (rejecting,) = (node for node in refused.json()["nodes"] if node["rejection"])
        assert rejecting["node"] == "small"

        shown = {node["node"]: node for node in await pair.view(pair.a, "/dataplanes")}
        assert why in str(shown["small"]["last_rejection"])
        status = await pair.headgate("status", "-o", "json")
        assert why in status.stdout

        # A new one that meets the rejected revision serves what all others served before it.
        async with pair.guest("small-too", pair.b.grpc, **bound) as new:
            shown = {node["node"]: node for node in await pair.view(pair.b, "/dataplanes")}
            assert shown["small-too"]["applied_revision"] == shown["small"]["applied_revision"]
            assert why in str(shown["small-too"]["last_rejection"])
            async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
                answers = [(await client.get(new.url + path)).status_code for path in ("/known", "/many2")]
            assert answers == [503, 404], "an old route that nobody is behind, and a new one"

        revision = shown["small"]["last_rejection"]["revision"]
        sample = 'headgate_controlplane_dataplane_rejected_revision{node="small"}'
        for controlplane in (pair.a, pair.b):
            assert (await pair.metrics(controlplane))[sample] == revision


# Instances


def at(*controlplanes: ControlPlane) -> dict[str, Any]:
    """How the SDK reaches these control planes."""
    addresses = ",".join(one.grpc for one in controlplanes)
    return {"controlplane": addresses, "token": controlplanes[0].secrets.service_token}


def request(instance: Working, service: str) -> RegistrationRequest:
    definition = ServiceDefinition(service, check_interval=1, check_timeout=5)
    return RegistrationRequest(service, instance.name, "127.0.0.1", instance.port, definition=definition)


@asynccontextmanager
async def serving(service: str, name: str, *controlplanes: ControlPlane) -> AsyncIterator[Working]:
    """An instance that is registered within the block, routable from the start, and breaks off right after it."""
    async with Working(name) as instance:
        async with headgate.register(
            ServiceDefinition(service, check_interval=1, check_timeout=5),
            host="127.0.0.1",
            port=instance.port,
            instance_id=name,
            wait=20,
            **at(*controlplanes),
        ):
            yield instance
        assert instance.busy == 0
        await instance.die()


@asynccontextmanager
async def called(pair: Pair, path: str, clients: int = 9) -> AsyncIterator[Callers]:
    """Requests to every data plane within the block."""
    callers = Callers(pair.urls(path))
    task = asyncio.create_task(callers.run(clients))
    try:
        yield callers
    finally:
        callers.end()
        await task


async def test_registered_with_wait_it_is_routable_at_the_other(pair: Pair) -> None:
    async with serving("new", "new-1", pair.a):
        pass  # the service exists now
    (await pair.apply(pair.a, route("new", "new"), wait="20")).raise_for_status()
    for number in range(5):
        async with serving("new", f"new-{number}", pair.a):
            assert await statuses(pair, "/new") == {200}


async def test_rolled_at_one_under_load_through_both(pair: Pair) -> None:
    stack = AsyncExitStack()
    await stack.enter_async_context(serving("rolled", "generation-0", pair.a))
    (await pair.apply(pair.a, route("rolled", "rolled"), wait="20")).raise_for_status()
    leaving: list[float] = []
    async with called(pair, "/rolled") as callers:
        for generation in range(1, 5):
            await callers.more(f"generation-{generation - 1}")
            newer = AsyncExitStack()
            await newer.enter_async_context(serving("rolled", f"generation-{generation}", pair.a))
            begun = time.monotonic()
            await stack.aclose()
            leaving.append(time.monotonic() - begun)
            stack = newer
        await callers.more("generation-4")
    await stack.aclose()
    assert set(callers.answers) == {f"generation-{number}" for number in range(5)}, callers.answers
    # Two control planes tell each other of their data planes a few times a second.
    assert max(leaving) < 4, leaving
    print(f"{callers.answers.total()} requests; leaving took at most {max(leaving) * 1000:.0f} ms")  # noqa: T201


@pytest.mark.parametrize("how", ["deregister", "drain"])
async def test_stopped_from_outside_at_one_under_load_through_both(pair: Pair, how: str) -> None:
    service = f"stopped-by-{how}"
    async with (
        Working("stays") as stays,
        Working("leaves") as leaves,
        headgate.connect(**at(pair.a)) as gateway,
    ):
        for instance in (stays, leaves):
            await gateway.registry.register_service(request(instance, service), wait=True)
        (await pair.apply(pair.a, route(service, service), wait="20")).raise_for_status()
        async with called(pair, f"/{service}") as callers:
            await callers.more("leaves")
            if how == "drain":
                environment = {"HEADGATE_CONTROLPLANE": pair.a.grpc}
                environment["HEADGATE_TOKEN"] = pair.a.secrets.service_token
                done = await pair.headgate("drain", service, "leaves", **environment)
                assert done.returncode == 0, done.stderr
            else:
                await gateway.registry.deregister_service(service, "leaves", wait=True)
            assert leaves.busy == 0
            await leaves.die()
            await callers.more("stays", 100)
        assert set(callers.answers) == {"stays", "leaves"}, callers.answers
        await gateway.registry.deregister_service(service, "stays")


@asynccontextmanager
async def held(
    pair: Pair, plane: DataPlane, service: str
) -> AsyncIterator[tuple[Working, asyncio.Task[Any]]]:
    """A request that is under way through this data plane, at the only instance of the service."""
    async with (
        Working("held") as instance,
        headgate.connect(**at(pair.a)) as gateway,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        await gateway.registry.register_service(request(instance, service), wait=True)
        (await pair.apply(pair.a, route(service, service), wait="20")).raise_for_status()
        instance.hold = asyncio.Event()
        asking = asyncio.create_task(client.get(f"{plane.url}/{service}"))
        await eventually(lambda: instance.waiting == 1)
        try:
            yield instance, asking
        finally:
            instance.hold.set()
            await asking
            instance.hold = None


async def test_a_request_under_way_at_the_other_holds_the_drain_up(pair: Pair) -> None:
    async with (
        held(pair, pair.dataplanes["at-b"], "busy") as (instance, asking),
        headgate.connect(**at(pair.a)) as gateway,
    ):
        with pytest.raises(headgate.Stragglers) as late:
            await gateway.registry.drain_service("busy", "held", wait=1)
        assert late.value.nodes == {"at-b": "1 request under way"}
        draining = asyncio.create_task(gateway.registry.drain_service("busy", "held"))
        assert instance.hold is not None
        instance.hold.set()
        assert (await asking).text == "held"
        await within(draining, 30)


@pytest.mark.parametrize("end", ["stop", "kill", "cut"])
async def test_a_drain_while_the_other_is_lost_waits_for_those_that_move(pair: Pair, end: str) -> None:
    """The data plane has left the one, cannot say hello to the other yet, and has a request under way all the time."""
    service = f"moved-by-{end}"
    async with (
        Proxy(pair.a.grpc_port) as here,
        Proxy(pair.b.grpc_port) as there,
        headgate.connect(**at(pair.a)) as gateway,
    ):
        here.refusing = True
        addresses = (f"127.0.0.1:{here.port}", f"127.0.0.1:{there.port}")
        async with pair.guest("moves", *addresses) as moving, AsyncExitStack() as stack:
            await pair.settled()
            async with held(pair, moving, service), pair.stopped_clock(pair.a):
                if end == "cut":
                    there.refusing = True
                    there.cut()
                else:
                    await stack.enter_async_context(pair.lost(pair.b, end))
                if end != "kill":
                    await eventually(lambda: _gone(pair, "moves"))
                assert await stragglers(gateway, service, wait=1)
                here.refusing = False

                async def back() -> bool:
                    late = await stragglers(gateway, service, wait=0.3)
                    return late.get("moves") == "1 request under way"

                await eventually(back, within=30)


async def stragglers(gateway: headgate.Gateway, service: str, wait: float) -> Mapping[str, str]:
    """Those that a drain of the held instance waits for in vain; fails when it does not."""
    with pytest.raises(headgate.Stragglers) as late:
        await gateway.registry.drain_service(service, "held", wait=wait)
    return late.value.nodes


async def _gone(pair: Pair, name: str) -> bool:
    """Whether `a` has heard that a data plane lost its stream."""
    return not {node["node"]: node["connected"] for node in await pair.view(pair.a, "/dataplanes")}[name]
