"""connect(): the registry, the router, circuit breakers, fail-over, and what goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import headgate
import headgate.keeper
from headgate import (
    CircuitState,
    Forbidden,
    Gateway,
    HeadgateError,
    InvalidDefinition,
    RegistrationRequest,
    ServiceDefinition,
    ServiceNotFound,
    ServiceStatus,
    Unauthenticated,
    Unavailable,
)
from headgate_api.v1 import resources_pb2, status_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.waiting import eventually

OPEN = status_pb2.CIRCUIT_STATE_OPEN
NOBODY = "127.0.0.1:1"


def request(**changes: Any) -> RegistrationRequest:
    values: dict[str, Any] = {"service_name": "orders", "instance_id": "a", "host": "127.0.0.1", "port": 9001}
    return RegistrationRequest(**values | {"definition": ServiceDefinition()} | changes)


def connected(registry: FakeRegistry, **options: Any) -> Gateway:
    return headgate.connect(registry.address, **{"token": TOKEN} | options)


async def test_register_look_and_deregister(registry: FakeRegistry) -> None:
    async with connected(registry) as gateway:
        instance = await gateway.registry.register_service(request())
        assert (instance.instance_id, instance.status) == ("a", ServiceStatus.STARTING)
        [service] = await gateway.registry.get_services()
        assert (service.service_name, list(service.instances)) == ("orders", ["a"])
        await gateway.registry.deregister_service("orders", "a")
        assert (await gateway.registry.get_service("orders")).instances == {}


async def test_what_was_registered_is_kept_alive_while_connected() -> None:
    async with FakeRegistry(ttl=0.06) as registry, connected(registry) as gateway:
        await gateway.registry.register_service(request())
        await eventually(lambda: registry.calls.count("KeepAlive") >= 3)
        registry.end_leases()
        await eventually(lambda: ("orders", "a") in registry.instances)
        await gateway.registry.deregister_service("orders", "a")
        assert not registry.instances


async def test_the_service_itself_keeps_what_an_operator_registered_anew() -> None:
    async with FakeRegistry(ttl=0.15) as registry, connected(registry) as gateway:
        options: dict[str, Any] = {"controlplane": registry.address, "token": TOKEN, "host": "127.0.0.1"}
        service = ServiceDefinition("orders")
        async with headgate.register(service, port=9001, instance_id="a", **options) as registration:
            await gateway.registry.deregister_service("orders", "a")
            await eventually(lambda: not registration.registered)
            await gateway.registry.register_service(request())
            await eventually(lambda: registration.registered)
            kept = registry.calls.count("KeepAlive")
            await eventually(lambda: registry.calls.count("KeepAlive") >= kept + 5)
            assert registry.calls.count("Register") == 2, "the service's and the operator's, and no more"


async def test_what_an_operator_takes_out_stays_out() -> None:
    """The service goes on running, and its keep-alives do not bring it back."""
    async with FakeRegistry(ttl=0.15) as registry, connected(registry) as gateway:
        options: dict[str, Any] = {"controlplane": registry.address, "token": TOKEN, "host": "127.0.0.1"}
        async with headgate.register(ServiceDefinition("orders"), port=9001, instance_id="a", **options):
            await gateway.registry.deregister_service("orders", "a", wait=True)
            kept = registry.calls.count("KeepAlive")
            await eventually(lambda: registry.calls.count("KeepAlive") >= kept + 5)
            assert not registry.instances
            registry.end_leases()
            await eventually(lambda: registry.calls.count("KeepAlive") >= kept + 6)
        assert not registry.instances, "nor does the loss of its lease"
        assert registry.calls.count("Register") == 1


async def test_registering_again_replaces(registry: FakeRegistry) -> None:
    async with connected(registry) as gateway:
        await gateway.registry.register_service(request())
        await gateway.registry.register_service(request(port=9002))
        service = await gateway.registry.get_service("orders")
        assert [instance.port for instance in service.instances.values()] == [9002]


async def test_an_unknown_service(registry: FakeRegistry) -> None:
    async with connected(registry) as gateway:
        with pytest.raises(ServiceNotFound, match=r"^Service 'nope' not found in registry$") as raised:
            await gateway.registry.get_service("nope")
        assert raised.value.service_name == "nope"


async def test_every_problem_of_a_registration_is_listed(registry: FakeRegistry) -> None:
    async with connected(registry) as gateway:
        with pytest.raises(InvalidDefinition) as raised:
            await gateway.registry.register_service(request(port=0, definition=None))
        assert len(raised.value.problems) == 2


async def test_routes(registry: FakeRegistry) -> None:
    registry.routes["orders"] = resources_pb2.Route(prefix="/orders", service_name="orders", methods=["GET"])
    async with connected(registry) as gateway:
        routes = await gateway.router.get_routes()
        assert {prefix: (route.service_name, route.methods) for prefix, route in routes.items()} == {
            "/orders": ("orders", ("GET",))
        }


async def test_breakers_are_there_once_connected_and_follow(registry: FakeRegistry) -> None:
    registry.add_circuit("orders", total_requests=3)
    async with connected(registry) as gateway:
        breaker = gateway.router.circuit_breakers["orders"]
        assert (breaker.state, breaker.stats.total_requests) == (CircuitState.CLOSED, 3)
        registry.add_circuit("orders", state=OPEN, last_state_change=1_700_000_000, reason="why")
        await eventually(lambda: breaker.state is CircuitState.OPEN)
        assert (breaker.reason, breaker.dataplanes["gateway-1"].state) == ("why", CircuitState.OPEN)
        assert breaker.last_state_change is not None
        assert "open" in repr(breaker)
        registry.add_circuit("payments")
        await eventually(lambda: set(gateway.router.circuit_breakers) == {"orders", "payments"})
        assert gateway.router.circuit_breakers["orders"] is breaker


async def test_a_loop_over_the_breakers_is_not_disturbed(registry: FakeRegistry) -> None:
    for name in ("a", "b", "c"):
        registry.add_circuit(name)
    async with connected(registry) as gateway:
        for name, breaker in gateway.router.circuit_breakers.items():
            registry.circuits.pop(name)
            registry.changed()
            await eventually(lambda: len(gateway.router.circuit_breakers) == len(registry.circuits))
            await breaker.reset()
    assert registry.resets == ["a", "b", "c"]


async def test_reset_and_the_guides_recent_failures(registry: FakeRegistry) -> None:
    registry.add_circuit("orders", state=OPEN, recent_failures=5)
    async with connected(registry) as gateway:
        breaker = gateway.router.circuit_breakers["orders"]
        registry.circuits["orders"].circuit.recent_failures = 7  # nobody was told
        assert await breaker._get_recent_failures() == 7
        await breaker.reset()
        await eventually(lambda: breaker.state is CircuitState.CLOSED)
    assert registry.resets == ["orders"]


async def test_the_watch_comes_back(registry: FakeRegistry) -> None:
    registry.add_circuit("orders")
    async with connected(registry) as gateway:
        breaker = gateway.router.circuit_breakers["orders"]
        await registry.stop()
        await eventually(lambda: not gateway.connected)
        assert "closed" in repr(breaker)  # as it was
        registry.add_circuit("orders", state=OPEN)
        await registry.start()
        await eventually(lambda: breaker.state is CircuitState.OPEN)
        assert gateway.connected


async def test_the_next_address_is_used_when_the_first_is_dead(registry: FakeRegistry) -> None:
    async with headgate.connect(f"{NOBODY},{registry.address}", token=TOKEN) as gateway:
        assert await gateway.registry.get_services() == []


async def test_calls_and_watch_move_on_when_a_control_plane_is_lost(registry: FakeRegistry) -> None:
    async with FakeRegistry() as second:
        second.add_circuit("orders", state=OPEN)
        async with headgate.connect(f"{registry.address},{second.address}", token=TOKEN) as gateway:
            await registry.stop()
            assert await gateway.registry.get_services() == []
            await eventually(lambda: "orders" in gateway.router.circuit_breakers)


async def test_a_control_plane_without_its_store_is_passed_over(registry: FakeRegistry) -> None:
    async with FakeRegistry() as second:
        async with headgate.connect(f"{registry.address},{second.address}", token=TOKEN) as gateway:
            registry.down = True
            assert await gateway.registry.get_services() == []
        assert "ListServices" in second.calls


async def test_many_calls_at_once_move_on_together(registry: FakeRegistry) -> None:
    async with FakeRegistry() as second:
        both = f"{registry.address},{second.address}"
        async with headgate.connect(both, token=TOKEN) as gateway:
            registry.down = True
            answers = await asyncio.gather(*(gateway.registry.get_services() for _ in range(20)))
        assert answers == [[]] * 20


async def test_nobody_there() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer: connection refused"):
        async with headgate.connect(NOBODY):
            pass


async def test_the_port_of_something_else() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as admin_api:
        port = admin_api.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="does not speak gRPC there; the port is that of GRPC_LISTEN"):
            async with headgate.connect(f"127.0.0.1:{port}"):
                pass


async def test_every_address_is_named_when_all_are_dead() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 .*; .*127\.0\.0\.1:2 "):
        async with headgate.connect("127.0.0.1:1,127.0.0.1:2"):
            pass


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_no_proxy_of_the_environment_is_used(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://{NOBODY}")
    async with connected(registry, timeout=5.0) as gateway:
        assert await gateway.registry.get_services() == []


async def test_a_silent_control_plane(registry: FakeRegistry) -> None:
    registry.silent = True
    with pytest.raises(Unavailable, match="timed out"):
        async with connected(registry, timeout=0.1):
            pass


async def test_no_token(registry: FakeRegistry) -> None:
    with pytest.raises(Unauthenticated, match="HEADGATE_TOKEN"):
        async with connected(registry, token=None):
            pass


async def test_a_wrong_token_is_refused_and_not_repeated(registry: FakeRegistry) -> None:
    with pytest.raises(Unauthenticated, match="refuses the token") as raised:
        async with connected(registry, token="wrong"):
            pass
    assert "wrong" not in str(raised.value)
    assert registry.calls == ["Watch"]


async def test_a_good_token_without_the_permission(registry: FakeRegistry) -> None:
    registry.forbidden = True
    with pytest.raises(Forbidden, match="Not enough permissions"):
        async with connected(registry):
            pass


async def test_the_store_goes_away_while_connected(registry: FakeRegistry) -> None:
    async with connected(registry) as gateway:
        registry.down = True
        with pytest.raises(Unavailable, match="the store does not answer"):
            await gateway.registry.get_services()
        registry.down = False
        assert await gateway.registry.get_services() == []


async def test_a_gateway_that_was_not_entered_says_so() -> None:
    gateway = headgate.connect(NOBODY)
    with pytest.raises(HeadgateError, match="async with"):
        _ = gateway.registry
    assert not gateway.connected


async def test_nothing_is_left_behind(registry: FakeRegistry) -> None:
    async with connected(registry) as gateway:
        await gateway.registry.register_service(request())
        await eventually(lambda: registry.watchers == 1)
    await eventually(lambda: registry.watchers == 0)
    assert len(asyncio.all_tasks()) == 1 or not [
        task for task in asyncio.all_tasks() if task.get_name().startswith("headgate")
    ]
