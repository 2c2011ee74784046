"""Both planes against each other: the data plane's own client and decoder on what the control plane really sends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controlplane.distribute.subscriber import Whole
from controlplane.fleet.peer_updates import PeerState
from controlplane.fleet.reports import CircuitState
from controlplane.model.resources import (
    Circuit,
    Instance,
    RateLimit,
    Reset,
    Resource,
    Retries,
    Route,
    Scope,
    Service,
    StaticInstance,
    Timeouts,
    Tls,
    User,
)
from controlplane.model.stored import key_of
from controlplane.rpc.wire import encoder, report_messages
from controlplane.store import Delete
from dataplane.config.decode import NOTHING, Bundle, decode
from dataplane.config.reports import CircuitStats, InstanceHealth, InstanceStatus, NodeState, StatsReport
from dataplane.config.stream import ConfigStream, ControlPlanes
from dataplane.config.stream.order import preferred
from dataplane.config.table import Problem, UnlinkedRoute
from dataplane.gateway.policy import resources as policy
from demo.ports import free_port
from headgate_api.v1 import status_pb2
from tests.support.control_plane import DATAPLANE_TOKEN, ControlPlane
from tests.support.waiting import eventually

LEAST = Service(
    service_name="s",
    check_path="/",
    check_interval=0.1,
    check_timeout=0.01,
    healthy_threshold=1,
    unhealthy_threshold=1,
    load_balancer="ip_hash",
    circuit=Circuit(
        failure_threshold=1,
        failure_ratio=0,
        failure_window=1,
        min_throughput=1,
        recovery_timeout=0.1,
        half_open_timeout=0.1,
        half_open_requests=1,
    ),
    timeouts=Timeouts(connect=0.01, response=0.01, idle=1),
    retries=Retries(attempts=0, on=()),
)
AUTHORITY = """-----BEGIN CERTIFICATE-----
MIHdMIGQoAMCAQICAQEwBQYDK2VwMA0xCzAJBgNVBAMMAmNhMCAXDTIwMDEwMTAw
MDAwMFoYDzIxMDAwMTAxMDAwMDAwWjANMQswCQYDVQQDDAJjYTAqMAUGAytlcAMh
ADrLGEmqO1Pqie0Unioyigq4r0+MfKlu6l0U/5K65R6hoxMwETAPBgNVHRMBAf8E
BTADAQH/MAUGAytlcANBAK0Pk4lTCa8i4nZiICZEmBXgGCXyi/U2KagyV3V/dV4m
Jt0W7KfRWFMkbU66zdgdFReOfQ9xQ+BBKeBMXlMI0g0=
-----END CERTIFICATE-----
"""
MOST = Service(
    service_name="a" * 63,
    check_path="/" + "x" * 1023,
    check_interval=86_400,
    check_timeout=3600,
    healthy_threshold=100,
    unhealthy_threshold=100,
    load_balancer="least_request",
    circuit=Circuit(
        failure_threshold=1_000_000,
        failure_ratio=1,
        failure_window=3600,
        min_throughput=1_000_000,
        recovery_timeout=3600,
        half_open_timeout=3600,
        half_open_requests=1000,
    ),
    timeouts=Timeouts(connect=300, response=86_400, idle=86_400, total=86_400),
    retries=Retries(attempts=3, on=("connect", "reset", "timeout", 500, 502, 503, 504), budget=1),
    tls=Tls(server_name="a" * 63 + ".example.org", ca=AUTHORITY),
    instances=(StaticInstance(instance_id="1", host="example.org", port=65_535, weight=1000),),
)
EXTREMES: list[Resource] = [
    LEAST,
    MOST,
    Instance(
        service_name="s",
        instance_id="i",
        host="::1",
        port=1,
        metadata={"a/b.c_d-e": "é" * 256},
        draining=True,
    ),
    Route(name="any", prefix="/", service_name="s", public=True, max_body_bytes=0, timeout=0.01),
    Route(
        name="r-1.x_y",
        path="/~a/$&'()*+,=:@!/" + "x" * 900,
        hosts=("*.example.org", "xn--bcher-kva.example", "_x"),
        methods=("GET", "PROPFIND"),
        service_name="s",
        scopes=("orders:read", "a.b_c-d"),
        rate_limits=("h", "l", "m", "n"),
        rewrite="/new",
        timeout=86_400,
        max_body_bytes=2**50,
        upgrades=("websocket", "irc/6.9", "!#$%&'*+.^_`|~-"),
    ),
    RateLimit(name="l", per_second=0.001, burst=1, key="subject"),
    RateLimit(name="h", per_second=1_000_000, burst=1_000_000, key="header", header="x!#$%&'*+.^_`|~-9"),
    RateLimit(
        name="m",
        requests=1,
        per="day",
        key=("address", "header:" + "x" * 64, "claim:" + "~" * 64, "api_key"),
        address_prefix=128,
        cost_header="x!#$%&'*+.^_`|~-9",
        max_concurrent=1_000_000,
        enforce="0%",
        advertise=True,
    ),
    RateLimit(name="n", max_concurrent=1),
    Scope(name="orders:read"),
    Scope(name="a.b_c-d"),
    User(username="Ann.B-c_d@example.org", scopes=("orders:read",), disabled=True),
    Reset(id="circuit-s", circuit="s"),
    Reset(id="rate_limit-1", rate_limit="subject:Ann.B-c_d@example.org"),
]


class DataPlane:
    """The data plane's stream client, which takes everything in but what it is told to reject."""

    def __init__(self, *addresses: str, token: str = DATAPLANE_TOKEN, name: str = "gw-1") -> None:
        self.state = NodeState(name, "0.1.0", 0, "")
        self.served = NOTHING
        self.bundles: list[Bundle] = []
        self.rejects: set[int] = set()
        self._token = token
        self.start_over(*addresses)

    def start_over(self, *addresses: str) -> None:
        """Forget the stream, and keep what is served."""
        control_planes = ControlPlanes(addresses, self._token)
        self.stream = ConfigStream(lambda: control_planes, lambda: self.state)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.stream.run())
            tasks.create_task(self._apply())

    async def _apply(self) -> None:
        while True:
            bundle = await self.stream.next_bundle(self.served)
            self.bundles.append(bundle)
            if bundle.revision in self.rejects:
                self.stream.nack(bundle.revision, [Problem("route/x", "prefix", "is beyond me")])
            else:
                self.served = bundle
                self.state = replace(self.state, revision=bundle.revision, digest=bundle.digest)
                self.stream.ack(bundle.revision)


@contextlib.asynccontextmanager
async def running(data_plane: DataPlane) -> AsyncIterator[DataPlane]:
    task = asyncio.create_task(data_plane.run())
    try:
        yield data_plane
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def data_plane(plane: ControlPlane) -> AsyncIterator[DataPlane]:
    async with running(DataPlane(plane.address)) as data_plane:
        await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision)
        yield data_plane


async def test_what_the_control_plane_accepts_the_data_plane_understands(
    plane: ControlPlane, data_plane: DataPlane
) -> None:
    revision = await plane.put(*EXTREMES)
    await eventually(lambda: data_plane.state.revision == revision)
    (_, bundle) = data_plane.bundles
    items = {key: decode(resource) for key, resource in bundle.resources.items()}
    assert {key[0] for key in items} == {"service", "instance", "route", "rate_limit", "user", "reset"}
    service = items["service", "s"]
    assert isinstance(service, policy.Service)
    assert (service.load_balancer, service.retries.attempts) == (policy.LoadBalancer.IP_HASH, 0)
    assert (service.circuit.failure_ratio, service.timeouts.connect) == (0, 0.01)
    route = items["route", "any"]
    assert isinstance(route, UnlinkedRoute)
    assert (route.route.max_body_bytes, route.route.timeout, route.route.rewrite) == (None, 0.01, "")
    (most,) = (item for key, item in items.items() if key == ("service", "a" * 63))
    assert isinstance(most, policy.Service) and most.tls == most.health_check.tls
    assert most.tls == policy.UpstreamTls(f"{'a' * 63}.example.org", AUTHORITY)
    assert service.tls is None
    static = items["instance", f"{'a' * 63}/1"]
    assert isinstance(static, policy.Instance) and static.port == 65_535


async def test_changes_are_applied_and_acked(plane: ControlPlane, data_plane: DataPlane) -> None:
    for name in ("a", "b", "c"):
        revision = await plane.put(Service(service_name=name))
        await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == revision)  # noqa: B023
    assert plane.fleet.nodes["gw-1"].digest == data_plane.state.digest == plane.current.digest


async def test_a_large_configuration_comes_in_parts(
    plane: ControlPlane, data_plane: DataPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both as a snapshot and as a delta; with bounds that would refuse either in one message."""
    monkeypatch.setattr(encoder, "PART", 100)
    monkeypatch.setattr(encoder, "MOST_WHOLE", 200)
    services = [Service(service_name=f"s{number}") for number in range(50)]
    revision = await plane.put(*services)
    await eventually(lambda: data_plane.state.revision == revision)
    assert data_plane.bundles[-1].touched
    async with running(DataPlane(plane.address, name="gw-2")) as cold:
        await eventually(lambda: cold.state.revision == revision)
        assert len(cold.served.resources) == 50


async def test_a_rejection_is_shown_and_the_next_revision_goes_through(
    plane: ControlPlane, data_plane: DataPlane
) -> None:
    data_plane.rejects.add(plane.store.revision + 1)
    bad = await plane.put(Service(service_name="a"))
    rejection = await eventually(lambda: plane.fleet.nodes["gw-1"].last_rejection)
    assert rejection is not None and rejection.revision == bad
    assert list(map(str, rejection.problems)) == ["route/x prefix: is beyond me"]
    good = await plane.put(Service(service_name="b"))
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == good)


async def test_reports_arrive(plane: ControlPlane, data_plane: DataPlane) -> None:
    await plane.put(
        Service(service_name="s"), Instance(service_name="s", instance_id="i", host="::1", port=1)
    )
    data_plane.stream.report_health([InstanceHealth("s", "i", InstanceStatus.UNHEALTHY, 12.5, "refused")])
    data_plane.stream.report_stats(
        StatsReport(13, 7, (CircuitStats("s", "open", 12, 7, 5, 1, 5, "Circuit opened"),), ())
    )
    await eventually(lambda: plane.fleet.nodes["gw-1"].stats.total_requests == 7)
    await eventually(lambda: plane.fleet.verdicts.found)
    (service,), (circuit,) = (
        plane.fleet.views.services(plane.current),
        plane.fleet.views.circuits(plane.current),
    )
    assert (service.instances[0].status, service.instances[0].reason) == ("unhealthy", "refused")
    assert (circuit.circuit.state, circuit.circuit.reason) == (CircuitState.OPEN, "Circuit opened")


async def test_after_the_first_report_only_changes_go_up(
    plane: ControlPlane, data_plane: DataPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand instances, of which one fails and one goes."""
    view = [InstanceHealth("s", f"i{number}", InstanceStatus.HEALTHY, 12.5) for number in range(1000)]
    data_plane.stream.report_health(view, 1)
    await eventually(lambda: len(plane.fleet.verdicts.found) == 1000)
    await eventually(lambda: data_plane.stream.reporting_configured)
    sizes: list[int] = []
    slices = report_messages.slices

    def count(report: status_pb2.HealthReport) -> list[list[status_pb2.InstanceHealth]]:
        sizes.append(len(report.instances))
        return slices(report)

    monkeypatch.setattr(report_messages, "slices", count)
    view[7] = InstanceHealth("s", "i7", InstanceStatus.UNHEALTHY, 13.5, "refused")
    data_plane.stream.report_health(view[:-1], 1)
    await eventually(lambda: plane.fleet.views.vote("gw-1", ("s", "i7")) == ("unhealthy", "refused"))
    assert len(plane.fleet.verdicts.found) == 999
    # The same again is no news; what comes after it is.
    data_plane.stream.report_health(view[:-1], 1)
    data_plane.stream.report_health(view[:-1], 2)
    await eventually(lambda: plane.fleet.nodes["gw-1"].health_revision == 2)
    assert sizes == [2, 0]


async def test_a_wrong_credential_is_said_plainly(plane: ControlPlane) -> None:
    async with running(DataPlane(plane.address, token="wrong")) as stranger:
        await eventually(lambda: "UNAUTHENTICATED: Could not validate credentials" in stranger.stream.failure)
    assert not stranger.bundles


async def test_the_return_of_a_control_plane_is_noticed_within_two_seconds() -> None:
    listen = f"127.0.0.1:{free_port()}"
    async with running(DataPlane(listen)) as data_plane:
        async with ControlPlane(listen=listen):
            await eventually(lambda: data_plane.stream.connected_to)
        await eventually(lambda: not data_plane.stream.connected_to)
        async with ControlPlane(listen=listen) as plane:
            back = time.monotonic()
            revision = await plane.put(Service(service_name="a"))
            await eventually(lambda: data_plane.state.revision == revision)
            assert time.monotonic() - back < 5, "2 s, and what a busy machine adds"


async def test_a_change_is_served_within_milliseconds(plane: ControlPlane, data_plane: DataPlane) -> None:
    """Not a benchmark, but a guard against waits that crept in: half a second is a hundred times what it takes. The
    best of five counts, as a busy machine holds up one or the other."""

    async def change(name: str) -> float:
        started = time.monotonic()
        revision = await plane.put(Service(service_name=name))
        await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == revision, every=0.001)
        return time.monotonic() - started

    assert min([await change(f"a{number}") for number in range(5)]) < 0.5


# Rejections


async def test_a_new_one_that_rejects_what_is_published_boots_with_what_the_others_served(
    plane: ControlPlane, data_plane: DataPlane
) -> None:
    good = await plane.put(Service(service_name="a"))
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == good)
    bad = plane.store.revision + 1
    data_plane.rejects.add(bad)
    await plane.put(Service(service_name="b"))
    await eventually(lambda: plane.fleet.nodes["gw-1"].last_rejection)
    new = DataPlane(plane.address, name="gw-2")
    new.rejects.add(bad)
    async with running(new):
        await eventually(lambda: plane.fleet.nodes["gw-2"].applied_revision == good)
        assert [bundle.revision for bundle in new.bundles] == [bad, good]
        rejection = plane.fleet.nodes["gw-2"].last_rejection
        assert rejection is not None and rejection.revision == bad
        better = await plane.put(Service(service_name="c"))
        await eventually(lambda: new.state.revision == data_plane.state.revision == better)
    assert new.bundles[-1].touched == {("service", "b"), ("service", "c")}
    assert plane.hub.messages.mismatches == 0


async def test_what_one_control_plane_does_not_know_another_may(
    plane: ControlPlane, data_plane: DataPlane
) -> None:
    async with ControlPlane() as restarted:
        good = await plane.put(Service(service_name="a"))
        await restarted.put(Service(service_name="a"))
        await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == good)
        bad = await plane.put(Service(service_name="b"))
        await restarted.put(Service(service_name="b"))
        restarted.fleet.receive("the other one", PeerState())
        addresses = (restarted.address, plane.address)
        names = (f"new-{number}" for number in itertools.count())
        name = next(name for name in names if preferred(addresses, name)[0] == restarted.address)
        new = DataPlane(*addresses, name=name)
        new.rejects.add(bad)
        async with running(new):
            await eventually(lambda: new.state.revision == good)
            assert new.stream.connected_to == plane.address
        assert [bundle.revision for bundle in new.bundles] == [bad, good]
        assert plane.hub.messages.snapshots[Whole.INSTEAD] == 1


async def test_one_that_cannot_use_that_either_stays_without(
    plane: ControlPlane, data_plane: DataPlane
) -> None:
    good = await plane.put(Service(service_name="a"))
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == good)
    bad = await plane.put(Service(service_name="b"))
    new = DataPlane(plane.address, name="gw-2")
    new.rejects |= {good, bad}
    async with running(new):
        await eventually(lambda: len(new.bundles) == 2)
        better = await plane.put(Service(service_name="c"))
        await eventually(lambda: new.state.revision == better)
    assert [bundle.revision for bundle in new.bundles] == [bad, good, better]
    rejection = plane.fleet.nodes["gw-2"].last_rejection
    assert rejection is not None and rejection.revision == bad


async def test_what_was_rejected_is_not_sent_again_on_another_stream() -> None:
    async with ControlPlane() as one, ControlPlane() as other:
        planes = {each.address: each for each in (one, other)}
        for each in planes.values():
            await each.put(Service(service_name="a"))
        node = DataPlane(*planes)
        async with running(node):
            await eventually(lambda: node.state.revision == 2)
            node.rejects.add(3)
            for each in planes.values():
                await each.put(Service(service_name="b"))
            await eventually(lambda: len(node.bundles) == 2)
            left = planes.pop(node.stream.connected_to)
            await left.server.stop(0)
            (there,) = planes.values()
            await eventually(lambda: node.stream.connected_to == there.address)
            # It is shown where it was never sent.
            rejection = await eventually(lambda: there.fleet.nodes["gw-1"].last_rejection)
            assert rejection is not None
            assert (rejection.revision, list(map(str, rejection.problems))) == (
                3,
                ["route/x prefix: is beyond me"],
            )
            await eventually(lambda: there.hub.messages.marks == 1)
            assert (there.hub.messages.deltas, there.hub.messages.snapshots) == (0, {})
            assert await there.put(Service(service_name="c")) == 4
            await eventually(lambda: node.state.revision == 4)
        assert [bundle.revision for bundle in node.bundles] == [2, 3, 2, 4]
        # Another process may be another version, or have other settings.
        node.start_over(there.address)
        node.served, node.state = NOTHING, replace(node.state, revision=0, digest="")
        async with running(node):
            await eventually(lambda: node.state.revision == 4)
        assert there.hub.messages.snapshots == {Whole.FIRST: 1}


# Deltas


async def test_only_what_differs_travels(plane: ControlPlane, data_plane: DataPlane) -> None:
    await plane.put(Service(service_name="a"), Service(service_name="b"))
    await plane.put(Service(service_name="a", check_path="/other"))
    revision = await plane.store.commit({}, [Delete(key_of("service", "b"))])
    await eventually(lambda: data_plane.state.revision == revision)
    assert data_plane.bundles[-1].base
    assert ("service", "b") in data_plane.bundles[-1].touched
    assert plane.current.digest == data_plane.state.digest
    assert (plane.hub.messages.mismatches, data_plane.stream.mismatches) == (0, 0)


async def test_after_a_loss_it_gets_what_it_missed(plane: ControlPlane) -> None:
    node = DataPlane(plane.address)
    first = await plane.put(Service(service_name="a"))
    async with running(node):
        await eventually(lambda: node.state.revision == first)
    await plane.put(Service(service_name="b"))
    last = await plane.put(Service(service_name="c"))
    node.start_over(plane.address)
    async with running(node):
        await eventually(lambda: node.state.revision == last)
    assert node.bundles[-1].touched == {("service", "b"), ("service", "c")}


async def test_a_control_plane_that_was_not_there_serves_the_difference_too(plane: ControlPlane) -> None:
    """Another one, on the same store, takes over in the middle."""
    node = DataPlane(plane.address)
    async with ControlPlane() as other:
        for each in (plane, other):
            await each.put(Service(service_name="a"))
        async with running(node):
            await eventually(lambda: node.state.revision == 2)
        for each in (plane, other):
            await each.put(Service(service_name="b"))
        node.start_over(other.address)
        async with running(node):
            await eventually(lambda: node.state.revision == 3)
    assert node.bundles[-1].touched == {("service", "b")}


async def test_one_who_lost_something_is_mended_by_a_snapshot(plane: ControlPlane) -> None:
    node = DataPlane(plane.address)
    await plane.put(Service(service_name="a"))
    async with running(node):
        await eventually(lambda: node.state.digest == plane.current.digest)
    # A fault: it says that it has what it has not.
    node.served = NOTHING
    node.start_over(plane.address)
    revision = await plane.put(Service(service_name="b"))
    async with running(node):
        await eventually(lambda: node.state.revision == revision)
    assert (plane.hub.messages.mismatches, node.stream.mismatches) == (1, 1)
    assert (node.bundles[-1].base, node.state.digest) == ("", plane.current.digest)
    assert plane.fleet.nodes["gw-1"].last_rejection is None


async def test_the_revision_moves_on_when_nothing_that_matters_changed(
    plane: ControlPlane, data_plane: DataPlane
) -> None:
    for name in ("a:1", "a:2", "a:3"):
        revision = await plane.put(Scope(name=name))
    await eventually(lambda: data_plane.state.revision == revision)
    await eventually(lambda: plane.fleet.nodes["gw-1"].applied_revision == revision)
    assert data_plane.bundles[-1].touched == frozenset()
    # The first had been waited for long enough; the others are one mark.
    assert len(data_plane.bundles) <= 3
