"""Sums over workers that come and go."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.config.reports import BucketStats, CircuitStats
from dataplane.observe.stats import LATENCY_BOUNDS, STATUS_CLASSES, NodeStats


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


def circuit(state: str, total: int, changed: float = 0.0, recent: int = 0, reason: str = "") -> list[Any]:
    return ["orders", state, changed, total, 0, 0, recent, reason]


def counts(*some: float, length: int = len(STATUS_CLASSES)) -> list[Any]:
    return [*some, *[0] * (length - len(some))]


LATENCY = len(LATENCY_BOUNDS) + 2


def test_workers_are_summed_up_over_time() -> None:
    stats = NodeStats()
    for worker in (0, 1, 0):
        stats.take(
            worker,
            frame(
                requests={"orders": counts(0, 0, 2), "": counts(1)},
                latency={"orders": counts(1, 2, length=LATENCY)},
                refusals=[["orders", "limited", 3]],
                upstream_errors=[["orders", "timed_out", 1]],
                access_log_drops=4,
                connections=7,
            ),
        )
    totals = stats.totals
    assert totals.requests == {"orders": counts(0, 0, 6), "": counts(3)}
    assert totals.latency == {"orders": counts(3, 6, length=LATENCY)}
    assert totals.refusals == {("orders", "limited"): 9}
    assert totals.upstream_errors == {("orders", "timed_out"): 3}
    assert (totals.access_log_drops, totals.total_requests, stats.connections) == (12, 9, 14)


def test_what_a_worker_counted_outlives_it() -> None:
    stats = NodeStats()
    stats.take(
        0, frame(requests={"orders": counts(0, 0, 2)}, connections=3, circuits=[circuit("open", 5, 9.0)])
    )
    stats.end(0)
    assert (stats.totals.total_requests, stats.connections) == (2, 0)
    (past,) = stats.circuits()
    assert (past.total_requests, past.state, past.recent_failures) == (5, "closed", 0)
    stats.take(0, frame(circuits=[circuit("half_open", 2, 11.0)]))
    (now,) = stats.circuits()
    assert (now.total_requests, now.state, now.last_state_change) == (7, "half_open", 11.0)


def test_the_worst_state_counts_and_of_equal_ones_the_latest() -> None:
    stats = NodeStats()
    stats.take(0, frame(circuits=[circuit("open", 5, 8.0, recent=2, reason="earlier")]))
    stats.take(1, frame(circuits=[circuit("half_open", 5, 9.0, recent=1, reason="other")]))
    assert stats.circuits() == (CircuitStats("orders", "open", 8.0, 10, 0, 0, 3, "earlier"),)
    stats.take(1, frame(circuits=[circuit("open", 6, 12.0, recent=1, reason="later")]))
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
    stats.keep({"payments": 1}, {})
    assert stats.circuits() == (CircuitStats("payments"),)


def test_counters_of_what_is_not_in_the_table_are_forgotten_and_the_sum_stays() -> None:
    stats = NodeStats()
    services, routes = {"orders": 1, "headgate:status": 1}, {"orders": 1}
    stats.keep(services, routes)
    names = ("orders", "gone", "")
    for _ in range(2):
        stats.take(
            0,
            frame(
                requests={name: counts(0, 0, 1) for name in names},
                latency={name: counts(1, length=LATENCY) for name in names},
                refusals=[[name, "limited", 1] for name in names],
                upstream_errors=[[name, "timed_out", 1] for name in names],
                retries=dict.fromkeys(names, 1),
            ),
        )
        stats.keep(services, routes)
    totals = stats.totals
    assert [sorted(each) for each in (totals.requests, totals.latency, totals.retries)] == [
        ["", "orders"],
        ["orders"],
        ["orders"],
    ]
    assert list(totals.refusals) == [("orders", "limited"), ("", "limited")]
    assert list(totals.upstream_errors) == [("orders", "timed_out")]
    assert totals.total_requests == 6
    assert stats.circuits() == (CircuitStats("orders"),)


def test_what_limits_would_have_refused_is_summed_while_they_exist() -> None:
    stats = NodeStats()
    for worker in (0, 1):
        stats.take(worker, frame(shadowed={"trial": 2, "gone": 1}, unanswered={"trial": 3, "gone": 1}))
    assert stats.totals.shadowed == {"trial": 4, "gone": 2}
    assert stats.totals.unanswered == {"trial": 6, "gone": 2}
    stats.keep({}, {}, {"trial": 1})
    assert stats.totals.shadowed == {"trial": 4}
    assert stats.totals.unanswered == {"trial": 6}


def test_the_limit_of_the_settings_is_counted_too() -> None:
    stats = NodeStats()
    coarse = {"headgate:address": 2}
    stats.take(0, frame(admitted=coarse, unanswered=coarse))
    stats.keep({}, {}, {})
    assert (stats.totals.admitted, stats.totals.unanswered) == (coarse, coarse)


def test_a_bucket_that_all_workers_share_is_not_summed() -> None:
    stats = NodeStats()
    for worker, remaining in enumerate((4.0, 3.0)):
        stats.take(worker, frame(buckets=[["l", "subject:ann", remaining, 2, "redis", 0, worker == 1]]))
    assert stats.buckets() == (BucketStats("l", "subject:ann", 3.0, 4, "redis", away=True),)


@pytest.mark.parametrize("place", ["node", "fleet"])
def test_of_a_leased_bucket_the_parts_of_workers_are_summed_and_what_nobody_holds_is_not(place: str) -> None:
    stats = NodeStats()
    stats.take(0, frame(buckets=[["l", "subject:ann", 25.0, 2, place, 5.0, False]]))
    stats.take(1, frame(buckets=[["l", "subject:ann", 26.0, 1, place, 3.0, False]]))
    assert stats.buckets() == (BucketStats("l", "subject:ann", 28.0, 3, place, 8.0),)


def test_a_limit_with_many_empty_buckets_does_not_hide_the_others() -> None:
    stats = NodeStats()
    for worker in range(3):
        empty = [["flooded", f"address:{worker}-{number}", 0, 1] for number in range(97)]
        stats.take(worker, frame(buckets=[*empty, ["calm", f"address:{worker}", 9, 0, "node"]]))
    report = stats.report(at=12.0).buckets
    assert len(report) == 100
    assert [bucket.name for bucket in report].count("calm") == 3


def test_workers_without_an_owner_or_redis_are_counted_by_limit() -> None:
    stats = NodeStats()
    stats.take(0, frame(away=["a", "b"], limited={"a": 2}))
    stats.take(1, frame(away=["b"], limited={"a": 1, "gone": 1}))
    assert (stats.away(), stats.totals.limited) == ({"a": 1, "b": 2}, {"a": 3, "gone": 1})
    stats.end(1)
    stats.keep({}, {}, {"a": 1})
    assert (stats.away(), stats.totals.limited) == ({"a": 1, "b": 1}, {"a": 3})


def test_buckets_are_summed_and_bounded_the_emptiest_first() -> None:
    stats = NodeStats()
    for worker in (0, 1):
        buckets = [["burst", f"address:{n}", n, 1] for n in range(100)]
        stats.take(worker, frame(buckets=buckets))
    report = stats.report(at=12.0)
    stats.take(2, frame(buckets=[["flood", "address:1", 0, 1]] * 1000))
    assert (report.at, len(report.buckets)) == (12.0, 100)
    assert report.buckets[1] == BucketStats("burst", "address:1", 2.0, 2)


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        [],
        None,
        frame(circuits=[["orders"]]),
        frame(circuits=[circuit("ajar", 1)]),
        frame(circuits=[circuit("open", "many")]),  # type: ignore[arg-type]
        frame(buckets=[["limit", "key", "much", 1]]),
        frame(requests=3),
        frame(requests={"orders": [1]}),
        frame(requests={"orders": counts("x")}),  # type: ignore[arg-type]
        frame(latency={"orders": [0.5]}),
        frame(connections="x"),
    ],
)
def test_frames_that_make_no_sense(nonsense: Any) -> None:
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
        NodeStats().take(0, nonsense)


def test_compressed_bodies_are_summed_by_route_and_coding() -> None:
    stats = NodeStats()
    for worker in (0, 1):
        stats.take(worker, frame(compressed=[["orders", "gzip", 1, 1000, 100], ["gone", "br", 1, 10, 9]]))
    assert stats.totals.compressed == {("orders", "gzip"): [2, 2000, 200], ("gone", "br"): [2, 20, 18]}
    stats.keep({}, {"orders": 1})
    assert list(stats.totals.compressed) == [("orders", "gzip")]


def test_copies_of_requests_are_summed_while_their_service_exists() -> None:
    stats = NodeStats()
    for worker in (0, 1):
        stats.take(
            worker,
            frame(
                mirrored={"next": 2, "gone": 1},
                mirror_failed={"next": 1, "gone": 1},
                mirror_dropped=[["next", "body", 1], ["gone", "busy", 4]],
            ),
        )
    stats.keep({"next": 1}, {})
    totals = stats.totals
    assert (totals.mirrored, totals.mirror_failed) == ({"next": 4}, {"next": 2})
    assert totals.mirror_dropped == {("next", "body"): 2}


def test_decisions_of_services_that_are_asked_are_summed() -> None:
    stats = NodeStats()
    for worker in (0, 1):
        stats.take(worker, frame(authorizations=[["orders", "allowed", 2, 0.5], ["gone", "failed", 1, 1.0]]))
    assert stats.totals.authorizations == {("orders", "allowed"): [4, 1.0], ("gone", "failed"): [2, 2.0]}
    stats.keep({}, {"orders": 1})
    assert list(stats.totals.authorizations) == [("orders", "allowed")]
