"""A service rolled under load: no request fails, though every instance breaks off at once when it is told it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

import headgate
from demo.processes import DataPlane
from demo.world import World
from headgate import RegistrationRequest, ServiceDefinition
from tests.support.instance import Instance
from tests.support.rolling import Callers, Working
from tests.support.waiting import eventually, within

DEFINITION = ServiceDefinition("rolled", check_interval=1, check_timeout=10)
"""A probe waits for longer than a busy machine keeps an instance from its turn."""


@pytest.fixture(scope="module")
def planes(world: World) -> Sequence[DataPlane]:
    """Two data planes beside the demo's, without a limit for one address, the second with two workers."""
    made = []
    for name, workers in (("free-1", "1"), ("free-2", "2")):
        settings = {"RATE_LIMIT_PER_SECOND": "0", "WORKERS": workers}
        plane = DataPlane(world.controlplane.grpc, world.controlplane.secrets, name, settings=settings)
        world.processes[name] = plane.start(world.folder / "run")
        made.append(plane)
    return made


def connection(world: World) -> dict[str, Any]:
    return {"controlplane": world.controlplane.grpc, "token": world.controlplane.secrets.service_token}


def request(instance: Instance, port: int) -> RegistrationRequest:
    return RegistrationRequest("rolled", instance.name, "127.0.0.1", port, definition=DEFINITION)


@asynccontextmanager
async def serving(world: World, name: str) -> AsyncIterator[Working]:
    """An instance that is registered within the block, routable from the start, and breaks off right after it."""
    async with Working(name) as instance:
        async with headgate.register(
            DEFINITION,
            host="127.0.0.1",
            port=instance.port,
            instance_id=name,
            wait=20,
            **connection(world),
        ):
            yield instance
        assert instance.busy == 0
        await instance.die()


def route(world: World) -> None:
    with world.controlplane.admin() as admin:
        document = {
            "routes": [{"name": "rolled", "prefix": "/rolled", "service_name": "rolled", "public": True}]
        }
        admin.post("/api/v1/apply?wait=20", json=document).raise_for_status()


async def test_rolled_under_load_without_a_failed_request(world: World, planes: Sequence[DataPlane]) -> None:
    load = Callers([f"{plane.url}/rolled" for plane in planes])
    stack = AsyncExitStack()
    await stack.enter_async_context(serving(world, "generation-0"))
    await asyncio.to_thread(route, world)
    running = asyncio.create_task(load.run(16))
    leaving: list[float] = []
    try:
        for generation in range(1, 5):
            await load.more(f"generation-{generation - 1}")
            newer = AsyncExitStack()
            await newer.enter_async_context(serving(world, f"generation-{generation}"))
            begun = time.monotonic()
            await stack.aclose()
            leaving.append(time.monotonic() - begun)
            stack = newer
        await load.more("generation-4")
    finally:
        load.end()
        await running
        await stack.aclose()
    assert set(load.answers) == {f"generation-{number}" for number in range(5)}, load.answers
    # The barrier costs what is under way and a few exchanges with the data planes.
    assert max(leaving) < 3, leaving
    print(f"{load.answers.total()} requests, none failed; leaving took at most {max(leaving) * 1000:.0f} ms")  # noqa: T201


async def test_a_request_under_way_holds_the_drain_up(world: World, planes: Sequence[DataPlane]) -> None:
    async with (
        serving(world, "first") as first,
        Working("second") as second,
        headgate.connect(**connection(world)) as gateway,
        httpx.AsyncClient(trust_env=False, timeout=20) as client,
    ):
        await asyncio.to_thread(route, world)
        first.hold = asyncio.Event()
        url = f"{planes[1].url}/rolled"
        held = asyncio.create_task(client.get(url))
        await eventually(lambda: first.waiting == 1)
        await gateway.registry.register_service(request(second, second.port), wait=True)

        with pytest.raises(headgate.Stragglers) as late:
            await gateway.registry.drain_service("rolled", "first", wait=1)
        assert late.value.nodes == {"free-2": "1 request under way"}
        service = await gateway.registry.get_service("rolled")
        assert service.instances["first"].status == "draining"
        for _ in range(4):
            assert (await client.get(url)).text == "second"

        draining = asyncio.create_task(gateway.registry.drain_service("rolled", "first"))
        first.hold.set()
        assert (await held).text == "first"
        await within(draining, 30)
        first.hold = None
        await gateway.registry.deregister_service("rolled", "second")


async def test_waiting_for_an_instance_that_fails_its_probes(
    world: World, planes: Sequence[DataPlane]
) -> None:
    async with Working("ill") as ill, headgate.connect(**connection(world)) as gateway:
        ill.healthy = False
        with pytest.raises(headgate.Stragglers) as late:
            await gateway.registry.register_service(request(ill, ill.port), wait=1)
        assert set(late.value.nodes) == {"free-1", "free-2", *(p.name for p in world.dataplanes)}
        assert "finds it" in str(late.value)
        ill.healthy = True
        await gateway.registry.register_service(request(ill, ill.port), wait=True)
        await gateway.registry.deregister_service("rolled", "ill")


async def test_a_control_plane_that_has_just_started_knows_of_no_drain(
    world: World, planes: Sequence[DataPlane]
) -> None:
    """Nobody is connected yet, and everybody serves on: that is not "no requests under way"."""
    async with (
        serving(world, "held") as held,
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
    ):
        await asyncio.to_thread(route, world)
        held.hold = asyncio.Event()
        asking = asyncio.create_task(client.get(f"{planes[0].url}/rolled"))
        await eventually(lambda: held.waiting == 1)
        world.processes["controlplane"].kill()
        restart = world.controlplane.start
        world.processes["controlplane"] = await asyncio.to_thread(restart, world.folder / "run")
        async with headgate.connect(**connection(world)) as gateway:
            with pytest.raises(headgate.Stragglers) as late:
                await gateway.registry.drain_service("rolled", "held", wait=6)
            assert late.value.nodes == {"free-1": "1 request under way"}
            held.hold.set()
            assert (await asking).status_code == 200
            await gateway.registry.drain_service("rolled", "held", wait=5)
        held.hold = None
