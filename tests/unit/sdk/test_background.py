"""Registering behind a service: nothing waits for it, and it goes on until it has come about."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

import headgate
from demo.ports import free_port
from headgate import Misconfigured, Registration, ServiceDefinition
from headgate.advertise import default_instance_id, fitted_id
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.listening import listening, listening_at
from tests.support.waiting import eventually, within


def registering(registry: FakeRegistry, port: int, **options: Any) -> Registration:
    defaults: dict[str, Any] = {"host": "127.0.0.1", "instance_id": "a", "token": TOKEN, "background": True}
    options = defaults | {"controlplane": registry.address} | options
    return headgate.register(ServiceDefinition("orders"), port=port, **options)


async def test_it_registers_once_the_service_listens(registry: FakeRegistry) -> None:
    port = free_port()
    async with registering(registry, port) as registration:
        assert not registration.registered
        assert "Register" not in registry.calls
        async with listening(port):
            await eventually(lambda: registration.registered)
            assert ("orders", "a") in registry.instances
    assert not registry.instances


async def test_what_fails_is_told_once_and_tried_again(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.token = "another"
    port = free_port()
    async with listening(port), registering(registry, port) as registration:
        await eventually(lambda: registry.calls.count("Register") >= 3)
        (line,) = (record.getMessage() for record in caplog.records)
        assert "refuses the token" in line and "headgate token service" in line
        assert "\n" not in line
        registry.token = TOKEN
        await eventually(lambda: registration.registered)


async def test_without_a_control_plane_it_enters_and_leaves(registry: FakeRegistry) -> None:
    await registry.stop()
    port = free_port()
    async with listening(port):
        await within(enter_and_leave(registering(registry, port)))


async def enter_and_leave(registration: Registration) -> None:
    async with registration:
        pass


async def test_wrong_values_end_it_with_a_line(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async with registering(registry, 9000, weight="heavy") as registration:
        await eventually(lambda: "not registered: weight: 'heavy' is not a possible value" in caplog.text)
        assert not registration.registered


async def test_a_function_for_the_token_may_fail(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(5, "the secret is not mounted yet")]

    def token() -> str:
        if failures:
            raise failures.pop()
        return TOKEN

    port = free_port()
    async with listening(port), registering(registry, port, token=token) as registration:
        await eventually(lambda: registration.registered)
    (line,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "the function that gives the token failed: OSError(5, 'the secret is not mounted yet')" in line


async def test_a_token_may_end_its_line(registry: FakeRegistry) -> None:
    port = free_port()
    async with listening(port), registering(registry, port, token=f"{TOKEN}\n") as registration:
        await eventually(lambda: registration.registered)


async def test_an_error_that_nobody_foresaw_is_logged(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> bool:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("headgate.registration.await_listening", fails)
    async with registering(registry, 9000) as registration:
        await eventually(lambda: "registering instance orders/a ended by an error" in caplog.text)
        assert not registration.registered
    assert "unforeseen" in caplog.text


@pytest.mark.parametrize("port", [0, -1, 65_536, 90_000])
def test_a_port_that_is_none_is_refused_at_once(registry: FakeRegistry, port: int) -> None:
    with pytest.raises(Misconfigured, match=f"{port} is not a port"):
        registering(registry, port)


async def test_waiting_before_the_service_listens_is_no_deadlock(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a lifespan: the server listens when the block is entered, and not before."""
    caplog.set_level(logging.INFO, "headgate")
    port = free_port()
    async with registering(registry, port, wait=True, background=False) as registration:
        assert registration.registered
        await eventually(lambda: "gets requests from every data plane" in caplog.text)
    assert f"nothing listens on port {port} yet: waiting in the background" in caplog.text


async def test_the_outcome_of_waiting_is_told(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.stragglers = {"gateway-1": "finds it unhealthy: 404"}
    port = free_port()
    async with listening(port), registering(registry, port, wait=5, drain=False):
        await eventually(lambda: "gateway-1 (finds it unhealthy: 404)" in caplog.text)


async def test_hurrying_ends_the_wait_for_requests_under_way(registry: FakeRegistry) -> None:
    registry.draining = asyncio.Event()
    port = free_port()
    async with listening(port):
        registration = registering(registry, port, drain=20)
        await registration.__aenter__()
        await eventually(lambda: registration.registered)
        leaving = asyncio.create_task(registration.__aexit__(None, None, None))
        await eventually(lambda: "Deregister" in registry.calls)
        assert registry.instances
        registration.hurry()
        await within(leaving)
    assert not registry.instances


async def test_a_unix_socket_has_no_port(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "orders.sock"
    monkeypatch.setenv("HEADGATE_HOST", f"unix:{path}")
    monkeypatch.setattr("socket.gethostname", lambda: "web-1")
    place: dict[str, Any] = {"controlplane": registry.address, "token": TOKEN}
    async with headgate.register(ServiceDefinition("orders"), background=True, **place) as registration:
        assert not registration.registered
        async with listening_at(path):
            await eventually(lambda: registration.registered)
        instance = registration.instance
        assert (instance.instance_id, instance.host, instance.port) == (
            default_instance_id("web-1", str(path)),
            f"unix:{path}",
            0,
        )


async def test_host_and_port_of_the_environment(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_HOST", "shop.internal")
    monkeypatch.setenv("HEADGATE_PORT", "8443")
    request = headgate.register("orders", controlplane=registry.address).request
    assert (request.host, request.port) == ("shop.internal", 8443)
    monkeypatch.setenv("HEADGATE_INSTANCE", "Shop-7d4b-" + "x" * 80)
    named = headgate.register("orders", controlplane=registry.address).request.instance_id
    assert named == fitted_id("Shop-7d4b-" + "x" * 80)
    given = headgate.register("orders", instance_id="orders-1", controlplane=registry.address)
    assert given.request.instance_id == "orders-1"
    for wrong in ("", "http"):
        monkeypatch.setenv("HEADGATE_PORT", wrong)
        with pytest.raises(Misconfigured, match="HEADGATE_PORT"):
            headgate.register("orders", controlplane=registry.address)
