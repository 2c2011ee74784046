"""The data plane's end of the config stream, against a control plane that does as the test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import grpc
import pytest

from dataplane.config.decode import NOTHING, unpack
from dataplane.config.reports import (
    BucketStats,
    CircuitStats,
    InstanceHealth,
    InstanceStatus,
    NodeState,
    StatsReport,
)
from dataplane.config.stream import ConfigStream, ControlPlanes
from dataplane.config.stream import connect as channel_module
from dataplane.config.stream.order import preferred
from dataplane.config.table import Problem
from headgate_api.v1 import config_pb2 as pb
from tests.support import wire
from tests.support.certificates import Authority
from tests.support.fake_controlplane import TOKEN, FakeControlPlane, running
from tests.support.proxy import Proxy
from tests.support.waiting import eventually, within


@pytest.fixture
async def fake() -> AsyncIterator[FakeControlPlane]:
    async with running() as fake:
        yield fake


@asynccontextmanager
async def streaming(
    *addresses: str,
    token: str = TOKEN,
    state: NodeState | None = None,
    control_planes: ControlPlanes | None = None,
) -> AsyncIterator[ConfigStream]:
    """A stream that is kept open."""
    told = state or NodeState("node-1", "0.1.0", 0, "")
    used = control_planes or ControlPlanes(addresses, token)
    stream = ConfigStream(lambda: used, lambda: told)
    task = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def snapshot(revision: int) -> pb.Snapshot:
    return wire.snapshot(wire.user("alice"), revision=revision)


async def arrives(stream: ConfigStream, seconds: float = 30.0) -> int:
    """The revision of the next bundle."""
    return (await within(stream.next_bundle(NOTHING), seconds)).revision


async def test_hello_says_who_we_are_and_what_we_have(fake: FakeControlPlane) -> None:
    async with streaming(fake.address, state=NodeState("node-7", "1.2.3", 41, "abc")):
        await eventually(lambda: fake.connections)
        hello = fake.latest.hello
        assert (hello.node, hello.version, hello.revision, hello.digest) == ("node-7", "1.2.3", 41, "abc")
        assert "redis.configured" not in hello.capabilities
    async with streaming(fake.address, state=NodeState("node-8", "1.2.3", 0, "", redis=True)):
        await eventually(lambda: fake.latest.hello.node == "node-8")
        assert "redis.configured" in fake.latest.hello.capabilities


async def test_a_snapshot_is_handed_over_and_answered(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(5))
    async with streaming(fake.address) as stream:
        assert await arrives(stream) == 5
        stream.ack(5)
        await eventually(lambda: fake.latest.acked == [5])
        assert (stream.connected_to, stream.failure) == (fake.address, "")
        fake.publish(snapshot(6))
        assert await arrives(stream) == 6
        stream.nack(6, [Problem("route/a", "prefix", "is wrong"), Problem("", "", "is too big")])
        await eventually(lambda: fake.latest.nacked)
        (nack,) = fake.latest.nacked
        assert [(one.resource, one.field, one.detail) for one in nack.problems] == [
            ("route/a", "prefix", "is wrong"),
            ("", "", "is too big"),
        ]


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_no_proxy_of_the_environment_is_used(
    fake: FakeControlPlane, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    fake.publish(snapshot(5))
    async with streaming(fake.address) as stream:
        assert await arrives(stream, 10.0) == 5


async def test_of_several_snapshots_the_latest_is_handed_over(fake: FakeControlPlane) -> None:
    async with streaming(fake.address) as stream:
        await eventually(lambda: fake.connections)
        for revision in range(5, 9):
            fake.publish(snapshot(revision))
        await eventually(lambda: stream.connected_to)
        revisions = [await arrives(stream)]
        while revisions[-1] != 8:
            revisions.append(await arrives(stream))
        assert revisions == sorted(revisions)


async def test_the_reasons_of_a_rejection_are_bounded(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(5))
    async with streaming(fake.address) as stream:
        await arrives(stream)
        stream.nack(5, (Problem("", "", str(number)) for number in range(100_000)))
        await eventually(lambda: fake.latest.nacked)
        assert len(fake.latest.nacked[0].problems) == 100


async def test_a_snapshot_that_is_not_whole_is_nacked_by_itself(fake: FakeControlPlane) -> None:
    broken = snapshot(5)
    broken.digest = "nonsense"
    fake.publish(broken)
    async with streaming(fake.address) as stream:
        waiting = asyncio.create_task(arrives(stream))
        await eventually(lambda: fake.latest.nacked)
        fake.publish(snapshot(6))
        assert await waiting == 6


async def test_a_delta_is_applied_to_what_is_served(fake: FakeControlPlane) -> None:
    one = wire.snapshot(wire.user("alice"), wire.user("bob"), revision=5)
    two = wire.snapshot(wire.user("alice", "a:b", revision=6), wire.user("carol", revision=7), revision=7)
    async with streaming(fake.address, state=NodeState("node-1", "0.1.0", 5, one.digest)) as stream:
        await eventually(lambda: fake.connections)
        assert fake.latest.hello.takes_deltas
        fake.send(pb.StreamResponse(delta=wire.delta(one, two)))
        found = await within(stream.next_bundle(unpack(one)), 30)
        assert found == unpack(two)
        stream.ack(7)
        await eventually(lambda: fake.latest.acked == [7])


FIVE = wire.snapshot(wire.user("alice"), wire.user("bob"), revision=5)
SIX = wire.snapshot(wire.user("alice", revision=6), revision=6)


@pytest.mark.parametrize(
    ("delta", "said"),
    [
        pytest.param(
            wire.delta(wire.snapshot(wire.user("zoe"), revision=4), SIX),
            "is based on revision 4, but revision 5 is served",
            id="another base",
        ),
        pytest.param(pb.Delta(revision=6), "is based on revision 0, but revision 5 is served", id="no base"),
        pytest.param(
            wire.delta(FIVE, SIX, digest="0" * 64),
            "results in a digest that is not the one it names",
            id="another result",
        ),
        pytest.param(
            wire.delta(FIVE, SIX, changed=[wire.user("mallory")]),
            "results in a digest that is not the one it names",
            id="something too many",
        ),
    ],
)
async def test_a_delta_that_does_not_fit_is_told_and_replaced_by_a_snapshot(
    fake: FakeControlPlane, delta: pb.Delta, said: str
) -> None:
    async with streaming(fake.address, state=NodeState("node-1", "0.1.0", 5, FIVE.digest)) as stream:
        await eventually(lambda: fake.connections)
        waiting = asyncio.create_task(stream.next_bundle(unpack(FIVE)))
        fake.send(pb.StreamResponse(delta=delta))
        (nack,) = await eventually(lambda: fake.latest.nacked)
        assert (nack.revision, nack.mismatch, nack.problems[0].detail) == (6, True, said)
        assert stream.mismatches == 1
        fake.publish(SIX)
        assert await within(waiting, 30) == unpack(SIX)


async def test_a_delta_of_an_unknown_kind_is_a_rejection_and_no_mismatch(fake: FakeControlPlane) -> None:
    async with streaming(fake.address, state=NodeState("node-1", "0.1.0", 5, FIVE.digest)) as stream:
        await eventually(lambda: fake.connections)
        waiting = asyncio.create_task(stream.next_bundle(unpack(FIVE)))
        fake.send(
            pb.StreamResponse(delta=wire.delta(FIVE, SIX, changed=[wire.Resource(name="x", revision=6)]))
        )
        (nack,) = await eventually(lambda: fake.latest.nacked)
        assert (nack.mismatch, nack.problems[0].detail) == (
            False,
            "has a kind that this version does not know",
        )
        waiting.cancel()


async def test_what_a_newer_control_plane_says_beside_is_passed_over(fake: FakeControlPlane) -> None:
    async with streaming(fake.address) as stream:
        await eventually(lambda: fake.connections)
        fake.send(pb.StreamResponse())
        fake.publish(snapshot(5))
        assert await arrives(stream) == 5


async def test_reports_go_up_the_newest_first(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(5))
    async with streaming(fake.address) as stream:
        await arrives(stream)
        for status in (InstanceStatus.STARTING, InstanceStatus.HEALTHY):
            stream.report_health([InstanceHealth("orders", "o-1", status, 12.5, "x")])
        circuits = (CircuitStats("orders", "open", 9.0, 5, 4, 3, 2, "Circuit opened after 2 failures"),)
        stream.report_stats(StatsReport(13.0, 99, circuits, (BucketStats("burst", "subject:alice", 1.5, 7),)))
        await eventually(lambda: fake.latest.stats is not None and fake.latest.health is not None)
        assert fake.latest.statuses() == {"o-1": "healthy"}
        stats = fake.latest.stats
        assert stats is not None
        assert (stats.at, stats.total_requests, stats.circuits[0].reason) == (13.0, 99, circuits[0].reason)
        assert (stats.circuits[0].state, stats.rate_limits[0].key) == (2, "subject:alice")
        assert fake.latest.heard == 2


async def test_a_new_stream_begins_with_everything(fake: FakeControlPlane) -> None:
    view = [InstanceHealth("orders", "o-1", InstanceStatus.HEALTHY, 12.5)]
    async with streaming(fake.address) as stream:
        for connections in (1, 2):
            await eventually(lambda: len(fake.connections) == connections)  # noqa: B023
            fake.send(pb.StreamResponse(reporting=pb.Reporting(pace=60.0)))
            await eventually(lambda: stream.reporting_configured)
            stream.report_health(view)
            await eventually(lambda: fake.latest.statuses() == {"o-1": "healthy"})
            first = fake.latest.health
            stream.report_health(view, 1)
            await eventually(lambda: fake.latest.heard == 2)
            second = fake.latest.health
            assert first and second and (first.changes, second.changes) == (False, True)
            fake.hang_up()


async def test_after_a_hang_up_it_comes_back(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(5))
    async with streaming(fake.address) as stream:
        await arrives(stream)
        fake.hang_up()
        await eventually(lambda: len(fake.connections) == 2, within=30)
        assert await arrives(stream) == 5


async def test_an_answer_goes_only_where_it_was_asked_for(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(5))
    async with streaming(fake.address) as stream:
        await arrives(stream)
        fake.hang_up()
        await eventually(lambda: len(fake.connections) == 2)
        await arrives(stream)
        stream.ack(4)
        stream.ack(5)
        stream.ack(5)
        await eventually(lambda: fake.latest.acked)
        stream.report_health([])
        await eventually(lambda: fake.latest.heard)
        assert (fake.connections[0].acked, fake.connections[1].acked) == ([], [5])


async def after_a_hang_up(fake: FakeControlPlane) -> pb.Refused:
    """What the next hello says is of no use."""
    before = len(fake.connections)
    fake.hang_up()
    await eventually(lambda: len(fake.connections) > before)
    return fake.latest.hello.refused


async def test_what_is_of_no_use_is_named_until_something_later_is_served(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(6))
    async with streaming(fake.address) as stream:
        await arrives(stream)
        stream.nack(6, [Problem("route/a", "prefix", "is wrong")])
        refused = await after_a_hang_up(fake)
        assert (refused.revision, refused.digest) == (6, snapshot(6).digest)
        assert [one.detail for one in refused.problems] == ["is wrong"]
        # What was served before it, and is served in its place, makes it no better.
        fake.publish(snapshot(5))
        assert await arrives(stream) in (5, 6)
        stream.ack(5)
        stream.nack(5, [])
        assert (await after_a_hang_up(fake)).revision == 6
        fake.publish(snapshot(7))
        while await arrives(stream) != 7:
            pass
        stream.ack(7)
        assert not (await after_a_hang_up(fake)).revision


async def test_what_failed_for_now_is_tried_again(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(6))
    async with streaming(fake.address) as stream:
        await arrives(stream)
        stream.nack(6, [Problem("", "", "a worker was stuck")], permanent=False)
        assert not (await after_a_hang_up(fake)).revision


async def test_a_wrong_token_is_told_and_tried_again(
    fake: FakeControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    async with streaming(fake.address, token="wrong") as stream:
        await eventually(lambda: fake.refused >= 3)
        assert stream.failure.startswith(f"{fake.address}: UNAUTHENTICATED: wrong token (")
        assert "DATAPLANE_TOKEN" in stream.failure
    assert caplog.text.count("UNAUTHENTICATED") == 1


async def test_a_control_plane_that_is_away_is_passed_over(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(5))
    async with streaming("127.0.0.1:1", "no-such-host.invalid:50051", fake.address) as stream:
        assert await arrives(stream) == 5


async def test_a_control_plane_that_does_not_answer_is_left_within_its_time(fake: FakeControlPlane) -> None:
    fake.publish(snapshot(5))
    async with Proxy(fake.port) as proxy:
        proxy.silent = True
        address = proxy.url.removeprefix("http://")
        for _ in range(3):  # the order of addresses is drawn by lot
            began = time.monotonic()
            async with streaming(address, fake.address) as stream:
                assert await arrives(stream) == 5
            assert time.monotonic() - began < 8, "2 s, and what a busy machine adds"


async def test_the_next_one_is_there_within_two_seconds_and_the_preferred_one_again_later() -> None:
    async with running() as one, running() as two:
        one.publish(snapshot(5))
        two.publish(snapshot(6))
        fakes = {one.address: one, two.address: two}
        home, other = (fakes[address] for address in preferred(fakes, "node-1"))
        stream = ConfigStream(
            lambda: ControlPlanes(tuple(fakes), TOKEN), lambda: NodeState("node-1", "0.1.0", 0, ""), stay=0.2
        )
        task = asyncio.create_task(stream.run())
        try:
            await eventually(lambda: stream.connected_to == home.address)
            began = time.monotonic()
            await home.stop()
            await eventually(lambda: stream.connected_to == other.address)
            assert time.monotonic() - began < 5, "2 s, and what a busy machine adds"
            await asyncio.sleep(0.5)
            assert stream.connected_to == other.address
            await home.start()
            await eventually(lambda: stream.connected_to == home.address)
            await asyncio.sleep(0.5)
            assert (len(home.connections), len(other.connections)) == (2, 1)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_every_control_plane_behind_a_name_is_known_by_it(tmp_path: Path) -> None:
    """The certificates name the Service, as those of pods behind a headless one; a new one is found in time."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("controlplane", hosts=["cp.prod.svc"])
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    async with running(credentials) as one, running(credentials) as two:
        first, second = preferred([one.address, two.address], "node-1")
        fakes = {one.address: one, two.address: two}
        behind = [second]

        async def resolve(names: Sequence[str], _: Mapping[str, str]) -> dict[str, str]:
            assert names == ("cp.prod.svc:50051",)
            return dict.fromkeys(behind, names[0])

        known = ControlPlanes(("cp.prod.svc:50051",), TOKEN, authority.certificate.read_bytes())
        stream = ConfigStream(
            lambda: known, lambda: NodeState("node-1", "0.1.0", 0, ""), stay=0.2, resolve=resolve
        )
        task = asyncio.create_task(stream.run())
        try:
            for fake in fakes.values():
                fake.publish(snapshot(5))
            await eventually(lambda: stream.connected_to == second)
            behind.append(first)
            await eventually(lambda: stream.connected_to == first)
            behind[:] = [second]
            await fakes[first].stop()
            await eventually(lambda: stream.connected_to == second)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_silence_is_noticed(fake: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control plane that freezes keeps its connections; only pings tell."""
    options = dict(cast(tuple[tuple[str, int], ...], channel_module._OPTIONS))
    names = ("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    assert set(names) <= set(options)
    quick = {**options, **dict.fromkeys(names, 500)}
    monkeypatch.setattr(channel_module, "_OPTIONS", tuple(quick.items()))
    fake.publish(snapshot(5))
    async with Proxy(fake.port) as proxy, streaming(proxy.url.removeprefix("http://")) as stream:
        await arrives(stream)
        proxy.silent = True
        await eventually(lambda: not stream.connected_to, within=30)
        proxy.silent = False
        assert await arrives(stream) == 5


async def test_over_tls_both_sides_are_known(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("controlplane")
    client_cert, client_key = authority.issue("dataplane")
    ca = authority.certificate.read_bytes()
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], root_certificates=ca, require_client_auth=True
    )
    async with running(credentials) as fake:
        fake.publish(snapshot(5))
        known = ControlPlanes((fake.address,), TOKEN, ca, client_cert.read_bytes(), client_key.read_bytes())
        async with streaming(control_planes=known) as stream:
            assert await arrives(stream) == 5
        strange = Authority(tmp_path / "other").certificate.read_bytes()
        for wrong in (
            ControlPlanes((fake.address,), TOKEN),
            ControlPlanes((fake.address,), TOKEN, ca),
            ControlPlanes((fake.address,), TOKEN, strange, client_cert.read_bytes(), client_key.read_bytes()),
        ):
            async with streaming(control_planes=wrong) as stream:
                await eventually(lambda: stream.failure.startswith(fake.address))
        assert len(fake.connections) == 1
