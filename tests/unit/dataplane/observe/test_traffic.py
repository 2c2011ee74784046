"""The traffic between two reports: differences of sums, measured only while they are asked for."""

from __future__ import annotations

import os
from typing import Any

from dataplane.config.reports import (
    InstanceTraffic,
    LimitTraffic,
    RefusalTraffic,
    RouteTraffic,
    ServiceTraffic,
)
from dataplane.observe.stats import LATENCY_BOUNDS, NodeStats
from dataplane.observe.traffic import MOST_LISTED, TrafficMeter

NOTHING = [0] * 10
LATENCIES = [0.0] * (len(LATENCY_BOUNDS) + 2)


def frame(
    routes: dict[str, list[int]], latency: dict[str, list[float]], errors: int = 0, **more: Any
) -> dict[str, object]:
    return {
        "requests": routes,
        "latency": latency,
        "refusals": [],
        "upstream_errors": [["orders", "timeout", errors]] if errors else [],
        "access_log_drops": 0,
        "circuits": [],
        "buckets": [],
        "connections": 4,
        "in_flight": 2,
        "ejected": [],
        **more,
    }


def classes(good: int = 0, client: int = 0, server: int = 0) -> list[int]:
    return [0, 0, good, 0, client, server, 0, 0, 0, 0]


def latency(first: int = 0, last: int = 0) -> list[float]:
    return [first, *LATENCIES[2:-1], last, 1.5]


def test_nothing_is_measured_unless_it_is_asked_for() -> None:
    meter, stats = TrafficMeter(), NodeStats()
    assert meter.measure(0.0, 1.0, stats, ()) is None
    assert meter.measure(2.0, 2.0, stats, ()) is None  # there is nothing to compare with yet
    assert meter.measure(0.0, 3.0, stats, ()) is None
    assert meter.measure(2.0, 4.0, stats, ()) is None


def test_the_difference_since_the_last_report() -> None:
    meter, stats = TrafficMeter(), NodeStats()
    stats.take(0, frame({"orders": classes(100)}, {"orders": latency(100)}))
    meter.measure(2.0, 10.0, stats, ())
    stats.take(0, frame({"orders": classes(5, 2, 3), "": classes(client=1)}, {"orders": latency(6, 4)}, 3))
    assert meter.measure(2.0, 11.0, stats, ()) is None
    found = meter.measure(2.0, 12.0, stats, (os.getpid(), 2**30))
    assert found is not None
    assert (found.seconds, found.requests, found.client_errors, found.server_errors) == (2.0, 11, 3, 3)
    assert found.routes == (RouteTraffic("orders", 10, 2, 3), RouteTraffic("", 1, 1, 0))
    (service,) = found.services
    assert service == ServiceTraffic("orders", (6, *[0] * (len(LATENCY_BOUNDS) - 1), 4), 3)
    assert (found.in_flight, found.connections) == (2, 4)
    assert found.memory > 1 << 20
    quiet = meter.measure(2.0, 14.0, stats, ())
    assert quiet is not None and quiet.requests == 0 and not quiet.routes and not quiet.services


def test_a_route_that_was_deleted_and_created_again_begins_anew() -> None:
    meter, stats = TrafficMeter(), NodeStats()
    stats.take(0, frame({"orders": classes(100)}, {}))
    meter.measure(1.0, 1.0, stats, ())
    stats.totals.keep((), (), ())
    stats.take(0, frame({"orders": classes(7)}, {}))
    found = meter.measure(1.0, 2.0, stats, ())
    assert found is not None and found.routes == (RouteTraffic("orders", 7, 0, 0),)


def test_the_busiest_routes_are_listed_and_all_are_counted() -> None:
    meter, stats = TrafficMeter(), NodeStats()
    meter.measure(1.0, 1.0, stats, ())
    stats.take(0, frame({f"r{number}": classes(number + 1) for number in range(MOST_LISTED + 9)}, {}))
    found = meter.measure(1.0, 2.0, stats, ())
    assert found is not None and len(found.routes) == MOST_LISTED
    assert found.routes[0].name == f"r{MOST_LISTED + 8}"
    assert found.requests == sum(range(MOST_LISTED + 10))


def test_refusals_and_failures_have_their_reasons() -> None:
    meter, stats = TrafficMeter(), NodeStats()
    stats.take(0, frame({}, {}, 5, refusals=[["orders", "limited", 100]], limited={"per-caller": 100}))
    meter.measure(1.0, 1.0, stats, ())
    refusals = [["orders", "limited", 4], ["", "not_found", 9], ["orders", "forbidden", 1]]
    stats.take(0, frame({}, {}, 3, refusals=refusals, limited={"per-caller": 4}, shadowed={"trial": 2}))
    found = meter.measure(1.0, 2.0, stats, ())
    assert found is not None
    assert found.refusals == (
        RefusalTraffic("", "", "not_found", 9),
        RefusalTraffic("orders", "", "limited", 4),
        RefusalTraffic("", "orders", "timeout", 3),
        RefusalTraffic("orders", "", "forbidden", 1),
    )
    assert found.limits == (LimitTraffic("per-caller", 4, 0), LimitTraffic("trial", 0, 2))


def test_instances_with_their_requests_and_the_ejected_ones_first() -> None:
    meter, stats = TrafficMeter(), NodeStats()
    stats.take(0, frame({}, {}, instances=[["orders", "orders-1", 100, 0]]))
    meter.measure(1.0, 1.0, stats, ())
    for worker in (0, 1):
        counts = [["orders", "orders-1", 5, 1], ["payments", "p-1", 9, 0]]
        stats.take(worker, frame({}, {}, instances=counts, ejected=["orders/orders-2"]))
    found = meter.measure(1.0, 2.0, stats, ())
    assert found is not None
    assert found.instances == (
        InstanceTraffic("orders", "orders-2", 0, 0, 2),
        InstanceTraffic("payments", "p-1", 18, 0, 0),
        InstanceTraffic("orders", "orders-1", 10, 2, 0),
    )


def test_instances_are_not_gathered_while_nobody_asks() -> None:
    meter, stats = TrafficMeter(), NodeStats()
    stats.take(0, frame({}, {}, instances=[["orders", "orders-1", 100, 0]]))
    meter.measure(0.0, 1.0, stats, ())
    assert not stats.take_instances()
