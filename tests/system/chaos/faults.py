"""The faults. Each is a function that makes one, keeps it up for a while, and has mended it when it returns."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.etcd import Etcd, base64_of
from tests.support.load import Load
from tests.support.proxy import Proxy
from tests.support.rolling import Working
from tests.support.waiting import eventually
from tests.system.chaos.history import History
from tests.system.chaos.world import SERVICE, ChaosWorld, blocking


@dataclass
class Scene:
    """The world, those who use it, and those who look."""

    world: ChaosWorld
    load: Load
    history: History
    luck: random.Random = field(default_factory=lambda: random.Random(1))
    held: float = 3.0
    """Seconds for which faults are kept up."""

    async def hold(self, seconds: float | None = None) -> None:
        await asyncio.sleep(self.held if seconds is None else seconds)

    def a_controlplane(self) -> str:
        return self.luck.choice(self.world.controlplanes).name

    def a_dataplane(self) -> str:
        return self.luck.choice(self.world.dataplanes).name


Fault = Callable[[Scene], Awaitable[None]]


# etcd


async def _kill_member(scene: Scene, member: Etcd) -> None:
    await blocking(member.kill)
    await scene.hold()
    await blocking(member.start)


async def _freeze_member(scene: Scene, member: Etcd) -> None:
    await blocking(member.freeze)
    await scene.hold()
    await blocking(member.thaw)


async def etcd_leader_killed(scene: Scene) -> None:
    await _kill_member(scene, await scene.world.leader())


async def etcd_follower_killed(scene: Scene) -> None:
    await _kill_member(scene, await scene.world.follower())


async def etcd_leader_frozen(scene: Scene) -> None:
    await _freeze_member(scene, await scene.world.leader())


async def etcd_follower_frozen(scene: Scene) -> None:
    await _freeze_member(scene, await scene.world.follower())


async def two_of_three_killed(scene: Scene) -> None:
    two = scene.luck.sample(scene.world.members, 2)
    for member in two:
        await blocking(member.kill)
    await scene.hold()
    for member in two:
        await blocking(member.launch)
    for member in two:
        await blocking(member.wait)


async def two_of_three_frozen(scene: Scene) -> None:
    two = scene.luck.sample(scene.world.members, 2)
    for member in two:
        await blocking(member.freeze)
    await scene.hold()
    for member in two:
        await blocking(member.thaw)


async def stale_member_alone(scene: Scene) -> None:
    """The only member that answers missed what was written last, and there is nobody who could tell it."""
    stale = await scene.world.follower()
    others = [member for member in scene.world.members if member is not stale]
    await blocking(stale.freeze)
    written = len(scene.history.acknowledged)
    await eventually(lambda: len(scene.history.acknowledged) > written + 2, within=30)
    for member in others:
        await blocking(member.freeze)
    await blocking(stale.thaw)
    await scene.hold()
    for member in others:
        await blocking(member.thaw)


async def compacted_while_disconnected(scene: Scene) -> None:
    """What was written and deleted meanwhile is not in the history any more when the control planes are back."""
    for wire in scene.world.store_wires:
        wire.refusing = True
        wire.cut()
    member = await scene.world.leader()
    name = f"meanwhile-{scene.luck.getrandbits(32):x}"
    value = {"name": name, "prefix": f"/{name}", "service_name": SERVICE, "public": True}
    revision = await blocking(lambda: member.put(f"/headgate/v1/route/{name}", json.dumps(value)))
    gone = base64_of("/headgate/v1/route/to-be-deleted")
    answer = await blocking(lambda: member.ask("kv/deleterange", {"key": gone}))
    revision = int(answer["header"]["revision"])
    await blocking(lambda: member.compact(revision))
    await scene.hold()
    for wire in scene.world.store_wires:
        wire.refusing = False
    await eventually(lambda: _has_route(scene, name, "to-be-deleted"), within=30)


async def _has_route(scene: Scene, there: str, gone: str) -> bool:
    for plane in (0, 1):
        names = {route["name"] for route in await scene.world.view("/api/v1/routes", plane)}
        if there not in names or gone in names:
            return False
    return True


# planes


async def control_plane_killed(scene: Scene) -> None:
    await _restart(scene, scene.a_controlplane(), scene.world.kill)


async def control_plane_stopped(scene: Scene) -> None:
    await _restart(scene, scene.a_controlplane(), scene.world.stop)


async def _restart(scene: Scene, name: str, end: Callable[[str], Awaitable[None]]) -> None:
    await end(name)
    await scene.hold()
    await scene.world.start(next(one for one in scene.world.controlplanes if one.name == name))


async def control_plane_frozen(scene: Scene) -> None:
    async with scene.world.frozen(scene.a_controlplane()):
        await scene.hold(max(scene.held, 11.0))  # longer than leases and than it takes data planes to notice


async def elected_control_plane_killed(scene: Scene) -> None:
    if (leader := await _elected(scene)) is None:
        return
    await scene.world.kill(leader)
    await eventually(lambda: _other_elected(scene, leader), within=40)
    await scene.world.start(next(one for one in scene.world.controlplanes if one.name == leader))


async def elected_control_plane_frozen(scene: Scene) -> None:
    """The other one leads meanwhile, and goes on to when it wakes."""
    leader = await _elected(scene)
    if leader is None:
        return
    async with scene.world.frozen(leader):
        await eventually(lambda: _other_elected(scene, leader), within=40)
    await scene.hold()


async def _elected(scene: Scene) -> str | None:
    """Name of the control plane that leads; None when there is nothing to be elected for."""
    member = scene.world.members[0]
    listing = {"key": base64_of("/headgate/election/"), "range_end": base64_of("/headgate/election0")}
    found = (await blocking(lambda: member.ask("kv/range", listing))).get("kvs", [])
    if not found:
        return None
    candidate = base64.b64decode(found[0]["value"]).decode()
    for plane in scene.world.controlplanes:
        if f"-{plane.admin_port}" in candidate:
            return plane.name
    raise AssertionError(f"nobody is called {candidate}")


async def _other_elected(scene: Scene, leader: str) -> bool:
    return await _elected(scene) not in (None, leader)


async def data_plane_killed(scene: Scene) -> None:
    name = scene.a_dataplane()
    async with scene.load.sparing(name):
        await scene.world.kill(name)
        await scene.hold(1.0)
        await scene.world.start(next(one for one in scene.world.dataplanes if one.name == name))


async def worker_killed(scene: Scene) -> None:
    name = scene.a_dataplane()
    async with scene.load.sparing(name):
        killed = scene.world.workers(name)
        for worker in killed:
            worker.kill()
        await blocking(lambda: psutil.wait_procs(killed, timeout=5))
        plane = next(one for one in scene.world.dataplanes if one.name == name)
        await eventually(lambda: _accepts(plane.port), within=30)
        await scene.world.healthy()


async def _accepts(port: int) -> bool:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    return True


async def data_plane_frozen(scene: Scene) -> None:
    """With its workers; it goes on from where it was, and catches up."""
    name = scene.a_dataplane()
    async with scene.load.sparing(name):
        workers = scene.world.workers(name)
        async with scene.world.frozen(name):
            for worker in workers:
                worker.suspend()
            await scene.hold()  # in the long form longer than it takes control planes to notice
            for worker in workers:
                worker.resume()
        await scene.world.healthy()


async def supervisor_frozen(scene: Scene) -> None:
    """Its workers go on."""
    async with scene.world.frozen(scene.a_dataplane()):
        await scene.hold()


async def data_plane_restarted_alone(scene: Scene) -> None:
    """Nothing else runs: it serves what it has on disk."""
    world, name = scene.world, scene.a_dataplane()
    plane = next(one for one in world.dataplanes if one.name == name)
    for other in world.controlplanes:
        await world.kill(other.name)
    for member in world.members:
        await blocking(member.kill)
    async with scene.load.sparing(name):
        await world.kill(name)
        await world.start(plane)
    await scene.hold()
    for member in world.members:
        await blocking(member.launch)
    for member in world.members:
        await blocking(member.wait)
    for other in world.controlplanes:
        await world.start(other)


async def rolling_upgrade_of_control_planes(scene: Scene) -> None:
    for plane in scene.world.controlplanes:
        await scene.world.stop(plane.name)
        await scene.world.start(plane)
        await scene.world.settled()


# the service


async def service_rolled(scene: Scene) -> None:
    """Beside the instances that are there one more, again and again another one; each breaks off when it may."""
    stack = AsyncExitStack()
    for _ in range(4):
        newer = AsyncExitStack()
        await newer.enter_async_context(_rolled(scene, f"rolled-{scene.luck.getrandbits(32):x}"))
        await stack.aclose()
        stack = newer
        await scene.hold(0.3)
    await stack.aclose()


@asynccontextmanager
async def _rolled(scene: Scene, name: str) -> AsyncIterator[None]:
    async with Working(name) as instance:
        async with scene.world.registered(instance, wait=20):
            await eventually(lambda: instance.heads, within=30)
            yield
        await instance.die()


# wires


async def _on(scene: Scene, wires: list[Proxy], attribute: str, value: object) -> None:
    async with AsyncExitStack() as stack:
        for wire in wires:
            before = getattr(wire, attribute)
            setattr(wire, attribute, value)
            stack.callback(setattr, wire, attribute, before)
        await scene.hold()


async def store_wires_cut(scene: Scene) -> None:
    for _ in range(5):
        for wire in scene.world.store_wires:
            wire.cut()
        await scene.hold(0.3)


async def store_wires_down(scene: Scene) -> None:
    for wire in scene.world.store_wires:
        wire.cut()
    await _on(scene, scene.world.store_wires, "refusing", True)


async def store_wires_slow(scene: Scene) -> None:
    await _on(scene, scene.world.store_wires, "delay", 0.15)


async def store_wires_black(scene: Scene) -> None:
    await _on(scene, scene.world.store_wires, "holding", True)


async def one_control_plane_without_store(scene: Scene) -> None:
    """The other one takes changes, and all data planes serve them before anything is mended."""
    lonely = scene.world.wires_of(await scene.world.busiest())
    for wire in lonely:
        wire.refusing = True
        wire.cut()
    await scene.hold(1.0)
    await scene.history.everywhere(within=30)
    for wire in lonely:
        wire.refusing = False


async def one_store_wire_black(scene: Scene) -> None:
    await _on(scene, [scene.luck.choice(scene.world.store_wires)], "holding", True)


async def control_wires_cut(scene: Scene) -> None:
    for _ in range(5):
        for wire in scene.world.control_wires:
            wire.cut()
        await scene.hold(0.3)


async def control_wires_down(scene: Scene) -> None:
    for wire in scene.world.control_wires:
        wire.cut()
    await _on(scene, scene.world.control_wires, "refusing", True)


async def control_wires_slow(scene: Scene) -> None:
    await _on(scene, scene.world.control_wires, "delay", 0.15)


async def one_control_wire_black(scene: Scene) -> None:
    await _on(scene, [scene.luck.choice(scene.world.control_wires)], "holding", True)


FAULTS: tuple[Fault, ...] = (
    rolling_upgrade_of_control_planes,
    etcd_leader_killed,
    etcd_leader_frozen,
    etcd_follower_killed,
    etcd_follower_frozen,
    two_of_three_killed,
    two_of_three_frozen,
    stale_member_alone,
    compacted_while_disconnected,
    control_plane_killed,
    control_plane_stopped,
    control_plane_frozen,
    elected_control_plane_killed,
    elected_control_plane_frozen,
    data_plane_killed,
    data_plane_frozen,
    worker_killed,
    supervisor_frozen,
    data_plane_restarted_alone,
    service_rolled,
    store_wires_cut,
    store_wires_down,
    store_wires_slow,
    store_wires_black,
    one_control_plane_without_store,
    one_store_wire_black,
    control_wires_cut,
    control_wires_down,
    control_wires_slow,
    one_control_wire_black,
)


# the store itself


async def settle(scene: Scene) -> None:
    """Wait until nothing is left of former faults."""
    await scene.world.settled()


async def wipe(scene: Scene) -> None:
    """etcd comes back under its addresses, and holds nothing."""
    for member in scene.world.members:
        await blocking(member.kill)
    for member in scene.world.members:
        await blocking(member.wipe)
        await blocking(member.launch)
    for member in scene.world.members:
        await blocking(member.wait)


async def copied(scene: Scene) -> list[Path]:
    """etcd goes down for a backup of every member, and comes back."""
    for member in scene.world.members:
        await blocking(member.kill)
    copies = [await blocking(member.copy) for member in scene.world.members]
    await _all_back(scene)
    return copies


async def exchanged(scene: Scene, data: list[Path]) -> list[Path]:
    """etcd comes back with other data; returns what it had."""
    for member in scene.world.members:
        await blocking(member.kill)
    had = [member.exchange(other) for member, other in zip(scene.world.members, data, strict=True)]
    await _all_back(scene)
    return had


async def _all_back(scene: Scene) -> None:
    for member in scene.world.members:
        await blocking(member.launch)
    for member in scene.world.members:
        await blocking(member.wait)


async def frozen(scene: Scene) -> bool:
    """Whether every control plane says that the store is in doubt."""
    return all([(await scene.world.view("/api/v1/store", plane))["frozen"] for plane in (0, 1)])


async def thawed(scene: Scene) -> bool:
    """Whether no control plane says so any more."""
    return not any([(await scene.world.view("/api/v1/store", plane))["frozen"] for plane in (0, 1)])
