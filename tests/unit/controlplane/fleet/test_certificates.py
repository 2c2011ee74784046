"""Certificates that data planes read from their own files, over the fleet."""

from __future__ import annotations

from controlplane.fleet.certificates import ends, warnings
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.peer_updates import PeerUpdate
from controlplane.fleet.reports import CertificateReport, NodeState, StatsReport
from controlplane.rpc.wire import peer_messages

DAY = 86_400
NOW = 1_800_000_000.0


def node(name: str, *reports: CertificateReport, connected: bool = True) -> NodeState:
    return NodeState(name, "1", connected=connected, certificates=reports)


def report(days: float, problem: str = "") -> CertificateReport:
    return CertificateReport("shop", NOW + days * DAY, problem)


def test_the_earliest_end_of_those_connected_counts() -> None:
    states = [node("a", report(50)), node("b", report(40)), node("c", report(1), connected=False)]
    assert ends(states) == {"shop": NOW + 40 * DAY}
    assert ends([node("a", CertificateReport("shop", 0.0, "unread"))]) == {}


def test_a_warning_names_the_data_planes() -> None:
    well = node("a", report(31))
    assert list(warnings([well], NOW)) == []
    soon = [node("c", report(2.5)), node("b", report(2.5))]
    (warning,) = warnings([well, *soon], NOW)
    assert warning == (
        "certificate 'shop' on data plane b and 1 more data plane: expires on 2027-01-17, in 2 days"
    )
    (broken,) = warnings([node("a", report(40, "cannot read shop/tls.key"))], NOW)
    assert broken == "certificate 'shop' on data plane a: cannot read shop/tls.key"


def test_reports_stay_until_others_come() -> None:
    fleet = Fleet()
    fleet.hello("a", "1")
    fleet.stats("a", StatsReport(certificates=(report(1),)))
    fleet.stats("a", StatsReport())
    assert fleet.nodes["a"].certificates == (report(1),)
    (sent,) = peer_messages.messages(PeerUpdate(nodes=[fleet.nodes["a"]]))
    assert peer_messages.part(sent).nodes[0].certificates == (report(1),)
    fleet.stats("a", StatsReport(certificates=()))
    assert not fleet.nodes["a"].certificates
