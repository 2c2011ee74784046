"""What is asked of data planes: a bounded number of reports a second, and details for those who look."""

from __future__ import annotations

import pytest

from controlplane.fleet.demand import (
    LOOKS,
    PER_SECOND,
    SHORTEST_TRAFFIC,
    SMALL,
    TELLERS,
    WATCHES,
    Demand,
    Reporting,
)


def demand(nodes: int) -> Demand:
    made = Demand()
    for number in range(nodes):
        made.come(f"gw-{number}")
    return made


@pytest.mark.parametrize(("nodes", "pace"), [(1, 1), (100, 1), (101, 2), (400, 4), (1000, 16)])
def test_the_pace_keeps_the_number_of_reports(nodes: int, pace: float) -> None:
    assert demand(nodes).of("gw-0", 0.0).pace == pace
    assert nodes / pace <= PER_SECOND


@pytest.mark.parametrize(("nodes", "every"), [(1, 10), (100, 10), (400, 20), (1000, 60), (5000, 60)])
def test_a_history_asks_for_few_reports_on_the_traffic(nodes: int, every: float) -> None:
    made = demand(nodes)
    assert made.traffic(0.0) == 0.0
    made.records = 10.0
    assert made.traffic(0.0) == every
    made.watch(0.0)
    assert made.traffic(0.0) == max(SHORTEST_TRAFFIC, made.of("gw-0", 0.0).pace)
    assert made.traffic(WATCHES) == every


def test_few_tell_every_probe_and_others_take_their_place() -> None:
    made = demand(5)
    tellers = [number for number in range(5) if made.of(f"gw-{number}", 0.0).checks]
    assert tellers == [0, 1]
    made.leave("gw-0")
    assert [number for number in range(1, 5) if made.of(f"gw-{number}", 0.0).checks] == [1, 2]
    assert TELLERS == 2


def test_a_large_fleet_reports_details_only_while_they_are_looked_at() -> None:
    assert demand(SMALL).of("gw-0", 0.0).details
    large = demand(SMALL + 1)
    assert not large.of("gw-0", 0.0).details
    large.look(10.0)
    assert large.of("gw-0", 10.0) == Reporting(2.0, True, True)
    assert not large.of("gw-0", 10.0 + LOOKS).details


def test_a_change_is_told_once() -> None:
    made = demand(SMALL + 1)
    assert made.changed(0.0)
    assert not made.changed(0.0)
    made.look(1.0)
    assert made.changed(1.0)
    made.look(2.0)
    assert not made.changed(2.0)
    assert made.changed(2.0 + LOOKS)


def test_the_traffic_is_asked_for_only_while_it_is_watched() -> None:
    small, large = demand(3), demand(1000)
    assert small.of("gw-0", 0.0).traffic == 0.0
    for made in (small, large):
        made.changed(0.0)
        made.watch(1.0)
        assert made.changed(1.0)
    assert small.of("gw-0", 1.0).traffic == SHORTEST_TRAFFIC
    assert large.of("gw-0", 1.0).traffic == 16.0
    assert small.of("gw-0", 1.0 + WATCHES).traffic == 0.0
    assert small.changed(1.0 + WATCHES)
