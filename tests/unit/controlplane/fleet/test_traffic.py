"""Rates and latencies of the fleet, from reports of data planes that differ in everything."""

from __future__ import annotations

import pytest

from controlplane.fleet.demand import WATCHES
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import PeerState, UpdateReceiver, UpdateSender
from controlplane.fleet.reports import (
    InstanceTraffic,
    LimitTraffic,
    NodeState,
    RefusalTraffic,
    RouteTraffic,
    ServiceTraffic,
    StatsReport,
    TrafficReport,
)
from controlplane.fleet.traffic import UNBOUNDED, Adding, quantile, reported
from controlplane.rpc.wire import peer_messages, report_messages
from headgate_api.v1 import status_pb2 as pb
from headgate_api.v1.peers_pb2 import FollowResponse


def report(seconds: float = 2.0, requests: int = 10, bounds: tuple[float, ...] = (0.1, 1.0)) -> TrafficReport:
    latency = (requests, *[0] * len(bounds))
    return TrafficReport(
        seconds,
        requests,
        1,
        2,
        (RouteTraffic("orders", requests, 1, 2),),
        (ServiceTraffic("orders", latency, 2),),
        bounds,
        3,
        4,
        5,
        (RefusalTraffic("orders", "", "limited", 2), RefusalTraffic("", "orders", "timed_out", 4)),
        (LimitTraffic("per-caller", 2, 1),),
        (
            InstanceTraffic("orders", "orders-1", requests, 2, 1),
            InstanceTraffic("orders", "orders-2", 1, 0, 0),
        ),
    )


def state(node: str, traffic: TrafficReport | None, *, connected: bool = True) -> NodeState:
    return NodeState(node, "1.2.3", connected=connected, stats=StatsReport(traffic=traffic))


@pytest.mark.parametrize(
    ("buckets", "share", "found"),
    [
        ({}, 0.5, None),
        ({0.1: 0, UNBOUNDED: 0}, 0.5, None),
        ({0.1: 10, 1.0: 0, UNBOUNDED: 0}, 0.5, 0.05),
        ({0.1: 5, 1.0: 5, UNBOUNDED: 0}, 0.5, 0.1),
        ({0.1: 5, 1.0: 5, UNBOUNDED: 0}, 0.9, 0.82),
        ({0.1: 1, 1.0: 0, UNBOUNDED: 9}, 0.99, 1.0),
    ],
)
def test_quantiles(buckets: dict[float, float], share: float, found: float | None) -> None:
    assert quantile(buckets, share) == (None if found is None else pytest.approx(found))


def test_reports_over_different_times_and_bounds_are_added() -> None:
    adding = Adding()
    for one in (
        state("b", report(2.0, 10)),
        state("a", report(4.0, 40, (0.2,))),
        state("c", None),
        state("gone", report(), connected=False),
    ):
        adding.add(one)
    found = adding.result()
    assert found.rates.requests == 15.0
    assert [one.state.node for one in found.nodes] == ["a", "b", "c", "gone"]
    assert [one.rates.requests if one.rates else None for one in found.nodes] == [10.0, 5.0, None, None]
    ((name, rates),) = found.routes
    assert (name, rates.requests, rates.error_share) == ("orders", 15.0, 1.5 / 15)
    (service,) = found.services
    assert (service.requests, service.errors) == (15.0, 1.5)
    assert service.p99 is not None and 0.1 < service.p99 < 0.2


def test_reasons_limits_and_instances_are_added() -> None:
    adding = Adding()
    for one in (state("b", report(2.0, 10)), state("a", report(4.0, 40)), state("c", None)):
        adding.add(one)
    found = adding.result().details
    assert found.refusals["orders"] == {"limited": 1.5} and found.failures["orders"] == {"timed_out": 3.0}
    assert found.reasons == {"limited": 1.5, "timed_out": 3.0}
    limit, instance = found.limits["per-caller"], found.instances["orders"]["orders-1"]
    assert (limit.refused, limit.shadowed) == (1.5, 0.75)
    assert (instance.requests, instance.errors, instance.ejected_at) == (15.0, 1.5, 2)
    assert found.ejected == {"orders": 1}


def test_only_connected_data_planes_are_waited_for() -> None:
    assert reported([state("a", report()), state("b", None, connected=False)])
    assert not reported([state("a", report()), state("b", None)])


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def known(fleet: Fleet) -> TrafficReport | None:
    state = fleet.state("gw-1")
    assert state is not None
    return state.stats.traffic


def test_traffic_is_kept_while_it_is_watched() -> None:
    clock = Clock()
    fleet = Fleet(clock, clock)
    fleet.hello("gw-1", "1.2.3")
    fleet.stats("gw-1", StatsReport(traffic=report()), changes=True)
    assert known(fleet) is None
    fleet.watch()
    fleet.stats("gw-1", StatsReport(traffic=report()), changes=True)
    fleet.stats("gw-1", StatsReport(), changes=True)
    assert known(fleet) == report()
    clock.now += WATCHES
    fleet.settle_demand()
    assert known(fleet) is None


def test_other_control_planes_are_told_that_it_is_watched_and_what_it_is() -> None:
    clock = Clock()
    here, there = Fleet(clock, clock), Fleet(clock, clock)
    there.hello("gw-1", "1.2.3")
    here.watch()
    there.receive("here", told(here))
    assert there.reporting("gw-1").traffic == 2.0
    assert not there.watches, "or both would tell each other for ever"
    there.stats("gw-1", StatsReport(traffic=report()), changes=True)
    here.receive("there", told(there))
    assert here.nodes["gw-1"].stats.traffic == report()


def test_circuits_that_are_read_elsewhere_are_not_read_here() -> None:
    clock = Clock()
    here, there = Fleet(clock, clock), Fleet(clock, clock)
    here.look()
    there.receive("here", told(here))
    assert not there.looks


def told(fleet: Fleet) -> PeerState:
    """The state as another control plane gets it."""
    receiver, found = UpdateReceiver(), PeerState()
    for update in UpdateSender(fleet.verdicts, fleet.circuits).updates(fleet.peer_state()):
        for message in peer_messages.messages(update):
            read = peer_messages.part(FollowResponse.FromString(message.SerializeToString()))
            if (heard := receiver.receive(read)) is not None:
                found = heard[0]
    return found


def test_a_report_of_nonsense_harms_nobody() -> None:
    assert report_messages.stats(pb.StatsReport()).traffic is None
    nothing = pb.StatsReport(traffic=pb.TrafficReport(seconds=float("nan"), requests=7))
    assert report_messages.stats(nothing).traffic is None
    crooked = pb.TrafficReport(
        seconds=1.0,
        routes=[pb.RouteTraffic(name="x" * 999, requests=2**64 - 1)] * 999,
        services=[pb.ServiceTraffic(name="orders", latency=[1, 2, 3], errors=1)],
        bounds=[float("inf")],
        refusals=[pb.RefusalTraffic(route="x" * 999, decision="y" * 999, requests=2**64 - 1)] * 999,
        limits=[pb.LimitTraffic(name="x" * 999)] * 999,
        instances=[pb.InstanceTraffic(service_name="x" * 999, instance_id="y" * 999)] * 1999,
    )
    instant = pb.StatsReport(traffic=pb.TrafficReport(seconds=1e-300, requests=7))
    assert report_messages.stats(instant).traffic is None
    found = report_messages.stats(pb.StatsReport(traffic=crooked)).traffic
    assert found is not None and len(found.routes) == 500 and len(found.routes[0].name) == 128
    assert found.services[0].latency == ()
    assert (len(found.refusals), len(found.limits), len(found.instances)) == (500, 500, 1000)
    assert len(found.refusals[0].decision) == len(found.instances[0].instance_id) == 128
    adding = Adding()
    adding.add(state("a", found))
    assert adding.result().p50 is None
