"""Keep-alives of a process over one stream: what goes together, and what happens when it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata

from headgate import Forbidden, HeadgateError, ServiceDefinition, Unauthenticated, Unavailable
from headgate.keep_alives import Replaced, Stream
from headgate.keeper import Keeper
from headgate.models import RegistrationRequest
from headgate.target import Target
from headgate.transport import NotFound, Transport, _Renewed
from headgate_api.v1 import registry_pb2 as pb
from tests.support.fake_registry import TOKEN, FakeRegistry
from tests.support.waiting import eventually

TTL = 15.0


@pytest.fixture
async def other() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as fake:
        yield fake


@pytest.fixture
async def transport(registry: FakeRegistry, other: FakeRegistry) -> AsyncIterator[Transport]:
    """To the registry, and to another one after it."""
    made = Transport(Target.make(f"{registry.address},{other.address}", token=TOKEN))
    yield made
    await made.close()


def holding(lease: int) -> pb.Holding:
    return pb.Holding(lease_id=lease, service_name="orders", instance_id=f"i{lease}")


def lease(number: int, *registries: FakeRegistry) -> pb.Holding:
    """A lease that these registries know."""
    for registry in registries:
        registry.leases[number] = ("orders", f"i{number}")
    return holding(number)


async def test_what_is_due_together_goes_in_one_message_and_is_named_in_full_once(
    registry: FakeRegistry, transport: Transport
) -> None:
    held = [lease(number, registry) for number in range(1, 101)]
    await transport.renew(held[0], TTL)
    for _ in range(2):
        states = await asyncio.gather(*(transport.renew(one, TTL) for one in held))
        assert states == [(15, False, False)] * 100
    first, second, third = registry.messages
    assert (len(first.hold), len(second.hold), list(second.renew)) == (1, 99, [1])
    assert (len(third.hold), sorted(third.renew)) == (0, list(range(1, 101)))


async def test_very_many_go_in_several_messages(registry: FakeRegistry, transport: Transport) -> None:
    held = [lease(number, registry) for number in range(1, 2502)]
    await asyncio.gather(*(transport.renew(one, TTL) for one in held))
    assert [len(message.hold) for message in registry.messages] == [1000, 1000, 501]


async def test_an_ended_lease_is_told_to_its_holder_alone(
    registry: FakeRegistry, transport: Transport
) -> None:
    there = lease(1, registry)
    kept = asyncio.create_task(transport.renew(there, TTL))
    with pytest.raises(NotFound):
        await transport.renew(holding(2), TTL)
    assert await kept == (15, False, False)
    assert len(registry.messages) == 1


async def test_a_control_plane_without_the_stream_is_called_and_not_asked_again(
    registry: FakeRegistry, transport: Transport
) -> None:
    registry.old = True
    held = [lease(number, registry) for number in range(1, 4)]
    for _ in range(2):
        assert await asyncio.gather(*(transport.renew(one, TTL) for one in held)) == [(15, False, False)] * 3
    assert registry.messages == []
    assert registry.calls.count("KeepAlive") == 6
    with pytest.raises(NotFound):
        await transport.renew(holding(9), TTL)


async def test_a_control_plane_that_is_gone_is_left_for_the_next(
    registry: FakeRegistry, other: FakeRegistry, transport: Transport
) -> None:
    held = [lease(number, registry, other) for number in range(1, 4)]
    await asyncio.gather(*(transport.renew(one, TTL) for one in held))
    await registry.stop()
    await asyncio.gather(*(transport.renew(one, TTL) for one in held))
    assert sum(len(message.hold) for message in other.messages) == 3


async def test_one_that_owes_an_answer_is_left_for_the_next(
    registry: FakeRegistry, other: FakeRegistry, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport._keep_alives, "_patience", 0.2)
    one = lease(1, registry, other)
    await transport.renew(one, TTL)
    registry.silent = True
    await transport._keep_alives.close()  # the patience is that of the next stream
    await transport.renew(one, TTL)
    assert len(other.messages) == 1


async def test_a_silent_store_is_told_and_the_stream_stays(registry: FakeRegistry) -> None:
    transport = Transport(Target.make(registry.address, token=TOKEN))
    one = lease(1, registry)
    await transport.renew(one, TTL)
    registry.problem = "the store (etcd) does not answer"
    with pytest.raises(Unavailable, match=r"does not answer: the store \(etcd\) does not answer"):
        await transport.renew(one, TTL)
    registry.problem = ""
    await transport.renew(one, TTL)
    assert [len(message.hold) for message in registry.messages] == [1, 0, 0]
    await transport.close()


async def test_what_fails_for_one_lease_fails_no_other(registry: FakeRegistry) -> None:
    transport = Transport(Target.make(registry.address, token=TOKEN))
    held = [lease(number, registry) for number in (1, 2)]
    registry.problems[1] = "the store (etcd) refuses the control plane"
    for _ in range(2):
        failed, kept = await asyncio.gather(
            *(transport.renew(one, TTL) for one in held), return_exceptions=True
        )
        assert isinstance(failed, Unavailable)
        assert str(failed).endswith("the store (etcd) refuses the control plane")
        assert kept == (15, False, False)
    registry.problems.clear()
    assert await transport.renew(held[0], TTL) == (15, False, False)
    await transport.close()


async def test_a_new_token_begins_a_new_stream(registry: FakeRegistry) -> None:
    tokens = [TOKEN]
    transport = Transport(Target.make(registry.address, token=lambda: tokens[-1]))
    one = lease(1, registry)
    await transport.renew(one, TTL)
    tokens.append("renewed")
    registry.token = "renewed"
    await transport.renew(one, TTL)
    assert [len(message.hold) for message in registry.messages] == [1, 1]
    await transport.close()


async def test_a_new_token_fails_no_renewal_that_is_under_way(registry: FakeRegistry) -> None:
    tokens = [TOKEN]
    transport = Transport(Target.make(registry.address, token=lambda: tokens[-1]))
    try:
        held = [lease(number, registry) for number in range(1, 4)]
        await asyncio.gather(*(transport.renew(one, TTL) for one in held))
        ((stream, _, _),) = transport._keep_alives._open.values()
        waiting = asyncio.create_task(transport.renew(held[0], TTL))
        await eventually(lambda: stream._waiting.renewals)
        tokens.append("renewed")
        registry.token = "renewed"
        assert await transport.renew(held[1], TTL) == (15, False, False)
        assert await waiting == (15, False, False)
    finally:
        await transport.close()


async def test_a_token_that_is_another_one_each_time_keeps_no_renewal_waiting_for_ever(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = Transport(Target.make(registry.address, token=TOKEN))
    monkeypatch.setattr(Stream, "renew", AsyncMock(side_effect=Replaced))
    with pytest.raises(Unavailable, match="the token changes all the time"):
        await transport.renew(lease(1, registry), TTL)
    await transport.close()


@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_refusal_is_told_as_one_of_a_call_is(registry: FakeRegistry, forbidden: bool) -> None:
    transport = Transport(Target.make(registry.address, token=TOKEN))
    registry.forbidden = forbidden
    registry.token = TOKEN if forbidden else "another"
    with pytest.raises(Forbidden if forbidden else Unauthenticated):
        await transport.renew(lease(1, registry), TTL)
    await transport.close()


async def test_released_leases_are_named_no_more_and_the_last_closes_the_stream(
    registry: FakeRegistry, transport: Transport
) -> None:
    held = [lease(number, registry) for number in (1, 2)]
    await asyncio.gather(*(transport.renew(one, TTL) for one in held))
    await transport.release(1)
    await transport.renew(held[1], TTL)
    assert list(registry.messages[-1].release) == [1]
    assert registry.streams == 1
    await transport.release(2)
    await eventually(lambda: registry.streams == 0)
    await transport.renew(held[0], TTL)
    assert registry.streams == 1


async def test_a_lease_that_is_released_before_the_first_answer_leaves_no_stream_open(
    registry: FakeRegistry, transport: Transport
) -> None:
    registry.silent = True
    asking = asyncio.create_task(transport.renew(lease(1, registry), TTL))
    await eventually(lambda: registry.streams == 1)
    asking.cancel()
    await transport.release(1)
    await eventually(lambda: registry.streams == 0)


async def test_a_late_answer_about_a_released_lease_keeps_nothing(
    registry: FakeRegistry, transport: Transport
) -> None:
    held = [lease(number, registry) for number in (1, 2)]
    registry.holding = asyncio.Event()
    asking = [asyncio.create_task(transport.renew(one, TTL)) for one in held]
    await eventually(lambda: registry.streams == 1)
    asking[0].cancel()
    await transport.release(1)
    registry.holding.set()
    assert await asking[1] == (15, False, False)
    await transport.renew(held[1], TTL)
    assert list(registry.messages[-1].release) == [1]
    await transport.release(2)
    await eventually(lambda: registry.streams == 0)


async def test_who_waits_for_a_lease_that_is_released_is_told_so(
    registry: FakeRegistry, transport: Transport
) -> None:
    registry.holding = asyncio.Event()
    asking = asyncio.create_task(transport._keep_alives.renew(0, lease(1, registry), TTL))
    await eventually(lambda: registry.streams == 1)
    await transport.release(1)
    with pytest.raises(Unavailable, match="released"):
        await asking


async def test_a_lease_that_is_given_up_is_released(registry: FakeRegistry) -> None:
    now = [0.0]
    transport = Transport(Target.make(registry.address, token=TOKEN))
    request = RegistrationRequest("orders", "a", "127.0.0.1", 9000, definition=ServiceDefinition("orders"))
    keeper = Keeper(transport, request, clock=lambda: now[0])
    await keeper.register(None)
    await keeper._step()
    assert registry.streams == 1
    registry.problem = "the store (etcd) does not answer"
    now[0] += 2 * request.ttl
    with pytest.raises(Unavailable):
        await keeper._step()
    assert keeper.lease is None
    await eventually(lambda: registry.streams == 0)
    await transport.close()


async def test_a_reason_that_grpc_has_lost_is_asked_for_again() -> None:
    """Under load, a stream that ends while it is written to."""
    lost = AioRpcError(StatusCode.INTERNAL, Metadata(), Metadata(), "Internal error from Core", "")
    call = SimpleNamespace(read=AsyncMock(side_effect=lost), write=AsyncMock(), cancel=lambda: None)
    stream = Stream(call, "the control plane", lambda error: HeadgateError(str(error)), TTL)
    with pytest.raises(Replaced):
        await stream.renew(holding(1), TTL)
    await stream.close()


async def test_a_watch_is_opened_anew_although_the_event_loops_timer_ends_early(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timers of uvloop count in whole milliseconds."""
    tokens = [TOKEN]
    transport = Transport(Target.make(registry.address, token=lambda: tokens[-1]))
    monkeypatch.setattr("headgate.transport.asyncio.wait", AsyncMock())
    silent = _silent()
    with pytest.raises(_Renewed):
        async with asyncio.timeout(5):
            metadata = transport._metadata()
            tokens.append("renewed")
            await anext(transport._while_valid(silent, metadata))
    await transport.close()


async def _silent() -> AsyncIterator[pb.WatchResponse]:
    await asyncio.Event().wait()
    yield pb.WatchResponse()
