"""Registrations through faults: real etcd, real control planes, the SDK; no lease may end, and none be taken anew."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

import headgate
from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets
from headgate import RegistrationRequest, ServiceDefinition
from tests.support.instance import Instance as Upstream
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)

TTL = 12.0
SERVICES = 10


class World:
    """etcd and two control planes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etcd = Etcd()
        self.secrets = Secrets()
        self.token = self.secrets.service_token
        self.a, self.b = (ControlPlane(self.etcd.url, self.secrets, f"controlplane-{name}") for name in "ab")
        self.etcd_process: Process | None = None
        self.processes: dict[str, Process] = {}

    async def start(self, stack: AsyncExitStack) -> None:
        from controlplane.store import EtcdSettings, EtcdStore

        self.etcd_process = await asyncio.to_thread(self.etcd.start, self.folder)
        stack.callback(self.etcd_process.stop)
        for one in (self.a, self.b):
            self.processes[one.name] = process = await asyncio.to_thread(one.start, self.folder)
            stack.callback(process.stop)
        self.store = EtcdStore(EtcdSettings((self.etcd.url,)))
        stack.push_async_callback(self.store.close)

    async def leases(self) -> Mapping[str, int]:
        """The leases of the instances of our services, by key."""
        entries = (await self.store.list("/headgate/v1/instance/s")).entries
        return {entry.key: entry.lease for entry in entries}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World(tmp_path)
        await world.start(stack)
        yield world


async def register(gateway: headgate.Gateway, count: int, ttl: float = TTL, port: int = 1000) -> None:
    """So many instances, of which one process holds each; the first one at this port."""
    turns = asyncio.Semaphore(20)

    async def one(number: int) -> None:
        name = f"s{number % SERVICES}"
        request = RegistrationRequest(
            name, f"i{number}", "127.0.0.1", port + number, definition=ServiceDefinition(name), ttl=ttl
        )
        async with turns:
            await gateway.registry.register_service(request)

    await asyncio.gather(*map(one, range(SERVICES)))
    await asyncio.gather(*map(one, range(SERVICES, count)))


async def keeps(world: World, before: Mapping[str, int], seconds: float) -> None:
    """Watch the instances for longer than a lease that nobody renews would live."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        assert await world.leases() == before
        await asyncio.sleep(0.5)


@pytest.mark.long
async def test_a_control_plane_that_is_killed_takes_none_of_a_thousand_registrations_along(
    world: World,
) -> None:
    async with headgate.connect(f"{world.a.grpc},{world.b.grpc}", token=world.token) as gateway:
        await register(gateway, 1000, ttl=20)
        before = await world.leases()
        assert len(before) == 1000
        world.processes[world.a.name].signal(signal.SIGKILL)
        await keeps(world, before, 24)


@pytest.mark.long
async def test_a_control_plane_that_is_restarted_is_kept_to(world: World) -> None:
    async with headgate.connect(world.a.grpc, token=world.token) as gateway:
        # A busy machine takes ten seconds to start a control plane, and meanwhile nothing is renewed.
        await register(gateway, 20, ttl=2 * TTL)
        before = await world.leases()
        await asyncio.to_thread(world.processes[world.a.name].stop)
        again = await asyncio.to_thread(world.a.start, world.folder)
        try:
            await keeps(world, before, 2 * TTL + 2)
        finally:
            await asyncio.to_thread(again.stop)


@pytest.mark.long
async def test_a_store_that_freezes_for_less_than_the_ttl_loses_nothing(world: World) -> None:
    assert world.etcd_process is not None
    async with headgate.connect(world.a.grpc, token=world.token) as gateway:
        await register(gateway, 20)
        before = await world.leases()
        world.etcd_process.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(TTL / 2)  # the fault itself
        finally:
            world.etcd_process.signal(signal.SIGCONT)
        await keeps(world, before, TTL + 2)


@pytest.mark.long
async def test_a_stream_into_a_black_hole_is_left_before_the_lease_ends(world: World) -> None:
    async with Proxy(world.a.grpc_port) as proxy:
        addresses = f"127.0.0.1:{proxy.port},{world.b.grpc}"
        async with headgate.connect(addresses, token=world.token) as gateway:
            await register(gateway, 20, ttl=15)
            before = await world.leases()
            await asyncio.sleep(6)  # each has been renewed over the stream
            proxy.silent = True
            await keeps(world, before, 20)
            proxy.silent = False


async def test_a_process_that_dies_leaves_when_its_lease_ends(world: World) -> None:
    async with headgate.connect(world.a.grpc, token=world.token) as gateway:
        await register(gateway, 20, ttl=5)
        assert len(await world.leases()) == 20
    # Closing the connection says no goodbye.

    async def gone() -> bool:
        return not await world.leases()

    await eventually(gone, within=15)


async def test_every_control_plane_is_away_for_longer_than_the_leases(world: World) -> None:
    """Traffic goes on meanwhile, and each process registers anew by itself once one is back."""
    dataplane = DataPlane(f"{world.a.grpc},{world.b.grpc}", world.secrets)
    async with (
        Upstream("s0") as instance,
        headgate.connect(f"{world.a.grpc},{world.b.grpc}", token=world.token) as gateway,
        httpx.AsyncClient(base_url=dataplane.url, trust_env=False) as client,
    ):
        await register(gateway, SERVICES, ttl=5, port=instance.port)
        await asyncio.to_thread(route, world.a, "before")
        serving = await asyncio.to_thread(dataplane.start, world.folder)
        try:
            await eventually(answered(client, "/before"))
            for process in world.processes.values():
                await asyncio.to_thread(process.kill)

            async def ended() -> bool:
                return not await world.leases()

            await eventually(ended)
            assert (await client.get("/before")).text == "s0"

            world.processes[world.b.name] = again = await asyncio.to_thread(world.b.start, world.folder)
            try:

                async def all_are_back() -> bool:
                    return len(await world.leases()) == SERVICES

                await eventually(all_are_back)
                await asyncio.to_thread(route, world.b, "after")
                await eventually(answered(client, "/after"))
            finally:
                await asyncio.to_thread(again.stop)
        finally:
            await asyncio.to_thread(serving.stop)


def route(controlplane: ControlPlane, name: str) -> None:
    """A public route to the first service."""
    made = {"name": name, "prefix": f"/{name}", "service_name": "s0", "public": True}
    with controlplane.admin() as admin:
        admin.post("/api/v1/apply", json={"routes": [made]}).raise_for_status()


def answered(client: httpx.AsyncClient, path: str) -> Callable[[], Awaitable[bool]]:
    """Whether an instance answers."""

    async def condition() -> bool:
        return (await client.get(path)).status_code == 200

    return condition
