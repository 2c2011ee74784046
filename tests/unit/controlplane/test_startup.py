"""What the first control plane does when the store first answers: once, and never against an operator's changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from controlplane import startup
from controlplane.api.parts import Parts
from controlplane.commands.commands import Commands
from controlplane.commands.errors import NotFound
from controlplane.commands.plans.own import BUILT_IN
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.waiting import MOST_WAIT
from controlplane.identity import Hasher
from controlplane.model.resources import Service, Tls, User
from controlplane.startup import StartError, Startup
from controlplane.store import AccessDenied, Delete, MemoryStore, Put, Write
from tests.support.certificates import Authority
from tests.support.controlplane_settings import settings
from tests.support.waiting import eventually, within


class Plane:
    """What a startup works on."""

    def __init__(self, store: MemoryStore, **changes: object) -> None:
        hasher = Hasher(time_cost=1, memory_cost=64, parallelism=1)
        self.commands = Commands(store, hasher, time.time)
        self.parts = Parts(self.commands, Watcher(store), Fleet(), "1.2.3")
        self.startup = Startup(settings(**changes), store, self.parts, hasher)


async def test_everything_is_created_once() -> None:
    store = MemoryStore()
    planes = [Plane(store) for _ in range(3)]
    await asyncio.gather(*(plane.startup.run() for plane in planes))
    commands = planes[0].commands
    assert [found.resource.name for found in await commands.list("scope")] == [
        "gateway:admin",
        "gateway:read",
        "gateway:tap",
    ]
    assert [found.resource.name for found in await commands.list("user")] == ["admin"]
    assert (await commands.get("route", "headgate-api")).resource.name == "headgate-api"
    assert len((await store.list("/headgate/v1/signing_key/")).entries) == 1
    before = store.revision
    again = Plane(store, admin_password=None)
    await again.startup.run()
    assert store.revision == before
    assert again.parts.starting is None


async def test_all_share_one_key_and_the_first_user_can_log_in() -> None:
    store = MemoryStore()
    first, second = Plane(store), Plane(store)
    await first.startup.run()
    await second.startup.run()
    assert first.parts.grants is not None
    tokens = await first.parts.grants.password("admin", "adminpass")
    assert second.parts.issuer().verify(tokens.access_token).scopes == {
        "gateway:read",
        "gateway:admin",
        "gateway:tap",
    }


async def test_what_an_operator_changed_stays() -> None:
    store = MemoryStore()
    commands = Plane(store).commands
    await Plane(store).startup.run()
    changed = {
        "prefix": "/api/v1",
        "service_name": "controlplane",
        "public": True,
        "hosts": ["admin.example"],
    }
    await commands.put("route", changed, name="headgate-api", force=True, author="jo")
    await commands.put("user", {"scopes": ["gateway:admin"]}, name="admin", author="jo")
    await Plane(store, admin_password="another one").startup.run()
    route = (await commands.get("route", "headgate-api")).resource
    assert route.model_dump()["hosts"] == ("admin.example",)
    user = (await commands.get("user", "admin")).resource
    assert isinstance(user, User)
    assert user.scopes == ("gateway:admin",)


async def test_what_an_operator_deleted_stays_deleted() -> None:
    store = MemoryStore()
    await Plane(store).startup.run()
    commands = Plane(store).commands
    await commands.put("user", {"scopes": ["gateway:admin"]}, name="admin", author="jo")
    deleted = [("route", "headgate-api"), ("service", "controlplane"), ("scope", "gateway:read")]
    for kind, name in deleted:
        await commands.delete(kind, name, force=True, author="jo")
    before = store.revision
    await Plane(store).startup.run()
    assert store.revision == before
    for kind, name in deleted:
        with pytest.raises(NotFound):
            await commands.get(kind, name)


async def test_built_in_resources_from_before_they_were_listed_are_adopted() -> None:
    store = MemoryStore()
    await Plane(store).startup.run()
    await store.commit({}, [Delete(BUILT_IN)])
    commands = Plane(store).commands
    await commands.delete("route", "headgate-api", force=True, author="jo")
    await Plane(store).startup.run()
    assert (await commands.get("route", "headgate-api")).revision == store.revision
    await commands.delete("route", "headgate-api", force=True, author="jo")
    await Plane(store).startup.run()
    with pytest.raises(NotFound):
        await commands.get("route", "headgate-api")


async def test_the_admin_api_can_be_kept_off_the_gateway() -> None:
    store = MemoryStore()
    hidden = Plane(store, expose_admin=False)
    await hidden.startup.run()
    assert await hidden.commands.list("route") == ()
    assert await hidden.commands.list("service") == ()
    await Plane(store).startup.run()
    assert len(await hidden.commands.list("route")) == 1
    await Plane(store, expose_admin=False).startup.run()
    with pytest.raises(NotFound):
        await hidden.commands.get("route", "headgate-api")


async def test_the_gateway_reaches_an_encrypted_admin_api_over_tls(tmp_path: Path) -> None:
    store, authority = MemoryStore(), Authority(tmp_path)
    cert, key = authority.issue("server", hosts=("10.0.0.1", "Admin.example"))
    encrypted = {"admin_cert": cert, "admin_key": key, "admin_ca": authority.certificate}
    await Plane(store).startup.run()
    moved = Plane(store, **encrypted)
    await moved.startup.run()
    service = (await moved.commands.get("service", "controlplane")).resource
    assert isinstance(service, Service)
    assert service.tls == Tls(server_name="admin.example", ca=authority.certificate.read_text())
    assert service.circuit.failure_threshold == 1000
    before = store.revision
    await Plane(store, **encrypted).startup.run()
    assert store.revision == before
    await Plane(store).startup.run()
    service = (await moved.commands.get("service", "controlplane")).resource
    assert isinstance(service, Service) and service.tls is None


async def test_tls_that_a_proxy_ends_is_the_operators(tmp_path: Path) -> None:
    store = MemoryStore()
    plane = Plane(store)
    await plane.startup.run()
    changed = {"tls": {"server_name": "proxy.example"}}
    await plane.commands.put("service", changed, name="controlplane", force=True, author="jo")
    await Plane(store).startup.run()
    service = (await plane.commands.get("service", "controlplane")).resource
    assert isinstance(service, Service) and service.tls == Tls(server_name="proxy.example")


async def test_an_authority_with_a_private_key_is_not_given_away(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("server")
    both = tmp_path / "both.pem"
    both.write_text(authority.certificate.read_text() + key.read_text())
    plane = Plane(MemoryStore(), admin_cert=cert, admin_key=key, admin_ca=both)
    with pytest.raises(StartError, match=r"^ADMIN_CA: .*but holds a private key"):
        await plane.startup.run()


async def test_no_password_for_the_first_user() -> None:
    plane = Plane(MemoryStore(), admin_password=None)
    with pytest.raises(StartError, match="ADMIN_PASSWORD: is not set, but the store holds no user yet"):
        await plane.startup.run()
    assert plane.parts.starting is not None


async def test_another_secret_key() -> None:
    store = MemoryStore()
    await Plane(store).startup.run()
    with pytest.raises(StartError, match="SECRET_KEY is not the one"):
        await Plane(store, secret_key="x" * 32).startup.try_now()


async def test_a_damaged_signing_key() -> None:
    store = MemoryStore()
    await store.commit({}, [Put("/headgate/v1/signing_key/k", b"{}")])
    with pytest.raises(StartError, match="signing_key/k: is not a signing key"):
        await Plane(store).startup.run()


async def test_a_silent_store_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(startup, "PAUSE", 0.02)
    store = MemoryStore()
    store.available = False
    plane = Plane(store)
    await plane.startup.try_now()
    starting = asyncio.create_task(plane.startup.run())
    await eventually(
        lambda: (plane.parts.starting or "").startswith("waiting for the store (etcd at http://")
    )
    waiting = [record for record in caplog.records if record.message == "waiting for the store"]
    assert waiting
    assert "127.0.0.1:2379" in vars(waiting[0])["endpoints"]
    store.available = True
    await within(starting, 30)
    assert plane.parts.starting is None


async def test_a_store_that_hangs_does_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PATIENCE", 0.05)
    store = MemoryStore()

    async def hang(prefix: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(store, "list", hang)
    await within(Plane(store).startup.try_now(), 30)


async def test_credentials_that_the_store_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()

    async def deny(expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        raise AccessDenied("etcdserver: permission denied")

    monkeypatch.setattr(store, "commit", deny)
    with pytest.raises(StartError, match="etcd rejects ETCD_USERNAME and ETCD_PASSWORD"):
        await Plane(store).startup.try_now()


async def test_the_gateway_outlasts_every_wait_of_the_admin_api() -> None:
    plane = Plane(MemoryStore())
    await plane.startup.run()
    service = (await plane.commands.get("service", "controlplane")).resource
    assert isinstance(service, Service)
    assert service.timeouts.response > MOST_WAIT
