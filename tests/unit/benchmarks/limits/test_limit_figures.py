"""From what limits showed to figures."""

from __future__ import annotations

import pytest

from tests.benchmarks.limits import shared, single
from tests.benchmarks.limits.demand import Record
from tests.benchmarks.limits.fleet import BURST, RATE
from tests.benchmarks.limits.shared import Found
from tests.benchmarks.load import Sample


def rows(*pairs: tuple[float, float]) -> list[Sample]:
    return [Sample(rate, cost, 1.0, 0) for rate, cost in pairs]


def found(excess: float = -10.0, arrived: float = -5.0, used: float = 0.99) -> Found:
    return Found(100, 90, 0, 80, excess, arrived, used)


def test_every_contender_is_set_against_the_local_limit() -> None:
    samples = {
        "local limit": rows((100, 20), (50, 40)),
        "fleet limit": rows((99, 20), (50, 40)),
        "redis counters": rows((50, 40), (25, 80)),
    }
    figures = single.ratios(samples)
    assert figures["limits_rps_fleet_over_local"] == pytest.approx(0.995)
    assert figures["limits_rps_redis_counters_over_local"] == 0.5
    assert figures["limits_cpu_redis_counters_over_local"] == 0.5
    assert "limits_rps_redis_over_local" not in figures
    assert single.spread(samples)[-1].split()[2:] == ["0.500", "0.500", "to", "0.500"]


def test_added_latency_is_taken_round_by_round() -> None:
    runs = {
        "local limit": [{"p50_ms": 1.0, "p99_ms": 2.0}, {"p50_ms": 1.0, "p99_ms": 20.0}],
        "redis limit": [{"p50_ms": 1.2, "p99_ms": 2.5}, {"p50_ms": 1.2, "p99_ms": 20.5}],
    }
    assert single.added(runs, 1000.0)["limits_redis_added_p99_ms"] == 0.5


def test_the_worst_window_counts_and_never_less_than_nothing() -> None:
    kept = shared.figures({"even": found(), "skewed": found(excess=-3.0)})
    assert (kept["limits_over_admission_10s"], kept["limits_room_left_10s"]) == (0.0, 3.0)
    assert shared.figures({"even": found(), "skewed": found(excess=2.0)})["limits_over_admission_10s"] == 2.0


def test_demand_is_divided_without_rest() -> None:
    ports = list(range(10))
    assert set(shared.even(ports).values()) == {0.1}
    skewed = shared.skewed(ports)
    assert sum(skewed.values()) == pytest.approx(1.0)
    assert sum(skewed[port] for port in ports[:2]) == pytest.approx(0.8)


def test_what_clients_were_told_must_be_what_the_service_saw() -> None:
    sent = [10.0, 10.1, 10.2, 10.3]
    judged = shared.judge(Record(sent, [200, 429, 200, 503]), {0: 10.0, 1: 10.1})
    # 503 is a failure; 1 reached the service and was refused, 2 was answered by another.
    assert (judged.requests, judged.admitted, judged.failed) == (4, 2, 3)
    assert judged.excess == 2 - RATE * shared.WINDOW - BURST
