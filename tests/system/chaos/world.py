"""Three etcd members, two control planes, three data planes and a service, with a faulty wire between any two.

data planes ── wires ──▶ control planes ── wires, for each its own ──▶ etcd members
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

import headgate
from demo.ports import free_port
from demo.processes import ControlPlane, DataPlane, Process, Secrets, answers, kill_all, wait_or_kill
from headgate import ServiceDefinition
from tests.support.etcd import Etcd, cluster
from tests.support.instance import Instance
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

T = TypeVar("T")

SERVICE = "orders"
ROUTE: dict[str, Any] = {"name": SERVICE, "prefix": f"/{SERVICE}", "service_name": SERVICE, "public": True}


@dataclass
class ChaosWorld:
    """Everything that runs. What blocks is called through `blocking`, so that the wires keep working."""

    folder: Path
    members: list[Etcd]
    store_wires: list[Proxy]
    """From any control plane to any etcd member: those of the first control plane, then those of the second."""
    control_wires: list[Proxy]
    controlplanes: list[ControlPlane]
    dataplanes: list[DataPlane]
    instances: list[Instance]
    processes: dict[str, Process] = field(default_factory=dict)

    def wires_of(self, plane: ControlPlane) -> list[Proxy]:
        """One control plane's wires to the store."""
        each = len(self.members)
        first = self.controlplanes.index(plane) * each
        return self.store_wires[first : first + each]

    @property
    def addresses(self) -> str:
        """Of the control planes, for data planes and services."""
        return ",".join(f"127.0.0.1:{wire.port}" for wire in self.control_wires)

    def registered(self, instance: Instance, **options: Any) -> headgate.Registration:
        """An instance of the service, registered within the block."""
        return headgate.register(
            ServiceDefinition(SERVICE, check_interval=1, check_timeout=5),
            host="127.0.0.1",
            port=instance.port,
            instance_id=instance.name,
            controlplane=self.addresses,
            token=self.controlplanes[0].secrets.service_token,
            # Longer than a busy machine takes to bring back every etcd and control plane.
            ttl=60,
            **options,
        )

    @property
    def ports(self) -> dict[str, int]:
        """Traffic ports by node."""
        return {plane.name: plane.port for plane in self.dataplanes}

    async def start(self, plane: ControlPlane | DataPlane, *, wait: bool = True) -> None:
        """Start a plane, again after an end."""
        process = self.processes[plane.name] = plane.start(self.folder / "run", wait=False)
        if wait:
            await blocking(lambda: wait_or_kill(answers(plane.ready_url), process))

    async def kill(self, name: str) -> None:
        await blocking(self.processes[name].kill)

    async def stop(self, name: str) -> None:
        await blocking(self.processes[name].stop)

    @asynccontextmanager
    async def frozen(self, *names: str) -> AsyncIterator[None]:
        """SIGSTOP within the block; SIGCONT after it."""
        for name in names:
            self.processes[name].signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for name in names:
                self.processes[name].signal(signal.SIGCONT)

    def workers(self, name: str) -> list[psutil.Process]:
        """The worker processes of a data plane."""
        return psutil.Process(self.processes[name].pid).children()

    async def leader(self) -> Etcd:
        """The etcd member that leads."""

        def find() -> Etcd | None:
            for member in self.members:
                try:
                    if member.leads:
                        return member
                except httpx.HTTPError:
                    continue
            return None

        found = await eventually(lambda: blocking(find), within=30)
        assert found is not None
        return found

    async def follower(self) -> Etcd:
        leader = await self.leader()
        return next(member for member in self.members if member is not leader)

    async def view(self, path: str, plane: int = 0) -> Any:
        """A GET on the admin API of one control plane."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            return (await client.get(self.controlplanes[plane].url + path)).json()

    async def busiest(self) -> ControlPlane:
        """The control plane that most data planes are connected to."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            shown = [
                (await client.get(f"{plane.status_url}/debug/config")).json() for plane in self.dataplanes
            ]
        chosen = Counter(config["controlplane"] for config in shown)
        address = f"127.0.0.1:{self.control_wires[0].port}"
        return self.controlplanes[0 if 2 * chosen[address] > len(shown) else 1]

    async def healthy(self) -> None:
        """Wait until every data plane is ready, and has found every instance of the service healthy."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

            async def found() -> bool:
                for plane in self.dataplanes:
                    if (await client.get(f"{plane.status_url}/ready")).status_code != 200:
                        return False
                    services = (await client.get(f"{plane.status_url}/health")).json()["services"]
                    if services.get(SERVICE, {}).get("healthy") != len(self.instances):
                        return False
                return True

            await eventually(found, within=30)

    async def holds(self, service: str, instances: int, plane: int) -> bool:
        """Whether a control plane knows so many instances of a service."""
        services = {one["service_name"]: one for one in await self.view("/api/v1/services", plane)}
        return service in services and bool(services[service]["total"] == instances)

    async def settled(self, within: float = 30.0) -> None:
        """Wait until all processes answer, and every data plane is connected and serves what is published."""
        await eventually(self._settled, within=within, every=0.1)

    async def _settled(self) -> bool:
        for index in range(len(self.controlplanes)):
            health = await self.view("/health", index)
            if health["store"] != "ok" or health["problems"]:
                return False
            fleet = await self.view("/api/v1/dataplanes", index)
            if {node["node"] for node in fleet if node["connected"]} != set(self.ports):
                return False
            if len({node["digest"] for node in fleet}) > 1:
                return False
        return True


async def blocking(work: Callable[[], T]) -> T:
    """Run what blocks in a thread."""
    return await asyncio.to_thread(work)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[ChaosWorld]:
    """The world, settled, with the service registered and its route published."""
    async with AsyncExitStack() as stack:
        cluster_of_three = cluster(folder / "etcd", 3)
        members = await blocking(cluster_of_three.__enter__)
        stack.push_async_callback(lambda: blocking(lambda: cluster_of_three.__exit__(None, None, None)))
        store_wires = [await stack.enter_async_context(Proxy(member.port)) for member in (*members, *members)]
        grpc_ports = [free_port(), free_port()]
        control_wires = [await stack.enter_async_context(Proxy(port)) for port in grpc_ports]
        secrets = Secrets()
        settings = {"ANONYMOUS_READ": "true"}
        urls = [",".join(wire.url for wire in wires) for wires in (store_wires[:3], store_wires[3:])]
        controlplanes = [
            ControlPlane(endpoints, secrets, f"controlplane-{number}", grpc_port=port, settings=settings)
            for number, (port, endpoints) in enumerate(zip(grpc_ports, urls, strict=True), 1)
        ]
        addresses = ",".join(f"127.0.0.1:{wire.port}" for wire in control_wires)
        quiet = {"RATE_LIMIT_PER_SECOND": "0", "ACCESS_LOG": "false"}
        dataplanes = [DataPlane(addresses, secrets, f"gw-{number}", settings=quiet) for number in (1, 2, 3)]
        instances = [await stack.enter_async_context(Instance(f"{SERVICE}-{number}")) for number in (1, 2)]
        world = ChaosWorld(folder, members, store_wires, control_wires, controlplanes, dataplanes, instances)
        stack.push_async_callback(_end, world)
        for plane in controlplanes:
            await world.start(plane)
        for dataplane in dataplanes:
            await world.start(dataplane, wait=False)
        for instance in instances:
            await stack.enter_async_context(world.registered(instance))
        yield world


async def _end(world: ChaosWorld) -> None:
    await blocking(lambda: kill_all(list(world.processes.values())))
