"""The keep-alive stream over real gRPC: what it renews, what it tells, and who may hold what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.identity import KeyRing, SharedTokens
from controlplane.model.resources import Scope
from controlplane.rpc.client_certificate import Role
from controlplane.rpc.credentials import Caller, Credentials
from controlplane.rpc.keep_alive_stream import MOST_BYTES, Bounds
from controlplane.store import StoreError
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import resources_pb2
from tests.benchmarks.config.raw_stream import RawStream
from tests.support.control_plane import DATAPLANE_TOKEN, SERVICE_TOKEN, ControlPlane, bearer, registry
from tests.support.waiting import eventually, within

Code = grpc.StatusCode
OTHER_TOKEN = "another-token-of-the-services"


class Process:
    """One process: registers, and keeps alive over one stream."""

    def __init__(self, channel: grpc.aio.Channel, token: str = SERVICE_TOKEN) -> None:
        self._stub = registry(channel)
        self._metadata = bearer(token)
        self.call = self._stub.KeepRegistered(metadata=self._metadata)
        self._number = 0

    async def register(self, instance_id: str = "a", ttl: float = 5, service: str = "orders") -> pb.Holding:
        instance = resources_pb2.Instance(
            service_name=service, instance_id=instance_id, host="127.0.0.1", port=9001
        )
        request = pb.RegisterRequest(
            instance=instance, service=resources_pb2.Service(service_name=service), ttl=ttl
        )
        made = await self._stub.Register(request, metadata=self._metadata, timeout=30)
        return pb.Holding(lease_id=made.lease_id, service_name=service, instance_id=instance_id)

    async def deregister(self, instance_id: str = "a", lease: int = 0) -> None:
        request = pb.DeregisterRequest(service_name="orders", instance_id=instance_id, lease_id=lease)
        await self._stub.Deregister(request, metadata=self._metadata, timeout=30)

    async def drain(self, instance_id: str = "a") -> None:
        request = pb.DrainRequest(service_name="orders", instance_id=instance_id)
        await self._stub.Drain(request, metadata=self._metadata, timeout=30)

    async def send(self, **message: Any) -> None:
        await self.call.write(pb.KeepRegisteredRequest(**message))

    async def ask(self, **message: Any) -> pb.KeepRegisteredResponse:
        """The answer to one message."""
        self._number += 1
        await self.send(number=self._number, **message)
        answer = await self.read()
        assert answer.number == self._number
        return answer

    async def read(self) -> pb.KeepRegisteredResponse:
        answer = await within(self.call.read())
        assert isinstance(answer, pb.KeepRegisteredResponse), (await self.end(), answer)
        return answer

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ended."""
        return await within(self.call.code()), await self.call.details()


@pytest.fixture
async def process(channel: grpc.aio.Channel) -> Process:
    return Process(channel)


def told(answer: pb.KeepRegisteredResponse) -> dict[int, tuple[float, bool, bool, bool]]:
    return {one.lease_id: (one.ttl, one.ended, one.removed, one.draining) for one in answer.states}


async def test_one_message_renews_many_leases_and_tells_only_what_is_news(
    plane: ControlPlane, process: Process
) -> None:
    held = [await process.register(f"i{number}") for number in range(5)]
    first = await process.ask(hold=held)
    assert told(first) == {one.lease_id: (5, False, False, False) for one in held}
    for _ in range(3):
        plane.store.advance(4)
        again = await process.ask(renew=[one.lease_id for one in held])
        assert not again.states and not again.problem
    assert len((await plane.store.list("/headgate/v1/instance/")).entries) == 5


class Pinged(RawStream):
    """A stream that counts the pings that come on its connection."""

    pings = 0

    def has(self, answers: int) -> bool:
        """Whether so many answers came."""
        return self.answers == answers

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        self.pings += kind == 6 and not flags & 1
        super()._take(kind, flags, payload)


async def test_messages_are_not_answered_with_pings(plane: ControlPlane) -> None:
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(
        lambda: Pinged("/headgate.v1.RegistryService/KeepRegistered", SERVICE_TOKEN),
        "127.0.0.1",
        plane.server.port,
    )
    for number in range(1, 4):
        stream.send(pb.KeepRegisteredRequest(number=number).SerializeToString())
        await eventually(partial(stream.has, number))
        await asyncio.sleep(0.15)  # pings are at least 0.1 s apart
    assert (stream.pings, stream.ended) == (0, False)
    stream.close()


async def test_no_answer_is_given_where_none_is_asked_for(plane: ControlPlane, process: Process) -> None:
    one = await process.register()
    await process.ask(hold=[one])
    for _ in range(3):
        plane.store.advance(4)
        await process.send(renew=[one.lease_id])
        await process.ask(renew=[])  # the only answer: to this
    assert (await process.ask(renew=[one.lease_id])).states == []


async def test_what_is_not_named_is_not_renewed(plane: ControlPlane, process: Process) -> None:
    kept, left = await process.register("kept"), await process.register("left")
    await process.ask(hold=[kept, left])
    plane.store.advance(4)
    await process.ask(renew=[kept.lease_id])
    plane.store.advance(2)
    assert told(await process.ask(renew=[kept.lease_id, left.lease_id])) == {
        left.lease_id: (0, True, False, False)
    }


async def test_a_lease_that_has_ended_is_held_no_more(plane: ControlPlane, process: Process) -> None:
    one = await process.register()
    await process.ask(hold=[one])
    plane.store.advance(6)
    assert told(await process.ask(renew=[one.lease_id])) == {one.lease_id: (0, True, False, False)}
    (state,) = (await process.ask(renew=[one.lease_id])).states
    assert "does not hold" in state.refused


async def test_taken_out_from_outside_is_told_once(plane: ControlPlane, process: Process) -> None:
    one = await process.register()
    await process.ask(hold=[one])
    await process.deregister()
    plane.store.advance(4)
    assert told(await process.ask(renew=[one.lease_id])) == {one.lease_id: (5, False, True, False)}
    assert not (await process.ask(renew=[one.lease_id])).states
    assert (await plane.store.list("/headgate/v1/instance/")).entries == ()


async def test_drained_from_outside_is_told(process: Process) -> None:
    one = await process.register()
    await process.ask(hold=[one])
    await process.drain()
    answer = await eventually(lambda: asks_until_told(process, one))
    assert answer is not None and told(answer) == {one.lease_id: (5, False, False, True)}


async def asks_until_told(process: Process, one: pb.Holding) -> pb.KeepRegisteredResponse | None:
    answer = await process.ask(renew=[one.lease_id])
    return answer if answer.states else None


async def test_a_silent_store_is_told_and_the_stream_stays(plane: ControlPlane, process: Process) -> None:
    one = await process.register()
    await process.ask(hold=[one])
    plane.store.advance(3)
    plane.store.available = False
    assert (await process.ask(renew=[one.lease_id])).problem == "the store (etcd) does not answer"
    plane.store.available = True
    assert not (await process.ask(renew=[one.lease_id])).problem


async def test_what_the_store_fails_at_for_one_lease_fails_no_other(
    plane: ControlPlane, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.rpc.keep_alive_stream.AT_ONCE", 2)
    held = [await process.register(f"i{number}", ttl=15) for number in range(6)]
    await process.ask(hold=held)
    keep_alive, bad = plane.store.keep_alive, held[1].lease_id

    async def failing(lease: int) -> float:
        if lease == bad:
            raise StoreError("an entry that cannot be read")
        return await keep_alive(lease)

    monkeypatch.setattr(plane.store, "keep_alive", failing)
    for _ in range(2):
        plane.store.advance(6)
        answer = await process.ask(renew=[one.lease_id for one in held])
        (state,) = answer.states
        assert (state.lease_id, state.problem) == (bad, "the store (etcd) refuses the control plane")
        assert answer.problem == ""
    plane.store.advance(6)
    left = (await plane.store.list("/headgate/v1/instance/")).entries
    assert {entry.lease for entry in left} == {one.lease_id for one in held} - {bad}
    monkeypatch.undo()
    assert told(await process.ask(renew=[bad])) == {bad: (0, True, False, False)}


async def test_what_the_store_fails_at_for_all_is_told_once(
    plane: ControlPlane, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.rpc.keep_alive_stream.AT_ONCE", 2)
    held = [await process.register(f"i{number}") for number in range(5)]
    await process.ask(hold=held)
    plane.store.available = False
    answer = await process.ask(renew=[one.lease_id for one in held])
    assert (answer.problem, len(answer.states)) == ("the store (etcd) does not answer", 0)


async def test_a_lease_of_another_instance_renews_nothing(plane: ControlPlane, process: Process) -> None:
    theirs, mine = await process.register("theirs"), await process.register("mine")
    lie = pb.Holding(lease_id=theirs.lease_id, service_name="orders", instance_id="mine")
    unknown = pb.Holding(lease_id=12345, service_name="orders", instance_id="mine")
    answer = await process.ask(hold=[lie, unknown, mine])
    assert {lease: ended for lease, (_, ended, _, _) in told(answer).items()} == {
        theirs.lease_id: True,
        12345: True,
        mine.lease_id: False,
    }
    plane.store.advance(4)
    await process.ask(renew=[theirs.lease_id, mine.lease_id])
    plane.store.advance(2)
    (left,) = (await plane.store.list("/headgate/v1/instance/")).entries
    assert left.lease == mine.lease_id


async def test_a_credential_of_one_service_holds_nothing_of_another(
    plane: ControlPlane, channel: grpc.aio.Channel, process: Process
) -> None:
    assert plane.tokens is not None
    theirs = await process.register(service="payments")
    bound = Process(channel, plane.tokens.issue_service("orders", 3600))
    mine = await bound.register()
    answer = await bound.ask(hold=[theirs, mine])
    refused = {one.lease_id: one.refused for one in answer.states}
    assert refused[mine.lease_id] == ""
    assert "is for service 'orders', not for 'payments'" in refused[theirs.lease_id]


@pytest.mark.parametrize(
    ("token", "code"), [("wrong-token-of-nobody", Code.UNAUTHENTICATED), ("", Code.UNAUTHENTICATED)]
)
async def test_strangers_hold_nothing(channel: grpc.aio.Channel, token: str, code: grpc.StatusCode) -> None:
    assert (await Process(channel, token).end())[0] is code


async def test_the_data_planes_token_holds_nothing(channel: grpc.aio.Channel) -> None:
    assert (await Process(channel, DATAPLANE_TOKEN).end())[0] is Code.PERMISSION_DENIED


async def test_a_withdrawn_token_ends_its_streams_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{SERVICE_TOKEN}\n{OTHER_TOKEN}\n")
    async with ControlPlane(service_tokens=SharedTokens(file=file), recheck=0.05) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            going, staying = Process(channel), Process(channel, OTHER_TOKEN)
            one = await going.register()
            await going.ask(hold=[one])
            await staying.ask()
            file.write_text(f"# only one is left\n{OTHER_TOKEN}\n")
            assert (await going.end())[0] is Code.UNAUTHENTICATED
            await staying.ask()


async def test_a_right_that_is_taken_away_ends_the_stream(ring: KeyRing) -> None:
    async with ControlPlane(ring, recheck=0.05) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            await plane.put(Scope(name="gateway:admin"), Scope(name="gateway:read"))
            process = Process(channel, await plane.user("ann", "gateway:admin"))
            await process.ask(hold=[await process.register()])
            await plane.user("ann", "gateway:read")
            assert (await process.end())[0] is Code.PERMISSION_DENIED


async def test_a_credential_that_stands_for_another_one_by_now_ends_its_streams(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ControlPlane(ring, recheck=0.05) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            process = Process(channel)
            await process.ask(hold=[await process.register()])
            bound = Caller(Role.SERVICE, "payments")
            monkeypatch.setattr(Credentials, "_by_token", lambda self, sent: bound)
            assert await process.end() == (Code.ABORTED, "the credential now belongs to another caller")


async def test_silence_ends_a_stream(ring: KeyRing) -> None:
    async with ControlPlane(ring, recheck=0.05, keep_alives=Bounds(silence=0.2)) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            process = Process(channel)
            await process.ask()
            assert await process.end() == (Code.ABORTED, "no message for 0.2 seconds")


async def test_a_control_plane_that_stops_says_so(ring: KeyRing) -> None:
    async with ControlPlane(ring) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            process = Process(channel)
            await process.ask()
            await plane.server.stop()
            assert await process.end() == (Code.UNAVAILABLE, "the control plane is stopping")


async def test_a_message_that_is_too_large_ends_the_stream(process: Process) -> None:
    await process.send(hold=[pb.Holding(service_name="x" * (MOST_BYTES + 1))])
    code, detail = await process.end()
    assert (code, "at most 1048576" in detail) == (Code.INVALID_ARGUMENT, True)


@pytest.mark.parametrize("kind", ["hold", "renew", "release"])
async def test_a_message_that_names_too_many_leases_ends_the_stream(ring: KeyRing, kind: str) -> None:
    named: Any = [pb.Holding(lease_id=1)] * 3 if kind == "hold" else [1, 1, 1]
    async with ControlPlane(ring, keep_alives=Bounds(named=2)) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            process = Process(channel)
            await process.send(**{kind: named})
            code, detail = await process.end()
    assert (code, detail) == (Code.INVALID_ARGUMENT, "a message names 3 leases; at most 2 are allowed")


async def test_a_lease_that_is_named_again_and_again_is_renewed_once(
    plane: ControlPlane, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    keep = plane.commands.keep_all

    async def counted(held: dict[int, str]) -> Any:
        kept.extend(held)
        return await keep(held)

    monkeypatch.setattr(plane.commands, "keep_all", counted)
    one = await process.register()
    answer = await process.ask(hold=[one] * 300, renew=[one.lease_id] * 300)
    assert kept == [one.lease_id]
    assert list(told(answer)) == [one.lease_id]
    await process.deregister(lease=one.lease_id)
    await process.ask(hold=[one] * 300)


async def test_bytes_that_are_no_message_end_the_stream(channel: grpc.aio.Channel) -> None:
    streams: Any = channel.stream_stream
    call = streams("/headgate.v1.RegistryService/KeepRegistered")(metadata=bearer(SERVICE_TOKEN))
    await call.write(b"\xff\xff\xff")
    assert await call.code() is Code.INVALID_ARGUMENT


async def test_a_stream_holds_only_so_many(ring: KeyRing) -> None:
    async with ControlPlane(ring, keep_alives=Bounds(held=2)) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            process = Process(channel)
            held = [await process.register(f"i{number}") for number in range(3)]
            answer = await process.ask(hold=held)
            assert [one.refused for one in answer.states if one.refused] == [
                "a stream holds at most 2 leases"
            ]
            answer = await process.ask(release=[held[0].lease_id], hold=held[2:])
            assert not any(one.refused for one in answer.states)


async def test_only_so_many_streams_are_open(ring: KeyRing) -> None:
    async with ControlPlane(ring, keep_alives=Bounds(streams=2)) as plane:
        await plane.watcher.caught_up.wait()
        async with plane.channel() as channel:
            first, second = Process(channel), Process(channel)
            await first.ask()
            await second.ask()
            assert (await Process(channel).end())[0] is Code.RESOURCE_EXHAUSTED
            await first.call.done_writing()
            await first.end()
            await Process(channel).ask()


@pytest.fixture
async def slow(ring: KeyRing) -> AsyncIterator[ControlPlane]:
    """A control plane that reads five messages at once, and then one in 0.1 s."""
    async with ControlPlane(ring, keep_alives=Bounds(burst=5)) as plane:
        await plane.watcher.caught_up.wait()
        yield plane


async def test_a_flood_is_read_slowly_and_holds_up_nobody_else(slow: ControlPlane) -> None:
    loop = asyncio.get_running_loop()
    async with slow.channel() as flooded, slow.channel() as channel:
        flooding, other = Process(flooded), Process(channel)
        began = loop.time()
        for number in range(15):
            await flooding.send(number=number + 1)
        answers = asyncio.create_task(reads(flooding, 15))
        for _ in range(3):
            await other.ask()
        assert not answers.done()
        assert await answers == list(range(1, 16))
        assert loop.time() - began > 0.8


async def reads(process: Process, count: int) -> list[int]:
    return [(await process.read()).number for _ in range(count)]
