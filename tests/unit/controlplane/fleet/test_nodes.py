"""The life of data planes as the control plane sees it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import MappingProxyType

import pytest

from controlplane.fleet.nodes import KEPT, MOST_GONE, Fleet
from controlplane.fleet.peer_updates import PeerState
from controlplane.fleet.reports import (
    MOST_RESETS,
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    NodeState,
    Rejection,
    ResetReport,
    StatsReport,
)
from controlplane.model.resources import Instance, Service
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import Stamped

ORDERS = Snapshot(
    7,
    MappingProxyType(
        {
            ("service", "orders"): Stamped(Service(service_name="orders"), 3),
            ("instance", "orders/a"): Stamped(
                Instance(service_name="orders", instance_id="a", host="127.0.0.1", port=9001), 4
            ),
        }
    ),
)
PROBLEM = NodeProblem("route/orders", "prefix", "is too long")


class Clocks:
    def __init__(self) -> None:
        self.now, self.wall = 100.0, 1_800_000_000.0

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def fleet(clocks: Clocks) -> Fleet:
    return Fleet(lambda: clocks.now, lambda: clocks.wall)


def test_a_data_plane_comes_applies_rejects_and_leaves(fleet: Fleet, clocks: Clocks) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.sent("gw-1", 5)
    assert (fleet.nodes["gw-1"].sent_revision, fleet.nodes["gw-1"].applied_revision) == (5, 0)
    fleet.ack("gw-1", 5, "five")
    clocks.advance(2)
    fleet.sent("gw-1", 6)
    fleet.nack("gw-1", 6, [PROBLEM])
    fleet.disconnect("gw-1")
    (node,) = fleet.views.dataplanes()
    assert (node.version, node.connected, node.applied_revision, node.digest) == ("0.1.0", False, 5, "five")
    assert node.last_rejection == Rejection(6, (PROBLEM,), clocks.wall)
    assert node.last_seen == clocks.wall


def test_hello_tells_what_is_served_already(fleet: Fleet) -> None:
    fleet.hello("gw-1", "0.1.0", 5, "five")
    assert (fleet.nodes["gw-1"].applied_revision, fleet.nodes["gw-1"].digest) == (5, "five")


def test_a_rejection_stays_known_after_a_reconnect(fleet: Fleet) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.nack("gw-1", 6, [PROBLEM])
    fleet.disconnect("gw-1")
    fleet.hello("gw-1", "0.1.1", 5, "five")
    node = fleet.nodes["gw-1"]
    assert node.connected and node.version == "0.1.1"
    assert node.last_rejection is not None and node.last_rejection.revision == 6


def test_being_sent_something_is_no_sign_of_life(fleet: Fleet, clocks: Clocks) -> None:
    fleet.hello("gw-1", "0.1.0")
    seen = fleet.nodes["gw-1"].last_seen
    clocks.advance(60)
    fleet.sent("gw-1", 5)
    assert fleet.nodes["gw-1"].last_seen == seen
    fleet.stats("gw-1", StatsReport())
    assert fleet.nodes["gw-1"].last_seen == seen + 60


def test_a_data_plane_that_left_is_forgotten_in_time(fleet: Fleet, clocks: Clocks) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.hello("gw-2", "0.1.0")
    fleet.disconnect("gw-1")
    clocks.advance(KEPT - 1)
    assert set(fleet.nodes) == {"gw-1", "gw-2"}
    clocks.advance(1)
    assert set(fleet.nodes) == {"gw-2"}


def test_a_wall_clock_step_forgets_nobody(fleet: Fleet, clocks: Clocks) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.disconnect("gw-1")
    clocks.wall += 86_400
    assert set(fleet.nodes) == {"gw-1"}


def test_coming_back_in_time_starts_the_count_anew(fleet: Fleet, clocks: Clocks) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.disconnect("gw-1")
    clocks.advance(KEPT - 1)
    fleet.hello("gw-1", "0.1.0")
    clocks.advance(KEPT)
    assert set(fleet.nodes) == {"gw-1"}


def test_those_who_left_are_bounded(fleet: Fleet) -> None:
    for number in range(MOST_GONE + 5):
        fleet.hello(f"gw-{number}", "0.1.0")
        fleet.disconnect(f"gw-{number}")
    assert len(fleet.nodes) == MOST_GONE
    assert "gw-4" not in fleet.nodes and "gw-5" in fleet.nodes


# Data planes of other control planes


def elsewhere(name: str = "gw", *, connected: bool = True, since: float = 0.0) -> NodeState:
    return NodeState(name, "0.1.0", connected, since)


def told(*states: NodeState) -> PeerState:
    return PeerState({state.node: state for state in states})


@pytest.fixture
def one_of_two(clocks: Clocks) -> Fleet:
    """Settled, with a data plane that another control plane tells of."""
    fleet = Fleet(lambda: clocks.now, lambda: clocks.wall, settle=3.0)
    clocks.advance(10)
    fleet.receive("other", told(elsewhere()))
    assert fleet.unsettled == 0
    return fleet


def test_one_that_lost_its_stream_elsewhere_is_expected_back(one_of_two: Fleet, clocks: Clocks) -> None:
    one_of_two.receive("other", told(elsewhere(connected=False)))
    clocks.advance(1)
    assert one_of_two.unsettled == 2
    # What else is told meanwhile neither ends nor prolongs that.
    one_of_two.receive("other", told(elsewhere(connected=False), elsewhere("gw-2")))
    assert one_of_two.unsettled == 2
    one_of_two.hello("gw", "0.1.0")
    assert one_of_two.unsettled == 0
    one_of_two.disconnect("gw")
    clocks.advance(3)
    assert one_of_two.unsettled == 0


def test_those_of_a_control_plane_that_is_gone_are_expected_back(one_of_two: Fleet, clocks: Clocks) -> None:
    one_of_two.lose("other")
    assert (one_of_two.nodes["gw"].connected, one_of_two.unsettled) == (False, 3)
    clocks.advance(3)
    assert one_of_two.unsettled == 0


def test_also_one_that_was_here_long_ago(one_of_two: Fleet, clocks: Clocks) -> None:
    one_of_two.hello("gw", "0.1.0")
    one_of_two.disconnect("gw")
    clocks.advance(60)
    one_of_two.receive("other", told(elsewhere(since=clocks.wall)))
    assert (one_of_two.nodes["gw"].connected, one_of_two.unsettled) == (True, 0)
    one_of_two.lose("other")
    assert (one_of_two.nodes["gw"].connected, one_of_two.unsettled) == (False, 3)
    # It is forgotten as one that left just now.
    clocks.advance(KEPT - 1)
    assert "gw" in one_of_two.nodes


def test_nothing_is_settled_while_another_control_plane_is_there_and_tells_nothing(clocks: Clocks) -> None:
    fleet = Fleet(lambda: clocks.now, lambda: clocks.wall, settle=3.0)
    fleet.expect("two")
    clocks.advance(60)
    assert (fleet.unsettled, fleet.unheard, fleet.alone) == (3, ["two"], False)
    fleet.receive("two", PeerState())
    assert (fleet.unsettled, fleet.unheard, fleet.alone) == (0, [], False)
    # PeerState of again, it is heard already.
    fleet.expect("two")
    assert fleet.unsettled == 0
    fleet.lose("two")
    fleet.expect("two")
    assert fleet.unsettled == 3
    fleet.lose("two")
    assert (fleet.unsettled, fleet.unheard, fleet.alone) == (0, [], True)


def test_nothing_is_settled_before_the_other_control_planes_are_known(clocks: Clocks) -> None:
    fleet = Fleet(lambda: clocks.now, lambda: clocks.wall, settle=3.0)
    fleet.await_peers()
    clocks.advance(60)
    assert fleet.unsettled == 3
    fleet.met_peers()
    clocks.advance(2)
    assert fleet.unsettled == 1
    # Known once is known; what comes later is told by those that come.
    fleet.met_peers()
    clocks.advance(1)
    assert fleet.unsettled == 0


def test_an_unknown_node_changes_nothing(fleet: Fleet) -> None:
    fleet.ack("nobody", 5, "five")
    fleet.sent("nobody", 5)
    fleet.stats("nobody", StatsReport())
    fleet.disconnect("nobody")
    assert not fleet.nodes


def test_only_the_connected_count_in_views(fleet: Fleet) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.health("gw-1", [InstanceHealth("orders", "a", InstanceStatus.HEALTHY, 9)])
    fleet.stats("gw-1", StatsReport(circuits=(CircuitReport("orders", CircuitState.OPEN),)))
    (orders,), (circuit,) = fleet.views.services(ORDERS), fleet.views.circuits(ORDERS)
    assert (orders.instances[0].status, circuit.circuit.state) == ("healthy", "open")
    fleet.disconnect("gw-1")
    (orders,), (circuit,) = fleet.views.services(ORDERS), fleet.views.circuits(ORDERS)
    assert (orders.instances[0].status, circuit.circuit.state) == ("starting", "closed")


def test_a_revision_without_meaning_to_data_planes_counts_as_applied(fleet: Fleet) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.ack("gw-1", 7, ORDERS.digest)
    fleet.hello("gw-2", "0.1.0", 6, "another")
    later = replace(ORDERS, revision=9)
    assert [node.applied_revision for node in fleet.views.dataplanes(later)] == [9, 6]
    assert [node.applied_revision for node in fleet.views.dataplanes()] == [7, 6]


def test_views_are_sorted_by_name(fleet: Fleet) -> None:
    for node in ("gw-2", "gw-1"):
        fleet.hello(node, "0.1.0")
    assert [node.node for node in fleet.views.dataplanes()] == ["gw-1", "gw-2"]


def test_every_report_wakes_those_who_watch(fleet: Fleet) -> None:
    event = asyncio.Event()
    with fleet.signals.changed.wakes(event):
        fleet.hello("gw-1", "0.1.0")
        assert event.is_set()
        event.clear()
        fleet.health("gw-1", [])
        assert event.is_set()
        event.clear()
        fleet.disconnect("gw-1")
        assert event.is_set()


def test_what_orders_to_reset_have_found_is_kept_apart_from_reports_and_bounded(fleet: Fleet) -> None:
    fleet.hello("gw-1", "0.1.0")
    fleet.stats("gw-1", StatsReport(resets={5: ResetReport(("callers",))}))
    fleet.stats("gw-1", StatsReport(1.0, 9))
    fleet.stats("gw-1", StatsReport(resets={5: ResetReport(), 6: ResetReport()}))
    state = fleet.nodes["gw-1"]
    assert state.resets == {5: ResetReport(("callers",)), 6: ResetReport()}, "started again, it finds nothing"
    assert not state.stats.resets
    fleet.stats("gw-1", StatsReport(resets=dict.fromkeys(range(7, 100), ResetReport())))
    assert list(fleet.nodes["gw-1"].resets) == list(range(100 - MOST_RESETS, 100))
