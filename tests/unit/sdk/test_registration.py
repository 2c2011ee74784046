"""register(): getting in, staying in over every kind of outage, and getting out."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import headgate
from demo.ports import free_port
from headgate import (
    HeadgateError,
    InvalidDefinition,
    Misconfigured,
    Registration,
    ServiceDefinition,
    Unauthenticated,
    Unavailable,
)
from headgate_api.v1 import status_pb2
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.listening import listening
from tests.support.waiting import eventually

ORDERS = ServiceDefinition("orders", check_interval=1)
KEY = ("orders", "a")


def registering(registry: FakeRegistry, **options: Any) -> Registration:
    defaults: dict[str, Any] = {"host": "127.0.0.1", "port": 9001, "instance_id": "a", "token": TOKEN}
    options = defaults | {"controlplane": registry.address} | options
    return headgate.register(options.pop("service", ORDERS), **options)


def is_in(registration: Registration) -> bool:
    """Not the attribute itself, which the type checker would believe to stay as it was."""
    return registration.registered


@pytest.fixture(params=["stream", "calls"])
async def hasty(request: pytest.FixtureRequest) -> Any:
    """A registry whose leases are so short that a keep-alive comes every 50 ms: over a stream, or as calls."""
    async with FakeRegistry(ttl=0.15) as fake:
        fake.old = request.param == "calls"
        yield fake


async def test_in_and_out(registry: FakeRegistry) -> None:
    registration = registering(registry, weight=3, metadata={"zone": "a"})
    assert not is_in(registration)
    async with registration:
        assert is_in(registration)
        assert registration.revision == registry.revision
        sent = registry.instances[KEY].instance
        assert (sent.host, sent.port, sent.weight, dict(sent.metadata)) == (
            "127.0.0.1",
            9001,
            3,
            {"zone": "a"},
        )
        assert registry.services["orders"].check_interval == 1
        assert registration.instance.weight == 3
    assert not is_in(registration)
    assert KEY not in registry.instances


async def test_out_after_an_exception_too(registry: FakeRegistry) -> None:
    with pytest.raises(ZeroDivisionError):
        async with registering(registry):
            _ = 1 / 0
    assert KEY not in registry.instances


async def test_out_after_a_cancellation_even_a_repeated_one(registry: FakeRegistry) -> None:
    inside = asyncio.Event()

    async def serve() -> None:
        async with registering(registry):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await inside.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert KEY not in registry.instances


async def test_a_service_that_exists_is_named_only(registry: FakeRegistry) -> None:
    async with registering(registry), registering(registry, service="orders", instance_id="b"):
        assert ("orders", "b") in registry.instances


async def test_a_definition_that_was_not_taken_is_told(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async with registering(registry):
        other = ServiceDefinition("orders", check_interval=2, check_path="/up")
        async with registering(registry, service=other, instance_id="b"):
            await eventually(lambda: "keeps its own check_path, check_interval" in caplog.text)
    assert "instance orders/a" not in caplog.text


async def test_the_lease_is_kept(hasty: FakeRegistry) -> None:
    async with registering(hasty) as registration:
        await eventually(lambda: hasty.calls.count("KeepAlive") >= 4)
        assert is_in(registration)
        assert hasty.calls.count("Register") == 1


async def test_a_lease_that_ended_is_taken_anew(hasty: FakeRegistry) -> None:
    changes: list[bool] = []
    async with registering(hasty, on_change=changes.append) as registration:
        hasty.end_leases()
        await eventually(lambda: KEY in hasty.instances)
        await eventually(lambda: registration.registered)
    assert changes == [True, False, True]


async def test_back_after_the_control_plane_was_gone(hasty: FakeRegistry) -> None:
    async with registering(hasty) as registration:
        await hasty.stop()
        await eventually(
            lambda: not registration.registered and isinstance(registration.last_error, Unavailable)
        )
        hasty.end_leases()
        await hasty.start()
        await eventually(lambda: registration.registered)
        assert registration.last_error is None
        assert KEY in hasty.instances


async def test_a_short_outage_costs_no_registration() -> None:
    async with FakeRegistry(ttl=3) as registry, registering(registry) as registration:
        registry.down = True
        await eventually(lambda: registration.last_error is not None)
        assert is_in(registration)
        registry.down = False
        await eventually(lambda: registration.last_error is None)
        assert registry.calls.count("Register") == 1


async def test_back_after_the_token_was_refused_for_a_while(
    hasty: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async with registering(hasty) as registration:
        hasty.token = "another"
        await eventually(lambda: isinstance(registration.last_error, Unauthenticated))
        await eventually(lambda: not registration.registered)
        hasty.token = TOKEN
        await eventually(lambda: registration.registered)
    warnings = [r.message for r in caplog.records if r.levelno >= logging.WARNING and "refuses" in r.message]
    assert len(warnings) == 1  # once, not at every attempt
    assert TOKEN not in caplog.text


async def test_another_control_plane_takes_over(hasty: FakeRegistry) -> None:
    async with FakeRegistry(ttl=0.15) as second:
        both = f"{hasty.address},{second.address}"
        async with registering(hasty, controlplane=both) as registration:
            await hasty.stop()
            await eventually(lambda: KEY in second.instances and registration.registered)
        assert KEY not in second.instances


async def test_an_error_in_on_change_ends_nothing(
    hasty: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: bool) -> None:
        raise ValueError("mine")

    async with registering(hasty, on_change=broken):
        hasty.end_leases()
        await eventually(lambda: KEY in hasty.instances)
    assert "on_change of instance orders/a failed" in caplog.text


async def test_entering_waits_for_the_control_plane(registry: FakeRegistry) -> None:
    registry.down = True
    entered = asyncio.create_task(enter_and_leave(registry))
    await eventually(lambda: registry.calls.count("Register") >= 2)
    registry.down = False
    await entered


async def enter_and_leave(registry: FakeRegistry) -> None:
    async with registering(registry):
        assert KEY in registry.instances


async def test_entering_gives_up_at_the_deadline(registry: FakeRegistry) -> None:
    registry.down = True
    with pytest.raises(Unavailable, match="the store does not answer"):
        async with registering(registry, deadline=0.3):
            pass
    assert registry.calls.count("Register") >= 2


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"token": "wrong"}, Unauthenticated),
        ({"service": "nope"}, InvalidDefinition),
    ],
)
async def test_what_does_not_mend_itself_is_raised_at_once(
    registry: FakeRegistry, options: dict[str, Any], kind: type[HeadgateError]
) -> None:
    with pytest.raises(kind):
        async with registering(registry, **options):
            pass
    assert registry.calls == ["Register"]


async def test_a_port_that_cannot_be_one(registry: FakeRegistry) -> None:
    for port in (0, 65_536):
        with pytest.raises(Misconfigured, match=f"{port} is not a port"):
            registering(registry, port=port)
    assert not registry.calls


async def test_a_definition_without_a_name() -> None:
    with pytest.raises(InvalidDefinition, match="service_name"):
        headgate.register(ServiceDefinition(), port=9001)


async def test_leaving_while_nobody_answers_is_not_an_error(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async with registering(registry):
        await registry.stop()
    assert "leaves when its lease of 15 s ends" in caplog.text


async def test_the_default_host_is_the_address_towards_the_control_plane(registry: FakeRegistry) -> None:
    async with registering(registry, host=None) as registration:
        assert registration.instance.host == "127.0.0.1"


async def test_a_control_plane_that_cannot_be_resolved_is_waited_for(registry: FakeRegistry) -> None:
    with pytest.raises(Unavailable, match="no way to the control plane"):
        async with registering(
            registry, host=None, controlplane="nowhere.invalid:1", insecure=True, deadline=0.1
        ):
            pass


async def test_outside_the_block_there_is_no_instance(registry: FakeRegistry) -> None:
    with pytest.raises(HeadgateError, match="async with"):
        _ = registering(registry).instance


async def test_workers_that_share_an_address_share_the_instance(
    hasty: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """As gunicorn's do: nobody takes anything from anybody, and the last one takes the instance out."""
    caplog.set_level(logging.INFO, "headgate")
    async with registering(hasty) as first:
        async with registering(hasty):
            kept = hasty.calls.count("KeepAlive")
            await eventually(lambda: hasty.calls.count("KeepAlive") >= kept + 10)
            assert hasty.calls.count("Register") == 2
            assert "as one of 2 processes" in caplog.text
        assert KEY in hasty.instances
        assert is_in(first)
    assert KEY not in hasty.instances


async def test_a_late_goodbye_leaves_the_successor_alone(registry: FakeRegistry) -> None:
    async with registering(registry):
        successor = registering(registry, port=9002)
        await successor.__aenter__()
    assert registry.instances[KEY].instance.port == 9002
    await successor.__aexit__(None, None, None)
    assert KEY not in registry.instances


async def test_a_duplicate_is_told_loudly_and_fights_with_nobody(
    hasty: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    async with registering(hasty) as first:
        async with registering(hasty, port=9002) as second:
            await eventually(lambda: isinstance(first.last_error, headgate.DuplicateInstance))
            assert not is_in(first)
            assert is_in(second)
            assert hasty.instances[KEY].instance.port == 9002
        await eventually(lambda: is_in(first))  # the place is free again
    # A call that times out in between, on a busy machine, makes the same message due again.
    (loud,) = {record.getMessage() for record in caplog.records if record.levelno == logging.ERROR}
    assert "is registered at 127.0.0.1:9002" in loud
    assert "took the place of the one at 127.0.0.1:9001" in caplog.text


async def test_draining_outlives_the_lease(hasty: FakeRegistry) -> None:
    async with registering(hasty):
        hasty.instances[KEY].status = status_pb2.INSTANCE_STATUS_DRAINING
        kept = hasty.calls.count("KeepAlive")
        await eventually(lambda: hasty.calls.count("KeepAlive") >= kept + 2)
        hasty.end_leases()
        await eventually(lambda: KEY in hasty.instances)
        assert hasty.instances[KEY].instance.draining


async def test_a_failing_entry_leaves_no_instance_behind(registry: FakeRegistry) -> None:
    """Whatever fails, and whether the answer of the registration arrived or not."""
    registry.slow = asyncio.Event()
    entering = asyncio.create_task(enter_and_leave(registry))
    await eventually(lambda: KEY in registry.instances)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await eventually(lambda: KEY not in registry.instances)
    registry.slow = None
    registry.fail_waits = True
    port = free_port()
    async with listening(port):
        with pytest.raises(Unavailable):
            async with registering(registry, port=port, wait=True):
                pass
    assert KEY not in registry.instances
