"""Who may do what on the two services: every kind of credential against every kind of call."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.identity import KeyRing, SharedTokens
from controlplane.model.resources import Scope, Service, User
from controlplane.rpc import TlsFiles
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import resources_pb2
from tests.support.certificates import Authority
from tests.support.control_plane import (
    DATAPLANE_TOKEN,
    SERVICE_TOKEN,
    ControlPlane,
    Ended,
    Node,
    bearer,
    registry,
)
from tests.support.waiting import eventually, within

Code = grpc.StatusCode

STREAM, OTHER_NODE, LOOK, CALLERS, ORDERS, PAYMENTS, ADMIN_API, CHANGE = (
    "stream",
    "other node",
    "look",
    "callers",
    "orders",
    "payments",
    "admin api",
    "change",
)
EVERYTHING = (STREAM, OTHER_NODE, LOOK, CALLERS, ORDERS, PAYMENTS, ADMIN_API, CHANGE)
URI = "spiffe://example.org/headgate"


@dataclass
class Caller:
    """A channel and a token, perhaps."""

    channel: grpc.aio.Channel
    token: str | None

    async def may(self, what: str) -> bool:
        """Whether the call gets through; anything but a refusal of the permission fails the test."""
        try:
            await self.do(what)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED, error
            return False
        except Ended as ended:
            assert ended.code is grpc.StatusCode.PERMISSION_DENIED, ended
            return False
        return True

    async def do(self, what: str) -> None:
        match what:
            case "stream":
                await self._stream("gw-1")
            case "other node":
                await self._stream("gw-2")
            case "look":
                await self.call("ListServices", pb.ListServicesRequest())
            case "orders" | "payments":
                await self.register(what)
                await self.call("Deregister", pb.DeregisterRequest(service_name=what, instance_id="a"))
            case "admin api":
                await self.register("controlplane")
            case "callers":
                await self.call("ListRateLimits", pb.ListRateLimitsRequest())
            case "change":
                await self.call("ResetCircuit", pb.ResetCircuitRequest(service_name="orders"))

    async def call(self, method: str, request: Any) -> Any:
        metadata = bearer(self.token) if self.token is not None else None
        return await getattr(registry(self.channel), method)(request, metadata=metadata, timeout=30)

    async def register(self, service: str) -> pb.RegisterResponse:
        instance = resources_pb2.Instance(service_name=service, instance_id="a", host="127.0.0.1", port=9001)
        definition = resources_pb2.Service(service_name=service)
        made: pb.RegisterResponse = await self.call(
            "Register", pb.RegisterRequest(instance=instance, service=definition)
        )
        return made

    async def _stream(self, name: str, attempts: int = 30) -> None:
        node = Node(self.channel, name, self.token)
        try:
            # A refusal may come before the hello is sent.
            with contextlib.suppress(grpc.aio.AioRpcError):
                await node.hello()
            await node.receive()
        except Ended as ended:
            if ended.code is not grpc.StatusCode.INTERNAL or attempts == 1:
                raise
            # The client's gRPC loses a status that comes while a message is being written.
            await self._stream(name, attempts - 1)
        node.call.cancel()


@contextlib.asynccontextmanager
async def standing(plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    async with plane:
        await plane.watcher.caught_up.wait()
        names = ("gateway:read", "gateway:admin")
        await plane.put(Service(service_name="orders"), *(Scope(name=name) for name in names))
        yield plane


async def allowed(caller: Caller) -> set[str]:
    return {what for what in EVERYTHING if await caller.may(what)}


# Tokens


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("data planes", {STREAM, OTHER_NODE}),
        ("services", {LOOK, ORDERS, PAYMENTS}),
        ("service orders", {LOOK, ORDERS}),
        ("service controlplane", {LOOK}),
        ("reader", {LOOK, CALLERS}),
        ("admin", {LOOK, CALLERS, ORDERS, PAYMENTS, ADMIN_API, CHANGE}),
        ("nobody in particular", set()),
    ],
)
async def test_tokens(ring: KeyRing, kind: str, expected: set[str]) -> None:
    async with standing(ControlPlane(ring)) as plane, plane.channel() as channel:
        assert plane.tokens is not None
        tokens = {
            "data planes": DATAPLANE_TOKEN,
            "services": SERVICE_TOKEN,
            "service orders": plane.tokens.issue_service("orders", 60),
            "service controlplane": plane.tokens.issue_service("controlplane", 60),
            "reader": await plane.user("ann", "gateway:read"),
            "admin": await plane.user("eve", "gateway:admin"),
            "nobody in particular": await plane.user("bob"),
        }
        assert await allowed(Caller(channel, tokens[kind])) == expected


@pytest.mark.parametrize("kind", ["refresh", "expired", "forged", "of another issuer", "half"])
async def test_service_tokens_that_are_none(ring: KeyRing, kind: str) -> None:
    async with standing(ControlPlane(ring)) as plane, plane.channel() as channel:
        assert plane.tokens is not None
        good = plane.tokens.issue_service("orders", 60)
        head, body, signature = good.split(".")
        await plane.user("ann", "gateway:admin")
        user = await plane.commands.find_user("ann")
        assert user is not None
        tokens = {
            "refresh": plane.tokens.issue(user).refresh_token or "",
            "expired": plane.tokens.issue_service("orders", -1),
            "forged": ".".join((head, body, signature[::-1])),
            "of another issuer": type(plane.tokens)(ring, lambda: 2e9, issuer="other").issue_service("a", 60),
            "half": good[: len(good) // 2],
        }
        for method, request in (
            ("ListServices", pb.ListServicesRequest()),
            ("Deregister", pb.DeregisterRequest(service_name="orders", instance_id="a")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await Caller(channel, tokens[kind]).call(method, request)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_service_token_is_no_access_token(ring: KeyRing) -> None:
    async with standing(ControlPlane(ring)) as plane:
        assert plane.tokens is not None
        with pytest.raises(Exception, match="not a valid token"):
            plane.tokens.verify(plane.tokens.issue_service("orders", 60))


async def test_the_refusal_says_whose_the_credential_is(ring: KeyRing) -> None:
    async with standing(ControlPlane(ring)) as plane, plane.channel() as channel:
        assert plane.tokens is not None
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Caller(channel, plane.tokens.issue_service("orders", 60)).register("payments")
        assert caught.value.details() == (
            "the credential is for service 'orders', not for 'payments': "
            "`headgate token service payments` makes one"
        )


async def test_a_lease_is_kept_by_its_own_service_alone(ring: KeyRing) -> None:
    async with standing(ControlPlane(ring)) as plane, plane.channel() as channel:
        assert plane.tokens is not None
        orders = Caller(channel, plane.tokens.issue_service("orders", 60))
        payments = Caller(channel, plane.tokens.issue_service("payments", 60))
        lease = (await orders.register("orders")).lease_id
        await payments.register("payments")

        async def keep(caller: Caller, service: str) -> str:
            request = pb.KeepAliveRequest(lease_id=lease, service_name=service, instance_id="a")
            try:
                await caller.call("KeepAlive", request)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

        assert await keep(orders, "orders") == "OK"
        assert await keep(payments, "orders") == "PERMISSION_DENIED"
        # The lease of another caller, under the own name.
        assert await keep(payments, "payments") == "NOT_FOUND"
        assert await keep(payments, "") == "INVALID_ARGUMENT"
        # Clients before 0.2 name no instance, and have no credentials of this kind.
        assert await keep(Caller(channel, SERVICE_TOKEN), "") == "OK"


async def test_tokens_are_exchanged_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "dataplanes"
    file.write_text("the-first-token-of-all\n")
    plane = ControlPlane(dataplane_tokens=SharedTokens(file=file))
    async with standing(plane), plane.channel() as channel:
        file.write_text("# new ones first\nthe-second-token-of-all\nthe-first-token-of-all\n")
        for token in ("the-first-token-of-all", "the-second-token-of-all"):
            assert await Caller(channel, token).may(OTHER_NODE)
        file.write_text("the-second-token-of-all\n")
        with pytest.raises(Ended, match="Could not validate credentials"):
            await Caller(channel, "the-first-token-of-all").do(OTHER_NODE)
        # A file that went wrong leaves the last good ones in force.
        file.write_text("short\n")
        assert await Caller(channel, "the-second-token-of-all").may(OTHER_NODE)
        file.unlink()
        assert await Caller(channel, "the-second-token-of-all").may(OTHER_NODE)


async def test_what_is_withdrawn_ends_the_streams_that_it_opened(ring: KeyRing, tmp_path: Path) -> None:
    dataplanes, services = tmp_path / "dataplanes", tmp_path / "services"
    dataplanes.write_text("the-token-that-stays\nthe-token-that-goes\n")
    services.write_text("the-service-that-stays\nthe-service-that-goes\n")
    plane = ControlPlane(
        ring,
        dataplane_tokens=SharedTokens(file=dataplanes),
        service_tokens=SharedTokens(file=services),
        recheck=0.05,
    )
    async with standing(plane), plane.channel() as channel:
        nodes, watches = {}, {}
        for what in ("stays", "goes"):
            node = nodes[what] = Node(channel, f"gw-{what}", token=f"the-token-that-{what}")
            await node.hello()
            await node.ack((await node.receive()).revision)
        access = await plane.user("ann", "gateway:read")
        for what, token in (
            ("stays", "the-service-that-stays"),
            ("goes", "the-service-that-goes"),
            ("ann", access),
        ):
            watches[what] = registry(channel).Watch(pb.WatchRequest(), metadata=bearer(token))
            await anext(aiter(watches[what]))

        dataplanes.write_text("the-token-that-stays\n")
        services.write_text("the-service-that-stays\n")
        await plane.put(User(username="ann", scopes=("gateway:read",), disabled=True))
        with pytest.raises(Ended, match="Could not validate credentials"):
            # It answers nothing: gRPC puts a status of its own in place of the server's when a write crosses the end.
            while True:
                await nodes["goes"].receive()
        for who in ("goes", "ann"):
            assert await within(watches[who].code(), 30) is Code.UNAUTHENTICATED
        await eventually(lambda: not plane.fleet.nodes["gw-goes"].connected)
        # The others are asked as often, and go on.
        revision = await plane.put(Service(service_name="carts"))
        await _reads_on(nodes["stays"], until=revision)
        assert not watches["stays"].done()


async def _reads_on(node: Node, until: int) -> None:
    """Take everything in up to a revision."""
    while (received := await node.receive()).revision != until:
        await node.ack(received.revision)


# Certificates


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        ([f"{URI}/dataplane"], {STREAM, OTHER_NODE}),
        ([f"{URI}/dataplane/gw-1"], {STREAM}),
        ([f"{URI}/service"], {LOOK, ORDERS, PAYMENTS}),
        ([f"{URI}/service/orders"], {LOOK, ORDERS}),
        ([f"{URI}/service/controlplane"], {LOOK}),
    ],
)
async def test_certificates(authority: Authority, uris: list[str], expected: set[str]) -> None:
    async with secured(authority) as plane, connected(plane, authority, *uris) as channel:
        assert await allowed(Caller(channel, None)) == expected


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://example.org/ns/default/sa/orders"],
        [f"{URI}/user/eve"],
        [f"{URI}/service/orders/more"],
        [f"{URI}/service/"],
        ["https://example.org/headgate/dataplane"],
        # Who is meant must be beyond doubt.
        [f"{URI}/service/orders", f"{URI}/dataplane"],
    ],
)
async def test_certificates_that_say_nothing(authority: Authority, uris: list[str]) -> None:
    async with secured(authority) as plane, connected(plane, authority, *uris) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Caller(channel, None).do(LOOK)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(Ended) as ended:
            await Caller(channel, None).do(STREAM)
        assert ended.value.code is grpc.StatusCode.UNAUTHENTICATED
        # With a token it is the token that counts.
        assert await allowed(Caller(channel, DATAPLANE_TOKEN)) == {STREAM, OTHER_NODE}


async def test_a_token_goes_before_the_certificate(authority: Authority, ring: KeyRing) -> None:
    async with (
        secured(authority, ring) as plane,
        connected(plane, authority, f"{URI}/dataplane") as channel,
    ):
        assert await allowed(Caller(channel, SERVICE_TOKEN)) == {LOOK, ORDERS, PAYMENTS}
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Caller(channel, "a wrong token, not passed over").do(LOOK)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@contextlib.asynccontextmanager
async def secured(authority: Authority, ring: KeyRing | None = None) -> AsyncIterator[ControlPlane]:
    cert, key = authority.issue("server")
    async with standing(ControlPlane(ring, tls=TlsFiles(cert, key, authority.certificate))) as plane:
        yield plane


@contextlib.asynccontextmanager
async def connected(plane: ControlPlane, authority: Authority, *uris: str) -> AsyncIterator[grpc.aio.Channel]:
    cert, key = (path.read_bytes() for path in authority.issue("client", *uris))
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, cert)
    async with plane.channel(credentials) as channel:
        yield channel
