"""What goes up a stream: everything once, then what changed, at the pace that the control plane states."""

from __future__ import annotations

from dataclasses import replace

from dataplane.config.reports import (
    BucketStats,
    CertificateReport,
    CircuitStats,
    InstanceHealth,
    InstanceStatus,
    ResetStats,
    RouteTraffic,
    StatsReport,
    TrafficStats,
)
from dataplane.config.stream.reporter import Reporter
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1 import status_pb2

STARTING, HEALTHY, UNHEALTHY = InstanceStatus.STARTING, InstanceStatus.HEALTHY, InstanceStatus.UNHEALTHY
BUCKETS = (BucketStats("burst", "subject:ann", 1.0, 2),)


def seen(name: str, status: InstanceStatus = HEALTHY, at: float = 1.0, reason: str = "") -> InstanceHealth:
    return InstanceHealth("orders", name, status, at, reason)


def counted(requests: int, state: str = "closed", at: float = 0.0) -> StatsReport:
    return StatsReport(13.0, requests, (CircuitStats("orders", state, at, requests),), BUCKETS)


def asked(*, pace: float = 10.0, checks: bool = False, details: bool = False) -> Reporter:
    """Everything was told once, and then the control plane asked."""
    reporter = Reporter(lambda: 0.5)
    reporter.health_report([seen("a"), seen("b")], 7)
    reporter.stats_report(counted(1), 0.0)
    reporter.configure(pb.Reporting(pace=pace, checks=checks, details=details), 0.0)
    return reporter


def listed(message: pb.StreamRequest | None) -> list[tuple[str, int]]:
    assert message is not None and message.health.changes
    return [(one.instance_id, one.status) for one in message.health.instances]


def test_an_older_control_plane_gets_everything_every_time() -> None:
    reporter = Reporter()
    for _ in range(2):
        health = reporter.health_report([seen("a")], 7)
        assert health is not None and not health.health.changes and len(health.health.instances) == 1
        stats = reporter.stats_report(counted(1), 0.0)
        assert stats is not None and not stats.stats.changes and stats.stats.rate_limits


def test_nothing_changed_nothing_told() -> None:
    reporter = asked()
    assert reporter.health_report([seen("a"), seen("b", at=2.0)], 7) is None


def test_what_changed_came_or_is_gone_is_told_once() -> None:
    reporter = asked()
    view = [seen("b", UNHEALTHY, 2.0, "refused"), seen("c", STARTING)]
    assert listed(reporter.health_report(view, 8)) == [("b", 3), ("c", 1), ("a", 0)]
    assert reporter.health_report(view, 8) is None


def test_a_revision_is_told_even_if_no_instance_changed() -> None:
    reporter = asked()
    assert listed(reporter.health_report([seen("a"), seen("b")], 8)) == []


def test_why_an_instance_fails_is_news_and_that_it_still_does_is_not() -> None:
    reporter = asked()
    reporter.health_report([seen("a"), seen("b", UNHEALTHY, 2.0, "refused")], 7)
    assert reporter.health_report([seen("a"), seen("b", UNHEALTHY, 3.0, "refused")], 7) is None
    assert listed(reporter.health_report([seen("a"), seen("b", UNHEALTHY, 4.0, "timed out")], 7)) == [
        ("b", 3)
    ]


def test_one_that_tells_for_all_tells_every_probe() -> None:
    reporter = asked(checks=True)
    assert listed(reporter.health_report([seen("a"), seen("b", at=2.0)], 7)) == [("b", 2)]


def test_counters_come_at_the_pace_and_begin_at_a_time_of_their_own() -> None:
    reporter = asked(details=True)
    assert reporter.stats_report(counted(2), 4.9) is None
    due = reporter.stats_report(counted(3), 5.0)
    assert due is not None and due.stats.changes
    assert (due.stats.total_requests, due.stats.circuits[0].total_requests, len(due.stats.rate_limits)) == (
        3,
        3,
        1,
    )
    assert reporter.stats_report(counted(4), 14.9) is None
    sign_of_life = reporter.stats_report(counted(3), 15.0)
    assert sign_of_life is not None and not sign_of_life.stats.circuits


def test_details_are_kept_until_somebody_looks() -> None:
    reporter = asked()
    due = reporter.stats_report(counted(3), 5.0)
    assert due is not None and not due.stats.circuits and not due.stats.rate_limits
    reporter.configure(pb.Reporting(pace=10.0, details=True), 6.0)
    looked = reporter.stats_report(counted(3), 11.0)
    assert looked is not None and looked.stats.circuits[0].total_requests == 3 and looked.stats.rate_limits


def test_a_circuit_that_opens_or_closes_is_told_at_once() -> None:
    reporter = asked()
    opened = reporter.stats_report(counted(9, "open", 12.0), 0.1)
    assert opened is not None and opened.stats.circuits[0].total_requests == 9
    closed = reporter.stats_report(counted(9, "closed", 13.0), 0.2)
    assert closed is not None and closed.stats.circuits[0].last_state_change == 13.0
    assert reporter.stats_report(counted(10, "closed", 13.0), 0.3) is None


def test_an_order_that_was_obeyed_is_told_at_once_and_once() -> None:
    reporter = asked(pace=100.0)
    obeyed = replace(counted(1), resets=(ResetStats(5, ("a",), ("f",), ("r",)),))
    told = reporter.stats_report(obeyed, 1.0)
    assert told is not None
    (reset,) = told.stats.resets
    assert reset == status_pb2.ResetReport(revision=5, limits=["a"], shared=["f"], unreached=["r"])
    assert reporter.stats_report(obeyed, 2.0) is None
    more = replace(obeyed, resets=(*obeyed.resets, ResetStats(6)))
    again = reporter.stats_report(more, 3.0)
    assert again is not None
    assert [one.revision for one in again.stats.resets] == [6]


def test_the_traffic_is_sent_at_once_when_it_is_measured() -> None:
    reporter = asked()
    assert reporter.traffic_every == 0.0
    reporter.configure(pb.Reporting(pace=10.0, traffic=0.1), 0.0)
    assert reporter.traffic_every == 1.0
    traffic = TrafficStats(2.0, 5, 1, 2, (RouteTraffic("orders", 5, 1, 2),), (), (0.1,), 3, 4, 5)
    message = reporter.stats_report(replace(counted(1), traffic=traffic), 0.1)
    assert message is not None and message.stats.traffic.routes[0].name == "orders"
    assert not message.stats.circuits and message.stats.changes
    assert reporter.stats_report(counted(1), 0.2) is None


def test_certificates_from_files_are_told_when_they_change() -> None:
    reporter = asked()
    shop = CertificateReport("shop", 5.0, "")
    told = reporter.stats_report(replace(counted(1), certificates=(shop,)), 0.1)
    assert told is not None and [one.name for one in told.stats.certificates.certificates] == ["shop"]
    assert reporter.stats_report(replace(counted(1), certificates=(shop,)), 0.2) is None
    broken = shop._replace(problem="cannot read it")
    told = reporter.stats_report(replace(counted(1), certificates=(broken,)), 0.3)
    assert told is not None and told.stats.certificates.certificates[0].problem == "cannot read it"
    told = reporter.stats_report(replace(counted(1), certificates=()), 0.4)
    assert told is not None and told.stats.HasField("certificates")
    assert not told.stats.certificates.certificates
