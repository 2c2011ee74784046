"""Reports of data planes: taken over as they are when sane, bounded and harmless otherwise."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from controlplane.fleet.bounds import LONGEST_TEXT
from controlplane.fleet.reports import CircuitState, InstanceStatus
from controlplane.rpc.wire import report_messages
from headgate_api.v1 import config_pb2
from headgate_api.v1 import status_pb2 as pb


def test_health() -> None:
    report = pb.HealthReport(
        instances=[
            pb.InstanceHealth(
                service_name="orders",
                instance_id="a",
                status=pb.INSTANCE_STATUS_UNHEALTHY,
                last_check=12.5,
                reason="timed out",
            )
        ]
    )
    (one,) = report_messages.health(report.instances)
    assert (one.service_name, one.instance_id, one.status) == ("orders", "a", InstanceStatus.UNHEALTHY)
    assert (one.last_check, one.reason) == (12.5, "timed out")


def test_stats() -> None:
    circuit = pb.CircuitReport(
        service_name="orders",
        state=pb.CIRCUIT_STATE_HALF_OPEN,
        last_state_change=9,
        total_requests=2**64 - 1,
        failed_requests=3,
        rejected_requests=4,
        recent_failures=5,
        reason="Circuit opened after 5 failures",
    )
    bucket = pb.RateLimitReport(name="slow", key="subject:ann", remaining=1.5, refused=6)
    stats = report_messages.stats(
        pb.StatsReport(at=10, total_requests=7, circuits=[circuit], rate_limits=[bucket])
    )
    assert (stats.at, stats.total_requests) == (10, 7)
    assert (stats.circuits[0].state, stats.circuits[0].total_requests) == (CircuitState.HALF_OPEN, 2**64 - 1)
    assert (stats.rate_limits[0].key, stats.rate_limits[0].remaining) == ("subject:ann", 1.5)


def test_words_of_a_newer_data_plane_say_the_least() -> None:
    unknown = pb.HealthReport.FromString(b"\x0a\x02\x18\x63")  # status 99
    assert report_messages.health(unknown.instances)[0].status is InstanceStatus.STARTING
    stats = report_messages.stats(pb.StatsReport.FromString(b"\x1a\x02\x10\x63"))  # state 99
    assert stats.circuits[0].state is CircuitState.CLOSED


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), -1.0, 1e300])
def test_numbers_that_no_calendar_and_no_json_knows(value: float) -> None:
    circuit = pb.CircuitReport(last_state_change=value)
    bucket = pb.RateLimitReport(remaining=value)
    stats = report_messages.stats(pb.StatsReport(at=value, circuits=[circuit], rate_limits=[bucket]))
    assert (stats.at, stats.circuits[0].last_state_change) == (0, 0)
    json.dumps(asdict(stats), allow_nan=False)
    health = report_messages.health([pb.InstanceHealth(status=pb.INSTANCE_STATUS_STARTING, last_check=value)])
    assert health[0].last_check == 0


def test_everything_is_bounded() -> None:
    long = "x" * 100_000
    nack = config_pb2.Nack(problems=[config_pb2.Problem(resource=long, field=long, detail=long)] * 500)
    problems = report_messages.problems(nack)
    assert len(problems) == report_messages.MOST_PROBLEMS
    assert len(str(problems[0])) < 4 * LONGEST_TEXT
    buckets = pb.StatsReport(rate_limits=[pb.RateLimitReport(name=long)] * 500)
    assert len(report_messages.stats(buckets).rate_limits) == report_messages.MOST_BUCKETS
