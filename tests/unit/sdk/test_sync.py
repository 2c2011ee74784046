"""The same without asyncio. The fake registry runs in the SDK's own loop thread: one event loop per process."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator

import pytest

import headgate
from headgate import (
    BucketNotFound,
    CircuitState,
    HeadgateError,
    RegistrationRequest,
    ServiceDefinition,
    ServiceNotFound,
    Unavailable,
)
from headgate.loop_thread import loop_thread
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import status_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry

ORDERS = ServiceDefinition("orders")


async def make() -> FakeRegistry:
    return await FakeRegistry().__aenter__()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with loop_thread:
        registry = loop_thread.run(make())
        yield registry
        loop_thread.run(registry.stop())


def headgate_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "headgate"]


def test_registry_and_router(fake: FakeRegistry) -> None:
    fake.circuits.clear()
    with headgate.sync.connect(fake.address, token=TOKEN) as gateway:
        request = RegistrationRequest("orders", "a", "127.0.0.1", 9001, definition=ORDERS)
        assert gateway.registry.register_service(request).instance_id == "a"
        [service] = gateway.registry.get_services()
        assert list(service.instances) == ["a"]
        gateway.registry.deregister_service("orders", "a")
        assert gateway.registry.get_service("orders").total == 0
        with pytest.raises(ServiceNotFound):
            gateway.registry.get_service("nope")
        assert gateway.router.get_routes() == {}
        assert gateway.connected


def test_circuit_breakers(fake: FakeRegistry) -> None:
    fake.add_circuit("orders", state=status_pb2.CIRCUIT_STATE_OPEN, failed_requests=5, recent_failures=5)
    with headgate.sync.connect(fake.address, token=TOKEN) as gateway:
        breaker = gateway.router.circuit_breakers["orders"]
        assert (breaker.service_name, breaker.state) == ("orders", CircuitState.OPEN)
        assert (breaker.stats.failed_requests, breaker.config.failure_threshold) == (5, 5)
        assert (breaker.last_state_change, breaker.reason) == (None, "")
        assert breaker._get_recent_failures() == breaker.recent_failures == 5
        breaker.reset()
        breaker.refresh()
        assert breaker.state is CircuitState.CLOSED
        assert set(breaker.dataplanes) == {"gateway-1"}
        assert "closed" in repr(breaker)


def test_rate_limits(fake: FakeRegistry) -> None:
    fake.limits = [pb.RateLimitView(name="callers", mode="local", key="subject", refused=3)]
    fake.found["ann"] = pb.ResetRateLimitResponse(revision=7, limits={"callers": 2})
    with headgate.sync.connect(fake.address, token=TOKEN) as gateway:
        (limit,) = gateway.router.get_rate_limits("callers", most=5)
        assert (limit.name, limit.refused) == ("callers", 3)
        assert gateway.router.reset_rate_limit("ann").buckets == 2
        with pytest.raises(BucketNotFound):
            gateway.router.reset_rate_limit("nobody")


def test_registration(fake: FakeRegistry) -> None:
    registration = headgate.sync.register(
        ORDERS, host="127.0.0.1", port=9001, instance_id="a", controlplane=fake.address, token=TOKEN
    )
    with registration:
        assert registration.registered
        assert registration.instance.port == 9001
        assert registration.revision
        assert registration.last_error is None
        assert ("orders", "a") in fake.instances
    assert ("orders", "a") not in fake.instances


def test_out_after_an_exception_too(fake: FakeRegistry) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        headgate.sync.register(ORDERS, port=9001, controlplane=fake.address, token=TOKEN),
    ):
        _ = 1 / 0
    assert not fake.instances


def test_the_thread_ends_with_the_last_user() -> None:
    with loop_thread:
        assert headgate_threads() == ["headgate"]
        with loop_thread:
            assert headgate_threads() == ["headgate"]
    assert headgate_threads() == []


def test_nobody_there_leaves_no_thread() -> None:
    with pytest.raises(Unavailable), headgate.sync.connect("127.0.0.1:1"):
        pass
    assert headgate_threads() == []


def test_not_entered() -> None:
    with pytest.raises(HeadgateError, match="async with"):
        _ = headgate.sync.connect("127.0.0.1:1").registry


@pytest.mark.parametrize("name", ["connect", "register"])
def test_same_parameters_and_documentation_as_the_asynchronous_name(name: str) -> None:
    ours, original = getattr(headgate.sync, name), getattr(headgate, name)
    assert inspect.getdoc(ours) == inspect.getdoc(original)
    assert inspect.signature(ours) == inspect.signature(original)


@pytest.mark.parametrize("name", ["Registry", "Router", "CircuitBreaker", "Gateway", "Registration"])
def test_nothing_public_is_missing(name: str) -> None:
    public = {attribute for attribute in vars(getattr(headgate, name)) if not attribute.startswith("_")}
    ours = set(vars(getattr(headgate.sync, name)))
    assert public - ours <= {"adopt", "close"}  # the watch's and the connection's own business
