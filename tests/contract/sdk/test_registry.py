"""The SDK against the real registry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import headgate
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    StatsReport,
)
from headgate import (
    CircuitConfig,
    Forbidden,
    InvalidDefinition,
    LoadBalancer,
    RegistrationRequest,
    ServiceDefinition,
    ServiceNotFound,
    ServiceStatus,
    Timeouts,
    Unauthenticated,
    Unavailable,
)
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.contract.sdk.conftest import ControlPlane
else:
    ControlPlane = Any

TOKEN = "the-services-token"
FULL = ServiceDefinition(
    "orders",
    check_path="/ready",
    check_interval=7,
    check_timeout=2,
    healthy_threshold=3,
    unhealthy_threshold=4,
    load_balancer=LoadBalancer.LEAST_REQUEST,
    circuit=CircuitConfig(failure_threshold=9, failure_window=30),
    timeouts=Timeouts(connect=1),
)


def registering(controlplane: ControlPlane, **options: Any) -> headgate.Registration:
    defaults: dict[str, Any] = {"host": "127.0.0.1", "port": 9001, "instance_id": "a", "token": TOKEN}
    options = defaults | {"controlplane": controlplane.grpc} | options
    return headgate.register(options.pop("service", FULL), **options)


def connected(controlplane: ControlPlane, token: str = TOKEN) -> headgate.Gateway:
    return headgate.connect(controlplane.grpc, token=token)


async def listed(gateway: headgate.Gateway, name: str) -> headgate.Service | None:
    try:
        return await gateway.registry.get_service(name)
    except ServiceNotFound:
        return None


async def test_a_definition_arrives_as_it_was_made(controlplane: ControlPlane) -> None:
    async with (
        registering(controlplane, metadata={"zone": "a"}, weight=3),
        connected(controlplane) as gateway,
    ):
        service = await eventually(lambda: listed(gateway, "orders"))
        assert service is not None
        assert service.definition == FULL
        instance = service.instances["a"]
        assert (instance.host, instance.port, instance.weight) == ("127.0.0.1", 9001, 3)
        assert (dict(instance.metadata), instance.status) == ({"zone": "a"}, ServiceStatus.STARTING)


async def test_leaving_takes_the_instance_out(controlplane: ControlPlane) -> None:
    async with connected(controlplane) as gateway:
        async with registering(controlplane):
            await eventually(lambda: listed(gateway, "orders"))
        service = await gateway.registry.get_service("orders")
        await eventually(lambda: gone(gateway))
        assert service.definition.check_path == "/ready"


async def gone(gateway: headgate.Gateway) -> bool:
    return not (await gateway.registry.get_service("orders")).instances


async def test_whoever_changes_something_sees_it_at_once(controlplane: ControlPlane) -> None:
    async with connected(controlplane) as gateway:
        for _ in range(5):
            request = RegistrationRequest("orders", "a", "127.0.0.1", 9001, definition=FULL)
            await gateway.registry.register_service(request)
            assert "a" in (await gateway.registry.get_service("orders")).instances
            await gateway.registry.deregister_service("orders", "a")
            assert not (await gateway.registry.get_service("orders")).instances
        await gateway.registry.deregister_service("orders", "never")


async def test_a_lease_that_ended_is_taken_anew(controlplane: ControlPlane) -> None:
    async with registering(controlplane, ttl=5) as registration:
        lease = (await controlplane.store.list("/headgate/v1/instance/orders/a")).entries[0].lease
        await controlplane.store.revoke(lease)
        await eventually(lambda: again(controlplane, lease))
        await eventually(lambda: registration.registered)


async def again(controlplane: ControlPlane, before: int) -> bool:
    entries = (await controlplane.store.list("/headgate/v1/instance/orders/a")).entries
    return bool(entries) and entries[0].lease != before


async def test_waits_for_the_store(controlplane: ControlPlane) -> None:
    controlplane.store.available = False
    with pytest.raises(Unavailable, match="etcd"):
        async with registering(controlplane, deadline=0.5):
            pass
    controlplane.store.available = True
    async with registering(controlplane):
        pass


async def test_every_problem_is_listed(controlplane: ControlPlane) -> None:
    bad = ServiceDefinition(
        "orders", check_path="nope", check_interval=-1, circuit=CircuitConfig(failure_ratio=2)
    )
    with pytest.raises(InvalidDefinition) as raised:
        async with registering(controlplane, service=bad, instance_id="A b", weight=5000):
            pass
    fields = {problem.split(":")[0] for problem in raised.value.problems}
    assert len(fields) == 5, raised.value.problems


async def test_a_service_that_nobody_declared(controlplane: ControlPlane) -> None:
    with pytest.raises(InvalidDefinition, match="nobody"):
        async with registering(controlplane, service="nobody"):
            pass


async def test_wrong_tokens(controlplane: ControlPlane) -> None:
    for token, refusal in (
        ("wrong", Unauthenticated),
        ("d" * 16, Forbidden),
    ):  # the latter is the data planes'
        with pytest.raises(refusal):
            async with connected(controlplane, token):
                pass
        with pytest.raises(refusal):
            async with registering(controlplane, token=token):
                pass


async def test_the_services_token_may_not_reset(controlplane: ControlPlane) -> None:
    async with registering(controlplane), connected(controlplane) as gateway:
        await eventually(lambda: "orders" in gateway.router.circuit_breakers)
        with pytest.raises(Forbidden, match="Not enough permissions"):
            await gateway.router.circuit_breakers["orders"].reset()


async def test_status_and_breakers_follow_the_data_planes(controlplane: ControlPlane) -> None:
    now = time.time()
    # Nothing acknowledges for the data plane of this test, so that a drain would wait in vain.
    async with registering(controlplane, drain=False), connected(controlplane) as gateway:
        await eventually(lambda: "orders" in gateway.router.circuit_breakers)
        fleet = controlplane.fleet
        fleet.hello("gateway-1", "0.1.0")
        fleet.health("gateway-1", [InstanceHealth("orders", "a", InstanceStatus.HEALTHY, now, "")])
        reason = "Circuit opened after 9 failures"
        report = CircuitReport("orders", CircuitState.OPEN, now, 20, 9, 3, 9, reason)
        fleet.stats("gateway-1", StatsReport(at=now, total_requests=20, circuits=(report,)))
        breaker = gateway.router.circuit_breakers["orders"]
        await eventually(lambda: breaker.state == "open")
        assert (breaker.stats.failed_requests, breaker.reason) == (9, reason)
        assert breaker.config == FULL.circuit
        assert breaker.dataplanes["gateway-1"].recent_failures == 9
        assert breaker.last_state_change is not None
        assert abs(breaker.last_state_change.timestamp() - now) < 0.001
        service = await gateway.registry.get_service("orders")
        assert service.instances["a"].status is ServiceStatus.HEALTHY
        assert service.instances["a"].last_check is not None


async def test_routes(controlplane: ControlPlane) -> None:
    async with connected(controlplane) as gateway:
        routes = await gateway.router.get_routes()
        assert routes["/api/v1"].service_name == "controlplane"
        assert routes["/api/v1"].public


async def test_an_administrator_may_reset(controlplane: ControlPlane) -> None:
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        form = {"grant_type": "password", "username": "admin", "password": "correct horse"}
        answer = await client.post(f"{controlplane.url}/api/v1/auth/token", data=form)
    async with connected(controlplane, answer.json()["access_token"]) as gateway:
        request = RegistrationRequest("orders", "a", "127.0.0.1", 9001, definition=FULL)
        await gateway.registry.register_service(request)
        await eventually(lambda: "orders" in gateway.router.circuit_breakers)
        await gateway.router.circuit_breakers["orders"].reset()
        [reset] = (await controlplane.store.list("/headgate/v1/reset/")).entries
        assert b"orders" in reset.value
        await gateway.registry.deregister_service("orders", "a")


async def test_workers_that_share_an_address_hold_one_instance(controlplane: ControlPlane) -> None:
    async with connected(controlplane) as gateway:
        async with registering(controlplane, ttl=5) as first:
            async with registering(controlplane, ttl=5) as second:
                lease = await held_by(controlplane)
                assert (first.registered, second.registered) == (True, True)
            service = await listed(gateway, "orders")
            assert service is not None and service.total == 1
            assert await held_by(controlplane) == lease, "no worker takes it from another"
            assert first.registered
        assert await gone(gateway)


async def held_by(controlplane: ControlPlane) -> int:
    (entry,) = (await controlplane.store.list("/headgate/v1/instance/orders/")).entries
    return entry.lease


@pytest.mark.parametrize("wait", [False, True])
async def test_what_is_taken_out_from_outside_stays_out(controlplane: ControlPlane, wait: bool) -> None:
    async with connected(controlplane) as gateway, registering(controlplane, ttl=5) as registration:
        await gateway.registry.deregister_service("orders", registration.instance.instance_id, wait=wait)
        await eventually(lambda: not registration.registered)  # a keep-alive has told it
        assert await gone(gateway)
        assert registration.last_error is None
        await gateway.registry.register_service(registration.request)
        await eventually(lambda: registration.registered)


async def test_a_duplicate_at_another_address_is_told(controlplane: ControlPlane) -> None:
    async with registering(controlplane, ttl=5) as first:
        async with registering(controlplane, ttl=5, port=9999) as second:
            await eventually(lambda: isinstance(first.last_error, headgate.DuplicateInstance))
            assert "at 127.0.0.1:9999" in str(first.last_error)
            assert (first.registered, second.registered) == (False, True)
        await eventually(lambda: first.registered, within=10)


async def test_loopback_is_refused_unless_it_is_allowed(controlplane: ControlPlane) -> None:
    with pytest.raises(headgate.InvalidDefinition, match=r"instance\.host: 169\.254\.169\.254 is"):
        async with registering(controlplane, host="169.254.169.254"):
            pass
