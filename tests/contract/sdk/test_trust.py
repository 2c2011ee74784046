"""The SDK with certificates, and with credentials that change while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import headgate
from controlplane.rpc import TlsFiles
from headgate import Forbidden, HeadgateError, ServiceDefinition, Unauthenticated
from tests.support.certificates import Authority
from tests.support.control_plane import SERVICE_TOKEN, ControlPlane
from tests.support.waiting import eventually

ORDERS = "spiffe://example.org/headgate/service/orders"


class World:
    """A control plane that wants certificates, and a service's own files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority")
        self.server = folder / "server.pem", folder / "server.key"
        self.client = folder / "client.pem", folder / "client.key"
        self.ca, self.client_ca = folder / "ca.pem", folder / "client-ca.pem"
        self.install(self.authority)
        self.plane = ControlPlane(tls=TlsFiles(*self.server, self.client_ca))

    def install(self, authority: Authority) -> None:
        """Give both sides new certificates of this authority."""
        self.install_server(authority)
        self.install_client(authority)

    def install_server(self, authority: Authority) -> None:
        _copy(authority.issue("server"), self.server)
        _copy((authority.certificate,), (self.client_ca,))

    def install_client(self, authority: Authority, uri: str = ORDERS) -> None:
        _copy(authority.issue("client", uri), self.client)
        _copy((authority.certificate,), (self.ca,))

    def register(self, service: str = "orders", token: str | None = None) -> headgate.Registration:
        return headgate.register(
            ServiceDefinition(service),
            port=9001,
            ttl=5,
            controlplane=self.plane.address,
            ca=self.ca,
            cert=self.client[0],
            key=self.client[1],
            token=token,
            handle_sigterm=False,
            deadline=5,
        )

    def connect(self) -> headgate.Gateway:
        cert, key = self.client
        return headgate.connect(self.plane.address, ca=self.ca, cert=cert, key=key)


def _copy(sources: tuple[Path, ...], targets: tuple[Path, ...]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.write_bytes(source.read_bytes())


async def services(gateway: headgate.Gateway) -> list[str]:
    """The names that the registry knows."""
    return [service.service_name for service in await gateway.registry.get_services()]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    async with world.plane as plane:
        await plane.watcher.caught_up.wait()
        yield world


async def test_a_certificate_is_all_that_a_service_needs(world: World) -> None:
    async with world.register() as registration:
        assert registration.registered
        async with world.connect() as gateway:
            assert await services(gateway) == ["orders"]


async def test_it_is_good_for_that_service_only(world: World) -> None:
    with pytest.raises(Forbidden, match="is for service 'orders', not for 'payments'"):
        async with world.register("payments"):
            pass


async def test_a_certificate_that_says_nothing_wants_a_token(world: World) -> None:
    world.install_client(world.authority, "spiffe://example.org/somebody")
    with pytest.raises(Unauthenticated, match="finds neither a token nor the name of a service"):
        async with world.register():
            pass
    async with world.register(token=SERVICE_TOKEN) as registration:
        assert registration.registered


async def test_new_certificates_are_taken_up_while_it_runs(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headgate")
    successor = Authority(tmp_path / "successor")
    async with world.register() as registration, world.connect() as gateway:
        await eventually(lambda: gateway.connected)
        # Half of it: the old ones stay.
        key = world.client[1].read_bytes()
        world.client[1].write_bytes(b"half a key")
        assert await services(gateway) == ["orders"]
        assert "renewed certificates are of no use" in caplog.text
        world.client[1].write_bytes(key)
        world.install(successor)
        # A new connection believes nobody but the new authority.
        assert await services(gateway) == ["orders"]
        with pytest.raises(HeadgateError):
            async with _connect_as(world, world.authority):
                pass
        # What was open before goes on: the watch, and the lease that is kept by new calls.
        assert gateway.connected and registration.registered
        revision = await world.plane.commands.reset_circuit("orders")
        await world.plane.published(revision)
        assert registration.last_error is None
    assert ("instance", "orders/client") not in world.plane.current.resources


def _connect_as(world: World, authority: Authority) -> headgate.Gateway:
    cert, key = authority.issue("late", ORDERS)
    return headgate.connect(world.plane.address, ca=world.ca, cert=cert, key=key, timeout=2)


async def test_the_watch_outlives_the_old_channel_s_retirement(world: World, tmp_path: Path) -> None:
    async with world.register(), world.connect() as gateway:
        await eventually(lambda: "orders" in gateway.router.circuit_breakers)
        world.install(Authority(tmp_path / "successor"))
        await asyncio.gather(*(gateway.registry.get_services() for _ in range(20)))
        assert gateway.connected
    # Warnings are errors: nothing was left open.


async def test_a_token_in_a_file_is_exchanged(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a-token-of-another-time")
    async with ControlPlane() as plane:
        await plane.watcher.caught_up.wait()
        token = headgate.token_file(file)
        with pytest.raises(Unauthenticated):
            async with headgate.connect(plane.address, token=token):
                pass
        file.write_text(SERVICE_TOKEN)
        async with headgate.connect(plane.address, token=token) as gateway:
            assert await services(gateway) == []
