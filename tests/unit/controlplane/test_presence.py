"""The control plane's own registration: kept, made anew, taken back."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.commands.commands import Commands
from controlplane.fleet.members import Member
from controlplane.identity import Hasher
from controlplane.model.resources import Instance, parse
from controlplane.presence import Presence, instance_of, member_of, own_id, own_name
from controlplane.startup import SERVICE
from controlplane.store import Entry, MemoryStore
from tests.support.certificates import Authority
from tests.support.controlplane_settings import settings
from tests.support.waiting import eventually, within

KEY = "/headgate/v1/instance/controlplane/here"
HERE = Instance(service_name="controlplane", instance_id="here", host="192.0.2.1", port=8080)
TTL = 5.0


class Scene:
    """A presence on a store in memory, renewing in quick succession."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.commands = Commands(self.store, Hasher(time_cost=1, memory_cost=64, parallelism=1), time.time)

    async def start(self, *, available: bool = True) -> None:
        """Put the service in place, as the start of a control plane does, and begin."""
        await self.commands.build_in((parse("service", SERVICE),), (), author="test")
        self.store.available = available
        self.task = asyncio.create_task(Presence(self.commands, HERE, ttl=TTL, pause=0.005).run())

    async def revision(self) -> int:
        """Revision of the registration; 0 when there is none, or no answer."""
        if not self.store.available:
            return 0
        entry = await self.store.get(KEY)
        return entry.revision if entry else 0

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """A presence that has registered."""
    scene = Scene()
    await scene.start()
    await eventually(scene.revision)
    yield scene
    await scene.leave()


async def test_a_service_that_an_operator_deleted_does_not_come_back(scene: Scene) -> None:
    await scene.commands.deregister("controlplane", "here")
    await scene.commands.delete("service", "controlplane", force=True, author="jo")
    asked, get = asyncio.Event(), scene.store.get

    async def counted(key: str) -> Entry | None:
        asked.set()
        return await get(key)

    scene.store.get = counted  # type: ignore[method-assign]
    await within(asked.wait(), 5)
    assert await scene.commands.list("service") == ()
    assert not scene.task.done()


async def test_it_outlives_its_lease(scene: Scene) -> None:
    before = await scene.revision()
    renewed = asyncio.Event()
    keep_alive = scene.store.keep_alive

    async def counted(lease: int) -> float:
        left = await keep_alive(lease)
        renewed.set()
        return left

    scene.store.keep_alive = counted  # type: ignore[method-assign]
    for _ in range(4):
        renewed.clear()
        await within(renewed.wait(), 30)
        scene.store.advance(TTL * 0.8)
    assert await scene.revision() == before


async def test_it_registers_anew_when_it_lost_its_lease(scene: Scene) -> None:
    before = await scene.revision()
    (entry,) = (await scene.store.list("/headgate/v1/instance/")).entries
    await scene.store.revoke(entry.lease)
    assert await eventually(scene.revision) > before


async def test_it_registers_anew_after_an_outage(scene: Scene) -> None:
    before = await scene.revision()
    scene.store.available = False
    scene.store.advance(TTL * 2)
    scene.store.available = True

    async def anew() -> bool:
        return await scene.revision() > before

    await eventually(anew)


async def test_it_waits_for_a_store_that_is_away() -> None:
    scene = Scene()
    await scene.start(available=False)
    assert not scene.task.done()
    scene.store.available = True
    await eventually(scene.revision)
    await scene.leave()


async def test_it_takes_leave(scene: Scene) -> None:
    await scene.leave()
    assert await scene.revision() == 0


async def test_it_does_not_linger_when_the_store_is_away(scene: Scene) -> None:
    scene.store.available = False
    await within(scene.leave(), 30)


def test_where_it_is_reached() -> None:
    own = instance_of(settings(admin_listen="127.0.0.1:18080"))
    assert own is not None
    assert (own.host, own.port) == ("127.0.0.1", 18080)
    assert own.instance_id.endswith("-18080")
    set_apart = instance_of(
        settings(admin_listen="0.0.0.0:8080", admin_plaintext=True, advertise="Control-Plane:80")
    )
    assert set_apart is not None
    assert (set_apart.host, set_apart.port) == ("control-plane", 80)
    assert set_apart.instance_id.endswith("-8080")
    six = instance_of(settings(advertise="[2001:db8::1]:80"))
    assert six is not None
    assert six.host == "2001:db8::1"


def test_all_addresses_are_no_address() -> None:
    for listen in ("0.0.0.0:8080", "[::]:8080"):
        found = instance_of(settings(admin_listen=listen, admin_plaintext=True))
        assert found is None or found.host not in ("0.0.0.0", "::")


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"grpc_listen": "0.0.0.0:50051"},
        {"grpc_listen": "10.0.0.1:50051"},
        {"etcd_endpoints": ("http://etcd:2379",)},
        {"etcd_endpoints": ("http://127.0.0.1:2379", "http://10.0.0.1:2379")},
    ],
)
def test_loopback_is_advertised_only_where_everything_is_on_this_machine(elsewhere: dict[str, Any]) -> None:
    """A data plane elsewhere would send people's passwords to whatever listens on its own loopback."""
    assert instance_of(settings(**elsewhere)) is None
    reachable = instance_of(settings(**elsewhere, advertise="10.0.0.1:8080"))
    assert reachable is not None and reachable.host == "10.0.0.1"


def test_pods_with_long_names_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = "a-release-with-a-long-name-headgate-controlplane-7f9c4d7b{}-x2x4z"
    names = set()
    for letter in "ab":
        monkeypatch.setattr(socket, "gethostname", lambda: pod.format(letter))  # noqa: B023
        names.add(own_id(settings()))
        assert len(own_id(settings())) <= 63
    monkeypatch.setattr(socket, "gethostname", lambda: pod.format("a").replace("x2x4z", "x2x5z"))
    assert len(names | {own_id(settings())}) == 3


@pytest.mark.parametrize("name", ["UPPER_case", "x" * 80, "-.-", "", "ünï"])
def test_any_host_name_makes_an_id(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert own_id(settings()).endswith("-8080")


def test_where_other_control_planes_follow_it(tmp_path: Path) -> None:
    assert member_of(settings(grpc_listen="127.0.0.1:15051")) == Member("127.0.0.1:15051")
    assert member_of(settings(grpc_listen="10.0.0.1:50051")) == Member("10.0.0.1:50051")
    assert member_of(settings(grpc_listen="[::]:1", advertise_grpc="[2001:db8::1]:80")) == Member(
        "[2001:db8::1]:80"
    )
    every = member_of(settings(grpc_listen="0.0.0.0:50051"))
    assert every is None or not every.address.startswith("0.0.0.0")
    cert, key = Authority(tmp_path).issue("cp", hosts=("*.example", "cp.example", "127.0.0.1"))
    named = member_of(settings(grpc_listen="10.0.0.1:1", grpc_cert=cert, grpc_key=key))
    assert named == Member("10.0.0.1:1", "cp.example")
    cert, key = Authority(tmp_path).issue("bare", hosts=("10.0.0.1",))
    assert member_of(settings(grpc_listen="10.0.0.1:1", grpc_cert=cert, grpc_key=key)) == Member(
        "10.0.0.1:1", ""
    )


def test_nobody_elsewhere_follows_loopback() -> None:
    """With etcd elsewhere the others may be, too: their own loopback would answer, or nobody."""
    elsewhere = {"etcd_endpoints": ("http://etcd:2379",)}
    assert member_of(settings(**elsewhere)) is None
    assert member_of(settings(**elsewhere, advertise_grpc="cp-1:50051")) == Member("cp-1:50051")


def test_after_a_restart_it_has_another_name() -> None:
    assert own_name(settings()) != own_name(settings())
    assert own_name(settings()).startswith(own_id(settings()))
