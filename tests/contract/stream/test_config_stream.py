"""The config stream over real gRPC: what a data plane gets, says, and is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from controlplane.model.resources import Route, Scope, Service
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import key_of
from controlplane.rpc.wire import encoder
from controlplane.store import Delete
from dataplane.config.stream.wire import CAPABILITIES, REDIS_CONFIGURED
from headgate_api.v1 import config_pb2, status_pb2
from tests.support.control_plane import DATAPLANE_TOKEN, SERVICE_TOKEN, ControlPlane, Ended, Node, bearer
from tests.support.waiting import eventually

Code = grpc.StatusCode


def service(name: str) -> Service:
    return Service(service_name=name)


async def put_much(plane: ControlPlane) -> None:
    """More than connections buffer: 150 instances with 8 KiB of labels each."""
    labels = {f"k{key}": "x" * 256 for key in range(32)}
    instances = [
        {"instance_id": f"i{i}", "host": "127.0.0.1", "port": 1, "metadata": labels} for i in range(150)
    ]
    await plane.put(Service.model_validate({"service_name": "big", "instances": instances}))


async def connected(channel: grpc.aio.Channel, plane: ControlPlane, name: str = "gw-1") -> Node:
    """A node that has the present snapshot and said so."""
    node = Node(channel, name)
    await node.hello()
    await node.ack((await node.receive()).revision)
    await eventually(lambda: plane.fleet.nodes[name].applied_revision)
    return node


# The ordinary life of a stream


async def test_the_first_answer_is_the_present_snapshot(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    revision = await plane.put(
        service("orders"), Route(name="orders", prefix="/orders", service_name="orders")
    )
    node = Node(channel)
    await node.hello()
    snapshot = await node.receive()
    assert (snapshot.revision, snapshot.digest) == (revision, plane.current.digest)
    assert {(one.WhichOneof("body"), one.name, one.revision) for one in snapshot.resources} == {
        ("service", "orders", revision),
        ("route", "orders", revision),
    }


async def test_a_data_plane_with_the_present_digest_gets_the_snapshot_too(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    revision = await plane.put(service("orders"))
    node = Node(channel)
    await node.hello(revision, plane.current.digest)
    assert (await node.receive()).revision == revision
    assert plane.fleet.nodes["gw-1"].applied_revision == revision


async def test_it_is_known_which_data_planes_report_resets(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    await plane.put(service("orders"))
    for name, capabilities in (("new", CAPABILITIES), ("old", ())):
        node = Node(channel, name)
        await node.hello(capabilities=capabilities)
        await node.receive()
    unreported = {name: state.resets_unreported for name, state in plane.fleet.nodes.items()}
    assert unreported == {"new": False, "old": True}


async def test_it_is_known_which_data_planes_have_no_redis(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    await plane.put(service("orders"))
    said = {"old": (), "without": CAPABILITIES, "with": (*CAPABILITIES, REDIS_CONFIGURED)}
    for name, capabilities in said.items():
        node = Node(channel, name)
        await node.hello(capabilities=capabilities)
        await node.receive()
    lacking = {name: state.without_redis for name, state in plane.fleet.nodes.items()}
    assert lacking == {"old": False, "without": True, "with": False}


async def test_changes_follow_once_the_last_was_answered(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    node = await connected(channel, plane)
    first = await plane.put(service("a"))
    assert (await node.receive()).revision == first
    await plane.put(service("b"))
    last = await plane.put(service("c"))
    await node.ack(first)
    # b alone is never seen: the latest wins.
    assert (await node.receive()).revision == last
    await node.ack(last)
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == last)
    state = plane.fleet.nodes["gw-1"]
    assert (state.sent_revision, state.digest, state.version) == (last, plane.current.digest, "0.1.0")


async def test_a_rejected_revision_is_shown_and_not_sent_again(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    node = await connected(channel, plane)
    served = plane.fleet.nodes["gw-1"].applied_revision
    bad = await plane.put(service("a"))
    await node.receive()
    await node.nack(bad, config_pb2.Problem(resource="service/a", field="circuit", detail="is beyond me"))
    await eventually(lambda: plane.fleet.nodes["gw-1"].last_rejection)
    rejection = plane.fleet.nodes["gw-1"].last_rejection
    assert rejection is not None and rejection.revision == bad
    assert list(map(str, rejection.problems)) == ["service/a circuit: is beyond me"]
    assert plane.fleet.nodes["gw-1"].applied_revision == served
    better = await plane.put(service("b"))
    assert (await node.receive()).revision == better


async def test_what_means_nothing_to_data_planes_is_not_sent_and_counts_as_applied(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    node = await connected(channel, plane)
    silent = await plane.put(Scope(name="orders:read"))
    (view,) = plane.fleet.views.dataplanes(plane.current)
    assert view.applied_revision == silent
    told = await plane.put(service("a"))
    assert (await node.receive()).revision == told


async def test_nonsense_in_the_store_reaches_nobody(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = await connected(channel, plane)
    await plane.put_raw(("route", "orders", b"{"))
    await eventually(lambda: plane.watcher.problems)
    late = Node(channel, "gw-2")
    await late.hello()
    assert not (await late.receive()).resources
    await plane.store.commit({}, [Delete(key_of("route", "orders"))])
    mended = await plane.put(service("a"))
    assert (await node.receive()).revision == mended


async def test_what_is_too_large_for_an_older_data_plane_is_said(
    plane: ControlPlane, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "MOST_WHOLE", 2000)
    node = await connected(channel, plane)
    before = plane.fleet.nodes["gw-1"].applied_revision
    bad = await plane.put(*(service(f"s{number}") for number in range(50)))
    rejection = await eventually(lambda: plane.fleet.nodes["gw-1"].last_rejection)
    assert rejection is not None and rejection.revision == bad
    assert "upgrade it" in str(rejection.problems[0])
    assert plane.fleet.nodes["gw-1"].applied_revision == before
    await plane.store.commit({}, [Delete(key_of("service", f"s{number}")) for number in range(50)])
    good = await plane.put(service("small"))
    received = [await node.receive()]
    while received[-1].revision < good:
        await node.send(ack=config_pb2.Ack(revision=received[-1].revision))
        received.append(await node.receive())


async def test_reports_reach_the_fleet(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = await connected(channel, plane)
    health = status_pb2.InstanceHealth(
        service_name="orders", instance_id="a", status=status_pb2.INSTANCE_STATUS_HEALTHY, last_check=12.5
    )
    await node.send(health=status_pb2.HealthReport(instances=[health]))
    await node.send(stats=status_pb2.StatsReport(at=13, total_requests=7))
    await eventually(lambda: plane.fleet.nodes["gw-1"].stats.total_requests == 7)
    assert plane.fleet.views.vote("gw-1", ("orders", "a")) == ("healthy", "")
    assert plane.fleet.verdicts.found["orders", "a"].last_check == 12.5


async def test_leaving_cleans_up(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = await connected(channel, plane)
    assert plane.fleet.nodes["gw-1"].connected
    node.call.cancel()
    await eventually(lambda: not plane.fleet.nodes["gw-1"].connected)


async def test_a_client_that_says_goodbye_ends_well(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = await connected(channel, plane)
    await node.call.done_writing()
    assert await node.end() == (Code.OK, "")


# Many data planes


async def test_a_slow_reader_costs_others_nothing_and_gets_the_last(plane: ControlPlane) -> None:
    async with plane.channel() as slow_channel, plane.channel() as fast_channel:
        slow, fast = Node(slow_channel, "slow"), await connected(fast_channel, plane, "fast")
        await slow.hello()
        first = (await slow.receive()).revision
        for number in range(20):
            revision = await plane.put(service(f"s{number}"))
            assert (await fast.receive()).revision == revision
            await fast.ack(revision)
        await slow.ack(first)
        assert (await slow.receive()).revision == revision


async def test_a_reader_that_stops_reading_costs_others_nothing(plane: ControlPlane) -> None:
    await put_much(plane)
    async with plane.channel() as stuck_channel, plane.channel() as channel:
        stuck = Node(stuck_channel, "stuck")
        await stuck.hello()
        await eventually(lambda: "stuck" in plane.fleet.nodes)
        node = await connected(channel, plane, "fine")
        revision = await plane.put(service("a"))
        assert (await node.receive()).revision == revision
        # Its write waits, and nothing is lost: it gets what it asked for as soon as it reads.
        assert plane.fleet.nodes["stuck"].sent_revision == 0
        assert len((await stuck.receive()).resources) == 151


async def test_a_snapshot_is_encoded_once(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    original = encoder.Encoder._encode

    def counted(self: encoder.Encoder, snapshot: Snapshot) -> bytes:
        encoded.append(snapshot.revision)
        return original(self, snapshot)

    monkeypatch.setattr(encoder.Encoder, "_encode", counted)
    async with plane.channel() as channel:
        nodes = [await connected(channel, plane, f"gw-{number}") for number in range(5)]
        revision = await plane.put(service("a"))
        assert {(await node.receive()).revision for node in nodes} == {revision}
    assert encoded == [1, revision]


async def test_the_newest_stream_of_a_node_wins(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    older = await connected(channel, plane)
    newer = await connected(channel, plane)
    assert await older.end() == (Code.ABORTED, "another stream of the same node was opened")
    revision = await plane.put(service("a"))
    assert (await newer.receive()).revision == revision
    assert plane.fleet.nodes["gw-1"].connected


async def test_a_superseded_stream_that_does_not_read_ends_once_it_does(plane: ControlPlane) -> None:
    await put_much(plane)
    async with plane.channel() as stuck_channel, plane.channel() as channel:
        stuck = Node(stuck_channel)
        await stuck.hello()
        await eventually(lambda: "gw-1" in plane.fleet.nodes)
        await connected(channel, plane)
        assert plane.fleet.nodes["gw-1"].connected
        await stuck.receive()
        assert (await stuck.end())[0] is Code.ABORTED


async def test_streams_are_bounded() -> None:
    async with ControlPlane(most_dataplanes=2) as plane, plane.channel() as channel:
        first = await connected(channel, plane, "gw-1")
        await connected(channel, plane, "gw-2")
        # No hello: gRPC's client loses a refusal that comes while it writes.
        assert await Node(channel, "gw-3").end() == (
            Code.RESOURCE_EXHAUSTED,
            "2 data planes are already connected",
        )
        first.call.cancel()
        await eventually(lambda: not plane.fleet.nodes["gw-1"].connected)
        await connected(channel, plane, "gw-3")


async def test_a_single_stream_is_told_as_one() -> None:
    async with ControlPlane(most_dataplanes=1) as plane, plane.channel() as channel:
        await connected(channel, plane, "gw-1")
        told = (Code.RESOURCE_EXHAUSTED, "1 data plane is already connected")
        assert await Node(channel, "gw-2").end() == told


async def test_stopping_sends_everybody_away_at_once(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = await connected(channel, plane)
    async with asyncio.timeout(30):
        await plane.server.stop(10)
    assert await node.end() == (Code.UNAVAILABLE, "the control plane is stopping")


# Refusals


async def test_a_data_plane_with_a_wrong_token_is_counted_and_logged_without_it(
    plane: ControlPlane, channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    for token in ("the-wrong-token", "the-wrong-token", SERVICE_TOKEN):
        await Node(channel, token=token).end()
    counts = plane.refused.counts
    assert counts == {("config", "unauthenticated"): 2, ("config", "permission_denied"): 1}
    (line,) = (record for record in caplog.records if "refused because of its credential" in record.message)
    assert vars(line)["address"] == "127.0.0.1"
    assert "wrong-token" not in str(vars(line))


def raw_stream(channel: Any, metadata: tuple[tuple[str, str], ...] | None) -> Any:
    """A stream of bytes, without what the generated code makes of them."""
    return channel.stream_stream("/headgate.v1.ConfigService/Stream")(metadata=metadata)


@pytest.mark.parametrize("token", ["", "wrong", DATAPLANE_TOKEN[:-1], DATAPLANE_TOKEN + "x"])
async def test_only_data_planes_get_configuration(
    plane: ControlPlane, channel: grpc.aio.Channel, token: str
) -> None:
    node = Node(channel, token=token)
    assert await node.end() == (Code.UNAUTHENTICATED, "Could not validate credentials")
    assert not plane.fleet.nodes


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        (("authorization", DATAPLANE_TOKEN),),
        (("authorization", f"Basic {DATAPLANE_TOKEN}"),),
        (("authorization", f"Bearer {DATAPLANE_TOKEN}"), ("authorization", "Bearer other")),
        (("x-authorization", f"Bearer {DATAPLANE_TOKEN}"),),
    ],
)
async def test_the_credential_comes_in_one_way(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...] | None
) -> None:
    assert await raw_stream(channel, metadata).code() is Code.UNAUTHENTICATED


@pytest.mark.parametrize(
    "first",
    [
        {"ack": config_pb2.Ack(revision=1)},
        {"nack": config_pb2.Nack(revision=1)},
        {"stats": status_pb2.StatsReport()},
        {},
    ],
)
async def test_hello_comes_first(
    plane: ControlPlane, channel: grpc.aio.Channel, first: dict[str, Any]
) -> None:
    node = Node(channel)
    await node.send(**first)
    assert await node.end() == (Code.FAILED_PRECONDITION, "the first message must be hello")
    assert not plane.fleet.nodes


async def test_silence_is_no_hello(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = Node(channel)
    await node.call.done_writing()
    assert (await node.end())[0] is Code.FAILED_PRECONDITION


async def test_hello_comes_once(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = await connected(channel, plane)
    await node.hello()
    assert (await node.end())[0] is Code.FAILED_PRECONDITION
    await eventually(lambda: not plane.fleet.nodes["gw-1"].connected)


@pytest.mark.parametrize("name", ["", "two words", "x" * 129, "nömé", "line\nbreak"])
async def test_a_node_has_a_proper_name(plane: ControlPlane, channel: grpc.aio.Channel, name: str) -> None:
    node = Node(channel, name)
    await node.hello()
    assert (await node.end())[0] is Code.INVALID_ARGUMENT
    assert not plane.fleet.nodes


async def test_a_digest_is_short(channel: grpc.aio.Channel) -> None:
    node = Node(channel)
    await node.hello(5, "f" * 65)
    assert (await node.end())[0] is Code.INVALID_ARGUMENT


async def test_answers_to_nothing_and_unknown_messages_are_ignored(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    node = await connected(channel, plane)
    served = plane.fleet.nodes["gw-1"].applied_revision
    await node.ack(999)
    await node.nack(-1)
    await node.call.write(config_pb2.StreamRequest.FromString(b"\xa2\x06\x00"))  # field 100, empty
    revision = await plane.put(service("a"))
    assert (await node.receive()).revision == revision
    state = plane.fleet.nodes["gw-1"]
    assert (state.applied_revision, state.last_rejection) == (served, None)


async def test_bytes_that_are_no_message_end_the_stream_only(
    plane: ControlPlane, channel: grpc.aio.Channel
) -> None:
    node = await connected(channel, plane)
    call = raw_stream(channel, bearer(DATAPLANE_TOKEN))
    await call.write(b"\xff\xff\xff")
    assert await call.code() is Code.INVALID_ARGUMENT
    revision = await plane.put(service("a"))
    assert (await node.receive()).revision == revision


async def test_an_ended_stream_is_told_by_the_reader(plane: ControlPlane, channel: grpc.aio.Channel) -> None:
    node = Node(channel, token="wrong")
    with pytest.raises(Ended):
        await node.receive()
