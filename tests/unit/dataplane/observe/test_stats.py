"""Sums over workers that come and go."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config.reports import BucketStats, CircuitStats
from dataplane.observe.stats import NodeStats


def frame(**fields: Any) -> dict[str, Any]:
    """A worker's frame of a second without traffic."""
    return {
        "requests": {},
        "latency": {},
        "refusals": [],
        "upstream_errors": [],
        "access_log_drops": 0,
        "circuits": [],
        "buckets": [],
        "connections": 0,
        "ejected": [],
        **fields,
    }


def circuit(state: str, total: int, changed: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {
        "service": "orders",
        "state": state,
        "last_state_change": changed,
        "total_requests": total,
        "failed_requests": 0,
        "rejected_requests": 0,
        "recent_failures": 0,
        "reason": "",
        **fields,
    }


def test_workers_are_summed_up_over_time() -> None:
    stats = NodeStats()
    for worker in (0, 1, 0):
        stats.take(
            worker,
            frame(
                requests={"orders": [0, 0, 2], "": [1, 0, 0]},
                latency={"orders": [1, 2, 0.5]},
                refusals=[["orders", "limited", 3]],
                upstream_errors=[["orders", "timed_out", 1]],
                access_log_drops=4,
                connections=7,
            ),
        )
    totals = stats.totals
    assert totals.requests == {"orders": [0, 0, 6], "": [3, 0, 0]}
    assert totals.latency == {"orders": [3, 6, 1.5]}
    assert totals.refusals == {("orders", "limited"): 9}
    assert totals.upstream_errors == {("orders", "timed_out"): 3}
    assert (totals.access_log_drops, totals.total_requests, stats.connections) == (12, 9, 14)


def test_what_a_worker_counted_outlives_it() -> None:
    stats = NodeStats()
    stats.take(0, frame(requests={"orders": [0, 0, 2]}, connections=3, circuits=[circuit("open", 5, 9.0)]))
    stats.end(0)
    assert (stats.totals.total_requests, stats.connections) == (2, 0)
    (past,) = stats.circuits()
    assert (past.total_requests, past.state, past.recent_failures) == (5, "closed", 0)
    stats.take(0, frame(circuits=[circuit("half_open", 2, 11.0)]))
    (now,) = stats.circuits()
    assert (now.total_requests, now.state, now.last_state_change) == (7, "half_open", 11.0)


def test_the_worst_state_counts_and_of_equal_ones_the_latest() -> None:
    stats = NodeStats()
    stats.take(0, frame(circuits=[circuit("open", 5, 8.0, recent_failures=2, reason="earlier")]))
    stats.take(1, frame(circuits=[circuit("half_open", 5, 9.0, recent_failures=1, reason="other")]))
    assert stats.circuits() == (CircuitStats("orders", "open", 8.0, 10, 0, 0, 3, "earlier"),)
    stats.take(1, frame(circuits=[circuit("open", 6, 12.0, recent_failures=1, reason="later")]))
    assert stats.circuits()[0].reason == "later"


def test_a_circuit_that_is_not_told_again_is_as_it_was() -> None:
    stats = NodeStats()
    stats.take(0, frame(circuits=[circuit("open", 5, 8.0)]))
    stats.take(0, frame())
    assert stats.circuits()[0].state == "open"


def test_circuits_of_services_that_are_gone_are_forgotten() -> None:
    stats = NodeStats()
    for worker in (0, 1):
        stats.take(worker, frame(circuits=[circuit("open", 5)]))
    stats.end(1)
    stats.keep(["payments"])
    assert stats.circuits() == ()


def test_buckets_are_summed_and_bounded_the_emptiest_first() -> None:
    stats = NodeStats()
    for worker in (0, 1):
        buckets = [{"name": "burst", "key": f"address:{n}", "remaining": n, "refused": 1} for n in range(150)]
        stats.take(worker, frame(buckets=buckets))
    report = stats.report(at=12.0)
    assert (report.at, len(report.buckets)) == (12.0, 100)
    assert report.buckets[1] == BucketStats("burst", "address:1", 2.0, 2)


@pytest.mark.parametrize(
    "nonsense",
    [{}, [], None, frame(circuits=[{"name": "orders"}]), frame(requests=3), frame(connections="x")],
)
def test_frames_that_make_no_sense(nonsense: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
        NodeStats().take(0, nonsense)
