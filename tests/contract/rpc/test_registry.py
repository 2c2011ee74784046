"""The registry over real gRPC: registrations, views, watches, and who may do what."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    StatsReport,
)
from controlplane.identity import KeyRing
from controlplane.model.resources import Route, Scope, Service, User
from controlplane.model.stored import key_of
from controlplane.rpc.rules import Rules
from controlplane.store import Delete
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import resources_pb2, status_pb2
from tests.support.control_plane import SERVICE_TOKEN, ControlPlane, bearer, registry
from tests.support.waiting import eventually

Code = grpc.StatusCode

ORDERS = resources_pb2.Service(service_name="orders", check_interval=1)


def instance(instance_id: str = "a", **fields: Any) -> resources_pb2.Instance:
    values = {"service_name": "orders", "host": "127.0.0.1", "port": 9001, **fields}
    return resources_pb2.Instance(instance_id=instance_id, **values)


class Client:
    """Calls with one credential, and turns refusals into (code, detail)."""

    def __init__(self, channel: grpc.aio.Channel, token: str = SERVICE_TOKEN) -> None:
        self._stub = registry(channel)
        self._metadata = bearer(token)

    async def call(self, method: str, request: Any) -> Any:
        return await getattr(self._stub, method)(request, metadata=self._metadata, timeout=30)

    async def refused(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        return caught.value.code(), caught.value.details() or ""

    async def register(self, *, ttl: float = 0, **fields: Any) -> pb.RegisterResponse:
        request = pb.RegisterRequest(instance=instance(**fields), service=ORDERS, ttl=ttl)
        made: pb.RegisterResponse = await self.call("Register", request)
        return made

    def watch(self, **asked: Any) -> Any:
        return self._stub.Watch(pb.WatchRequest(**asked), metadata=self._metadata)


@pytest.fixture
def services(channel: grpc.aio.Channel) -> Client:
    return Client(channel)


# Registrations


async def test_a_unix_socket_only_where_the_settings_allow_it(ring: KeyRing) -> None:
    async with ControlPlane(ring, rules=Rules(sockets=("/run/apps",))) as plane, plane.channel() as channel:
        services = Client(channel)
        await services.register(host="unix:/run/apps/orders.sock", port=0)
        (view,) = (
            await services.call("GetService", pb.GetServiceRequest(service_name="orders"))
        ).service.instances
        assert (view.instance.host, view.instance.port) == ("unix:/run/apps/orders.sock", 0)
        cases: list[tuple[dict[str, Any], str]] = [
            (
                {"host": "unix:/run/docker.sock", "port": 0},
                "instance.host: unix:/run/docker.sock is a Unix socket",
            ),
            ({"host": "unix:/run/apps/../docker.sock", "port": 0}, "instance.host: must be unix: and"),
            ({"host": "unix:/run/apps/orders.sock", "port": 80}, "instance.port: must be left out"),
            ({"host": "10.0.0.1", "port": 0}, "instance.port: is required"),
        ]
        for wrong, field in cases:
            request = pb.RegisterRequest(instance=instance(**wrong), service=ORDERS)
            code, detail = await services.refused("Register", request)
            assert (code, field in detail) == (Code.INVALID_ARGUMENT, True), detail


async def test_a_registration_is_in_the_table_until_its_lease_ends(
    plane: ControlPlane, services: Client
) -> None:
    made = await services.register(ttl=5)
    assert made.ttl == 5 and made.lease_id
    await plane.published(made.revision)
    assert ("instance", "orders/a") in plane.current.resources
    plane.store.advance(4)
    assert (await services.call("KeepAlive", pb.KeepAliveRequest(lease_id=made.lease_id))).ttl == 5
    plane.store.advance(4)
    await plane.published(made.revision)
    assert ("instance", "orders/a") in plane.current.resources
    plane.store.advance(2)
    await eventually(lambda: ("instance", "orders/a") not in plane.current.resources)
    assert await services.refused("KeepAlive", pb.KeepAliveRequest(lease_id=made.lease_id)) == (
        Code.NOT_FOUND,
        "the lease has ended; register again",
    )


async def test_left_out_values_are_the_defaults(plane: ControlPlane, services: Client) -> None:
    made = await services.register()
    await plane.published(made.revision)
    assert made.ttl == 15
    service = plane.current.of(Service)["orders"]
    assert service == Service(service_name="orders", check_interval=1.0)


async def test_deregistering_twice_is_no_error(plane: ControlPlane, services: Client) -> None:
    await services.register()
    request = pb.DeregisterRequest(service_name="orders", instance_id="a")
    gone = await services.call("Deregister", request)
    await plane.published(gone.revision)
    assert ("instance", "orders/a") not in plane.current.resources
    assert (await services.call("Deregister", request)).revision >= gone.revision


async def test_every_problem_is_listed_one_a_line(services: Client, plane: ControlPlane) -> None:
    wrong = pb.RegisterRequest(
        instance=instance("A!", port=70_000, host="http://x"),
        service=resources_pb2.Service(service_name="orders", check_path="health", load_balancer=77),  # type: ignore[arg-type]
    )
    before = plane.store.revision
    code, detail = await services.refused("Register", wrong)
    assert code is Code.INVALID_ARGUMENT
    assert [line.partition(":")[0] for line in detail.splitlines()] == [
        "instance.instance_id",
        "instance.host",
        "instance.port",
        "service.check_path",
        "service.load_balancer",
    ]
    assert plane.store.revision == before


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (pb.RegisterRequest(), "instance: is required"),
        (pb.RegisterRequest(instance=instance()), "service_name: service 'orders' does not exist"),
        (pb.RegisterRequest(instance=instance(), service=ORDERS, ttl=1), "ttl: must be 5 to 300 seconds"),
        (pb.RegisterRequest(instance=instance(), service=ORDERS, ttl=float("nan")), "ttl: must be 5 to 300"),
        (
            pb.RegisterRequest(instance=instance(), service=resources_pb2.Service(service_name="other")),
            "service.service_name: must be 'orders'",
        ),
    ],
)
async def test_registrations_that_make_no_sense(
    services: Client, request_: pb.RegisterRequest, problem: str
) -> None:
    code, detail = await services.refused("Register", request_)
    assert code is Code.INVALID_ARGUMENT
    assert problem in detail


async def test_a_store_that_is_away_is_unavailable(plane: ControlPlane, services: Client) -> None:
    made = await services.register()
    plane.store.available = False
    for method, request in (
        ("Register", pb.RegisterRequest(instance=instance(), service=ORDERS)),
        ("KeepAlive", pb.KeepAliveRequest(lease_id=made.lease_id)),
        ("Deregister", pb.DeregisterRequest(service_name="orders", instance_id="a")),
    ):
        assert await services.refused(method, request) == (
            Code.UNAVAILABLE,
            "the store (etcd) does not answer",
        )
    # Looking goes on.
    await services.call("ListServices", pb.ListServicesRequest())


async def test_faults_of_ours_tell_nothing(
    plane: ControlPlane, services: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("password is hunter2")

    monkeypatch.setattr(plane.commands, "keep_alive", broken)
    refused = await services.refused("KeepAlive", pb.KeepAliveRequest(lease_id=1))
    assert refused == (Code.INTERNAL, "internal error; see the control plane's log")


# Views


async def test_services_as_the_fleet_sees_them(plane: ControlPlane, services: Client) -> None:
    await plane.published((await services.register(metadata={"zone": "b"})).revision)
    await plane.published((await services.register(instance_id="b", port=9002)).revision)
    plane.fleet.hello("gw-1", "0.1.0")
    plane.fleet.health("gw-1", [InstanceHealth("orders", "a", InstanceStatus.HEALTHY, 12.5)])
    (orders,) = (await services.call("ListServices", pb.ListServicesRequest())).services
    assert (orders.service.check_interval, orders.service.circuit.failure_threshold) == (1, 5)
    first, second = orders.instances
    assert (first.status, first.last_check) == (status_pb2.INSTANCE_STATUS_HEALTHY, 12.5)
    assert dict(first.instance.metadata) == {"zone": "b"}
    assert (second.status, second.last_check) == (status_pb2.INSTANCE_STATUS_STARTING, 0)
    one = await services.call("GetService", pb.GetServiceRequest(service_name="orders"))
    assert one.service == orders


async def test_a_service_that_is_not_there(services: Client) -> None:
    assert await services.refused("GetService", pb.GetServiceRequest(service_name="carts")) == (
        Code.NOT_FOUND,
        "Service 'carts' not found in registry",
    )


async def test_routes_and_circuits(plane: ControlPlane, services: Client) -> None:
    await plane.put(
        Service(service_name="orders"),
        Route(name="o", prefix="/orders", service_name="orders", methods=("GET",)),
    )
    plane.fleet.hello("gw-1", "0.1.0")
    opened = CircuitReport("orders", CircuitState.OPEN, 99.5, 10, 6, 2, 5, "Circuit opened after 5 failures")
    plane.fleet.stats("gw-1", StatsReport(circuits=(opened,)))
    (route,) = (await services.call("ListRoutes", pb.ListRoutesRequest())).routes
    assert (route.name, route.route.prefix, list(route.route.methods)) == ("o", "/orders", ["GET"])
    (view,) = (await services.call("ListCircuits", pb.ListCircuitsRequest())).circuits
    assert (view.circuit.state, view.circuit.last_state_change) == (status_pb2.CIRCUIT_STATE_OPEN, 99.5)
    assert view.dataplanes["gw-1"].reason == "Circuit opened after 5 failures"
    assert view.config.failure_threshold == 5


async def test_nothing_is_shown_before_the_store_was_read(
    plane: ControlPlane, services: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane.watcher, "current", None)
    code, detail = await services.refused("ListServices", pb.ListServicesRequest())
    assert code is Code.UNAVAILABLE and "etcd" in detail


# Watches


async def test_a_watch_shows_everything_and_then_every_change(plane: ControlPlane, services: Client) -> None:
    call = services.watch()
    assert not (await call.read()).services
    made = await services.register()
    view = await call.read()
    assert view.revision == made.revision
    assert [one.service.service_name for one in view.services] == ["orders"]
    plane.fleet.hello("gw-1", "0.1.0")
    plane.fleet.health("gw-1", [InstanceHealth("orders", "a", InstanceStatus.UNHEALTHY, 3, "refused")])
    view = await call.read()
    assert view.services[0].instances[0].status == status_pb2.INSTANCE_STATUS_UNHEALTHY
    call.cancel()


async def test_a_watch_is_silent_while_nothing_that_it_shows_changes(
    plane: ControlPlane, services: Client
) -> None:
    call = services.watch()
    first = await call.read()
    await plane.put(Scope(name="a"))
    plane.fleet.hello("gw-1", "0.1.0")
    made = await services.register()
    second = await call.read()
    assert (len(first.services), len(second.services), second.revision) == (0, 1, made.revision)
    call.cancel()


async def test_a_watch_of_changes_is_told_what_changed(plane: ControlPlane, services: Client) -> None:
    await plane.put(Service(service_name="quiet"), Service(service_name="busy"))
    call = services.watch(changes=True, without_routes=True)
    first = await call.read()
    assert not first.changes and len(first.services) == len(first.circuits) == 2
    await plane.put(Service(service_name="busy", check_path="/other"))
    second = await call.read()
    assert second.changes and [one.service.service_name for one in second.services] == ["busy"]
    plane.fleet.hello("gw-1", "0.1.0")
    plane.fleet.stats("gw-1", StatsReport(circuits=(CircuitReport("busy", total_requests=3),)))
    third = await call.read()
    assert (len(third.services), [one.circuit.total_requests for one in third.circuits]) == (0, [3])
    await plane.store.commit({}, [Delete(key_of("service", "busy"))])
    fourth = await call.read()
    assert sorted((one.kind, one.name) for one in fourth.removed) == [
        ("circuit", "busy"),
        ("service", "busy"),
    ]
    call.cancel()


async def test_what_was_not_asked_for_wakes_nobody(plane: ControlPlane, services: Client) -> None:
    await plane.put(Service(service_name="orders"))
    call = services.watch(changes=True, without_services=True, without_routes=True)
    assert len((await call.read()).circuits) == 1
    await services.register()
    last = await plane.put(Service(service_name="payments"))
    later = await call.read()
    assert later.revision == last and [one.circuit.service_name for one in later.circuits] == ["payments"]
    call.cancel()


async def test_a_watch_of_one_service_is_told_of_nothing_else(plane: ControlPlane, services: Client) -> None:
    await plane.put(Service(service_name="orders"), Service(service_name="payments"))
    call = services.watch(changes=True, services=["orders"], without_routes=True)
    first = await call.read()
    assert [one.service.service_name for one in first.services] == ["orders"]
    assert [one.circuit.service_name for one in first.circuits] == ["orders"]
    await plane.put(Service(service_name="payments", check_path="/other"))
    last = await plane.put(Service(service_name="orders", check_path="/other"))
    later = await call.read()
    assert (later.revision, [one.service.check_path for one in later.services]) == (last, ["/other"])
    call.cancel()
    many = services.watch(services=[f"s{number}" for number in range(1001)])
    with pytest.raises(grpc.aio.AioRpcError, match="at most 1000"):
        await anext(aiter(many))


async def test_a_slow_watcher_gets_the_last_view(plane: ControlPlane, services: Client) -> None:
    call = services.watch()
    await call.read()
    for number in range(20):
        last = await plane.put(Service(service_name=f"s{number}"))
    views = [await call.read()]
    while views[-1].revision < last:
        views.append(await call.read())
    assert len(views[-1].services) == 20
    assert len(views) < 20
    call.cancel()


async def test_a_watch_ends_with_the_server(plane: ControlPlane, services: Client) -> None:
    call = services.watch()
    await call.read()
    async with asyncio.timeout(30):
        await plane.server.stop(10)
    assert (await call.code(), await call.details()) == (Code.UNAVAILABLE, "the control plane is stopping")


async def test_watches_are_bounded_and_given_back(plane: ControlPlane, services: Client) -> None:
    service = plane.server._parts.registry
    service._most_watches = 1
    first = services.watch()
    await first.read()
    assert await services.watch().code() is Code.RESOURCE_EXHAUSTED
    first.cancel()
    await eventually(lambda: service._watches == 0)
    again = services.watch()
    await again.read()
    again.cancel()


async def test_a_watch_ends_with_the_token(
    plane: ControlPlane, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plane.put(Scope(name="gateway:read"))
    call = Client(channel, await plane.user("ann", "gateway:read")).watch()
    await call.read()
    monkeypatch.setattr(plane.server._parts.registry, "_wall", lambda: time.time() + 3600)
    plane.watcher.changed.notify()
    assert await call.code() is Code.UNAUTHENTICATED


# Who may do what

LOOKS = [
    ("ListServices", pb.ListServicesRequest()),
    ("ListRoutes", pb.ListRoutesRequest()),
    ("ListCircuits", pb.ListCircuitsRequest()),
    ("GetService", pb.GetServiceRequest(service_name="orders")),
]
REGISTERS = [
    ("Register", pb.RegisterRequest(instance=instance(), service=ORDERS)),
    ("Deregister", pb.DeregisterRequest(service_name="orders", instance_id="a")),
]
CHANGES = [("ResetCircuit", pb.ResetCircuitRequest(service_name="orders"))]


async def answers(client: Client, calls: list[tuple[str, Any]]) -> set[str]:
    found = set()
    for method, request in calls:
        try:
            await client.call(method, request)
            found.add("OK")
        except grpc.aio.AioRpcError as error:
            found.add(error.code().name)
    return found


async def test_services_may_look_and_register(plane: ControlPlane, services: Client) -> None:
    await plane.put(Service(service_name="orders"))
    assert await answers(services, LOOKS + REGISTERS) == {"OK"}
    assert await answers(services, CHANGES) == {"PERMISSION_DENIED"}


@pytest.mark.parametrize(
    ("scopes", "looks", "changes"),
    [
        (("gateway:admin",), "OK", "OK"),
        (("gateway:read",), "OK", "PERMISSION_DENIED"),
        (("orders:read",), "PERMISSION_DENIED", "PERMISSION_DENIED"),
        ((), "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ],
)
async def test_people_may_do_what_their_scopes_say(
    plane: ControlPlane, channel: grpc.aio.Channel, scopes: tuple[str, ...], looks: str, changes: str
) -> None:
    await plane.put(Service(service_name="orders"), *(Scope(name=name) for name in scopes))
    person = Client(channel, await plane.user("ann", *scopes))
    assert await answers(person, LOOKS) == {looks}
    assert await answers(person, REGISTERS + CHANGES) == {changes}


async def test_what_the_user_holds_now_counts(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    await plane.put(Scope(name="gateway:read"), Scope(name="gateway:admin"), Service(service_name="orders"))
    person = Client(channel, await plane.user("ann", "gateway:read", "gateway:admin"))
    await plane.put(User(username="ann", scopes=("gateway:read",)))
    assert await answers(person, LOOKS) == {"OK"}
    assert await answers(person, CHANGES) == {"PERMISSION_DENIED"}
    await plane.put(User(username="ann", scopes=("gateway:read",), disabled=True))
    assert await answers(person, LOOKS) == {"UNAUTHENTICATED"}


async def test_a_token_for_less_than_the_user_holds(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    await plane.put(Scope(name="gateway:read"), Scope(name="gateway:admin"), Service(service_name="orders"))
    token = await plane.user("ann", "gateway:read", "gateway:admin", asked="gateway:read")
    assert await answers(Client(channel, token), CHANGES) == {"PERMISSION_DENIED"}


async def test_a_new_user_is_known_before_it_is_published(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    await plane.put(Scope(name="gateway:read"), Service(service_name="orders"))
    token = await plane.user("ann", "gateway:read")
    # What is published stays as it was before: the store itself is asked.
    assert plane.watcher.current is not None
    without = {key: value for key, value in plane.current.resources.items() if key[0] != "user"}
    plane.watcher.current = type(plane.current)(plane.current.revision, without)
    assert await answers(Client(channel, token), LOOKS) == {"OK"}


@pytest.mark.parametrize("token", ["", "wrong", "a.b.c", "a.b.c.d", "é.é.é", "x" * 5000])
async def test_strangers_may_nothing(plane: ControlPlane, channel: grpc.aio.Channel, token: str) -> None:
    client = Client(channel, token.encode("ascii", "replace").decode())
    assert await answers(client, LOOKS + REGISTERS + CHANGES) == {"UNAUTHENTICATED"}
    assert await client.watch().code() is Code.UNAUTHENTICATED


async def test_tokens_wait_for_the_keys_and_services_do_not(
    plane: ControlPlane, channel: grpc.aio.Channel, services: Client
) -> None:
    await plane.put(Service(service_name="orders"))
    token = await plane.user("ann")
    plane.tokens = None
    assert await answers(Client(channel, token), LOOKS) == {"UNAVAILABLE"}
    assert await answers(services, LOOKS) == {"OK"}


async def test_resetting_a_circuit_reaches_the_data_planes(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    await plane.put(Service(service_name="orders"), Scope(name="gateway:admin"))
    admin = Client(channel, await plane.user("ann", "gateway:admin"))
    reset = await admin.call("ResetCircuit", pb.ResetCircuitRequest(service_name="orders"))
    await plane.published(reset.revision)
    assert any(kind == "reset" for kind, _ in plane.current.resources)
    assert await admin.refused("ResetCircuit", pb.ResetCircuitRequest(service_name="carts")) == (
        Code.NOT_FOUND,
        "service 'carts' does not exist",
    )
