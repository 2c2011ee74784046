"""What is told in parts is what there is: held against the fleet itself, after anything that may happen."""

from __future__ import annotations

import random

import pytest

from controlplane.fleet.bounds import LONGEST_NAME, LONGEST_TEXT, MOST_SLOTS
from controlplane.fleet.nodes import KEPT, Fleet
from controlplane.fleet.peer_updates import (
    AT_ONCE,
    PeerChanges,
    PeerState,
    PeerUpdate,
    UpdateReceiver,
    UpdateSender,
)
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    RateLimitReport,
    StatsReport,
)
from controlplane.model.capabilities import Lacking, UnknownField
from controlplane.rpc.wire import peer_messages
from controlplane.rpc.wire.report_messages import MOST_BUCKETS, MOST_REPORTS
from headgate_api.v1.peers_pb2 import FollowResponse


class Wire:
    """A follower, across the wire format."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.sender = UpdateSender(fleet.verdicts, fleet.circuits)
        self.receiver = UpdateReceiver()
        self.parts: list[PeerUpdate] = []
        self.told, self.changed = PeerState(), PeerChanges(frozenset(), frozenset(), nodes=False)

    def tell(self) -> PeerState:
        self.parts = []
        for part in self.sender.updates(self.fleet.peer_state()):
            for message in peer_messages.messages(part):
                sent = message.SerializeToString()
                assert len(sent) < 1.1 * peer_messages.LARGE
                read = peer_messages.part(FollowResponse.FromString(sent))
                self.parts.append(read)
                if (heard := self.receiver.receive(read)) is not None:
                    self.told, self.changed = heard
        return self.told


class Life:
    """Whatever may happen to data planes, at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 1000.0
        self.fleet = Fleet(lambda: self.now, lambda: 1e9 + self.now)

    def happen(self) -> None:
        node = f"gw-{self.random.randrange(6)}"
        what = self.random.choice(
            (self._come, self._go, self._report, self._report, self._count, self._answer)
        )
        what(node)

    def _come(self, node: str) -> None:
        self.fleet.hello(node, "1", self.random.randrange(9), "abc", {("s1", "a"): 2})

    def _go(self, node: str) -> None:
        self.fleet.disconnect(node)
        self.now += KEPT / 2 if self.random.random() < 0.5 else 0.1

    def _report(self, node: str) -> None:
        names = [(f"s{number % 3}", f"i{number}") for number in range(8) if self.random.random() < 0.6]
        statuses = [InstanceStatus.HEALTHY, InstanceStatus.UNHEALTHY, InstanceStatus.STARTING]
        found = [InstanceHealth(*name, self.random.choice(statuses), self.now, "refused") for name in names]
        unknown = [("s1", "i1")] if self.random.random() < 0.3 else ()
        self.fleet.health(node, found, 5, changes=self.random.random() < 0.5, unknown=unknown)

    def _count(self, node: str) -> None:
        state = self.random.choice(list(CircuitState))
        report = CircuitReport(f"s{self.random.randrange(3)}", state, self.now, self.random.randrange(9))
        self.fleet.stats(node, StatsReport(self.now, 7, (report,)), changes=self.random.random() < 0.5)
        if self.random.random() < 0.1:
            self.fleet.circuits.drop_details()

    def _answer(self, node: str) -> None:
        self.fleet.ack(node, self.random.randrange(9), "xyz")
        self.fleet.nack(node, 9, [NodeProblem("route/a", "prefix", "is odd")], "odd")
        if self.random.random() < 0.5:
            unknown = UnknownField(("service", "s"), "tls", "services.tls")
            self.fleet.withhold(node, 10, "new", Lacking(frozenset({"services.tls"}), 1, (unknown,)))


def plain(told: PeerState) -> tuple[object, ...]:
    """To compare by content."""
    return dict(told.nodes), dict(told.votes), {name: dict(one) for name, one in told.circuits.items()}


@pytest.mark.parametrize("seed", range(20))
def test_a_follower_knows_what_there_is(seed: int) -> None:
    life = Life(seed)
    for _ in range(life.random.randrange(30)):
        life.happen()
    wire = Wire(life.fleet)
    for _ in range(40):
        assert plain(wire.tell()) == plain(life.fleet.peer_state())
        for _ in range(life.random.randrange(4)):
            life.happen()


def test_only_what_changed_is_told() -> None:
    fleet = Fleet()
    for number in range(3):
        fleet.hello(f"gw-{number}", "1", 1, "abc")
        fleet.health(
            f"gw-{number}", [InstanceHealth("s", f"i{i}", InstanceStatus.HEALTHY) for i in range(5)], 1
        )
    wire = Wire(fleet)
    before = wire.tell()
    assert (len(before.nodes), len(before.votes)) == (3, 5)
    wire.tell()
    assert repr(wire.parts) == repr([PeerUpdate([], [], [], [], complete=True)])
    assert not wire.changed
    fleet.health("gw-1", [InstanceHealth("s", "i2", InstanceStatus.UNHEALTHY)], 1, changes=True)
    wire.tell()
    assert [node.node for part in wire.parts for node in part.nodes] == ["gw-1"]
    assert [name for part in wire.parts for name, _ in part.votes] == [("s", "i2")]
    assert wire.changed == PeerChanges(frozenset({"s"}), frozenset(), nodes=True)
    assert before.votes["s", "i2"].ill == 0, "what was heard before stays as it was"


def test_parts_are_bounded_and_the_last_is_complete() -> None:
    fleet = Fleet()
    for number in range(AT_ONCE + 1):
        fleet.hello(f"gw-{number}", "1", 1, "abc")
        reports = tuple(CircuitReport(f"s{i}", CircuitState.OPEN, 1.0) for i in range(3))
        fleet.stats(f"gw-{number}", StatsReport(1.0, 1, reports))
    names = [InstanceHealth("s", f"i{i}", InstanceStatus.HEALTHY) for i in range(2 * AT_ONCE + 1)]
    fleet.health("gw-0", names, 1)
    wire = Wire(fleet)
    wire.tell()
    assert [len(part.nodes) for part in wire.parts] == [AT_ONCE, 1, 0, 0, 0, 0, 0, 0, 0]
    assert [len(part.votes) for part in wire.parts] == [0, 0, AT_ONCE, AT_ONCE, 1, 0, 0, 0, 0]
    assert [len(part.circuits) for part in wire.parts] == [0, 0, 0, 0, 0, 1, 1, 1, 0]
    assert [part.complete for part in wire.parts] == [False] * 8 + [True]


def test_who_is_gone_costs_nothing_any_more() -> None:
    fleet = Fleet()
    one, two = UpdateSender(fleet.verdicts, fleet.circuits), UpdateSender(fleet.verdicts, fleet.circuits)
    one.close()
    assert len(fleet.verdicts.marks) == len(fleet.circuits.marks) == 1
    two.close()
    assert not fleet.verdicts.marks
    assert not fleet.circuits.marks


def test_large_reports_go_in_several_messages() -> None:
    """What fifty data planes report, each within its bounds, is more than gRPC takes in one message."""
    fleet, odd = Fleet(), "\N{GRINNING FACE}" * (LONGEST_TEXT - 5)
    buckets = tuple(RateLimitReport(odd, f"{number}{odd}", 1.0, 0) for number in range(MOST_BUCKETS))
    for number in range(50):
        fleet.hello(f"gw-{number}", "1", 1, "abc")
        fleet.stats(f"gw-{number}", StatsReport(1.0, 1, (), buckets))
    wire = Wire(fleet)
    assert plain(wire.tell()) == plain(fleet.peer_state())
    assert len(wire.parts) > 16
    assert [part.complete for part in wire.parts].count(True) == 1
    assert wire.parts[-1].complete


def test_a_single_large_report_fits_into_a_message() -> None:
    fleet = Fleet()
    fleet.hello("gw", "1", 1, "abc")
    fleet.leaving("gw", {(f"{number:0128}", f"{number:0128}"): 1 for number in range(MOST_REPORTS)})
    sender = UpdateSender(fleet.verdicts, fleet.circuits)
    sizes = [
        one.ByteSize() for part in sender.updates(fleet.peer_state()) for one in peer_messages.messages(part)
    ]
    assert peer_messages.LARGE < max(sizes) < peer_messages.LARGE + peer_messages.LARGEST_ENTRY


def test_odd_messages_do_no_harm() -> None:
    response = FollowResponse(removed_nodes=["never-there"], complete=True)
    response.nodes.add(node="gw", slot=1 << 30, since=float("nan"), last_seen=1e300, applied_revision=-1)
    for name in ("", "g w", "gw\n", "\x1b[2J", "g" * 129):
        response.nodes.add(node=name, connected=True)
        response.circuits.add(service_name="s").reports.add(node=name)
    response.votes.add(service_name="s", instance_id="i" * 1000, known=b"\xff" * 100_000)
    heard = UpdateReceiver().receive(peer_messages.part(response))
    assert heard is not None
    told, _ = heard
    assert set(told.nodes) == {"gw"} and not told.circuits
    state = told.nodes["gw"]
    assert (state.slot, state.since, state.last_seen, state.applied_revision) == (-1, 0.0, 0.0, 0)
    ((_, instance), found) = next(iter(told.votes.items()))
    assert (len(instance), found.known.bit_length()) == (LONGEST_NAME, MOST_SLOTS)
