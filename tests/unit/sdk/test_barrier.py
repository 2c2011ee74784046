"""Waiting for data planes: registrations that wait for requests, goodbyes that wait for the last one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import headgate
from demo.ports import free_port
from headgate import RegistrationRequest, ServiceDefinition
from headgate.barrier import seconds
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.listening import listening

LATE = {"gw-2": "2 requests under way"}


def register(registry: FakeRegistry, **options: Any) -> headgate.Registration:
    return headgate.register(
        ServiceDefinition("orders"),
        port=options.pop("port", 9001),
        instance_id="a",
        controlplane=registry.address,
        token=TOKEN,
        **options,
    )


def request() -> RegistrationRequest:
    return RegistrationRequest("orders", "a", "127.0.0.1", 9001, definition=ServiceDefinition("orders"))


async def test_leaving_waits_for_the_last_request(registry: FakeRegistry) -> None:
    async with register(registry):
        assert registry.waits == []
    assert registry.waits == [20.0]
    async with register(registry, drain=False):
        pass
    assert registry.waits == [20.0, 0.0]


async def test_leaving_late_is_told_and_no_error(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.stragglers = LATE
    with caplog.at_level(logging.WARNING, "headgate"):
        async with register(registry, drain=3):
            pass
    assert "was removed, but is not drained after 3 s: gw-2 (2 requests under way)" in caplog.text
    assert not registry.instances


async def test_entering_waits_for_requests(registry: FakeRegistry) -> None:
    port = free_port()
    async with listening(port), register(registry, port=port, wait=True) as registration:
        assert registration.registered
        assert registry.waits == [30.0]


async def test_who_gets_no_requests_does_not_stay(registry: FakeRegistry) -> None:
    registry.stragglers = {"gw-2": "finds it unhealthy"}
    port = free_port()
    async with listening(port):
        with pytest.raises(headgate.Stragglers, match=r"gw-2 \(finds it unhealthy\)") as late:
            async with register(registry, port=port, wait=2):
                raise AssertionError("must not be entered")
    assert late.value.nodes == registry.stragglers
    assert not registry.instances


async def test_the_client_waits(registry: FakeRegistry) -> None:
    async with headgate.connect(registry.address, token=TOKEN) as gateway:
        await gateway.registry.register_service(request(), wait=5)
        await gateway.registry.drain_service("orders", "a", wait=4)
        assert ("orders", "a") in registry.instances
        await gateway.registry.deregister_service("orders", "a", wait=True)
        assert registry.waits == [5.0, 4.0, 30.0]
        assert not registry.instances
        with pytest.raises(headgate.NotRegistered, match="instance orders/a is not registered"):
            await gateway.registry.drain_service("orders", "a")


async def test_the_client_names_who_is_late(registry: FakeRegistry) -> None:
    registry.stragglers = LATE
    async with headgate.connect(registry.address, token=TOKEN) as gateway:
        with pytest.raises(headgate.Stragglers):
            await gateway.registry.register_service(request(), wait=True)
        with pytest.raises(headgate.Stragglers, match="is not drained after 30 s"):
            await gateway.registry.drain_service("orders", "a")
        # Without a wait nobody is late.
        await gateway.registry.drain_service("orders", "a", wait=0)
        with pytest.raises(headgate.Stragglers):
            await gateway.registry.deregister_service("orders", "a", wait=True)
        assert not registry.instances


@pytest.mark.parametrize("wait", [-1, 301, float("nan"), float("inf")])
async def test_waits_that_are_none(registry: FakeRegistry, wait: float) -> None:
    with pytest.raises(headgate.InvalidDefinition, match="not between 0 and 300"):
        seconds(wait)
    with pytest.raises(headgate.InvalidDefinition):
        register(registry, drain=wait)
    async with headgate.connect(registry.address, token=TOKEN) as gateway:
        with pytest.raises(headgate.InvalidDefinition):
            await gateway.registry.register_service(request(), wait=wait)
    assert not registry.instances
