"""How often answers are written."""

from __future__ import annotations

from controlplane.discovery.intervals import FORGOTTEN, LONGEST, Intervals


def test_a_service_with_many_instances_rests_longer() -> None:
    intervals = Intervals()
    assert intervals.pause("orders", 0.0, silent=False) == 0.0
    intervals.written("orders", 10.0, 500, silent=False)
    assert intervals.pause("orders", 10.25, silent=False) == 0.25
    assert intervals.pause("stock", 10.25, silent=True) == 0.0
    assert intervals.pause("orders", 10.5, silent=False) == 0.0
    intervals.forget("orders")
    assert intervals.pause("orders", 10.1, silent=False) == 0.0


def test_problems_of_a_silent_source_are_written_less_and_less_often() -> None:
    intervals, now, pauses = Intervals(), 0.0, []
    for _ in range(12):
        now += intervals.pause("orders", now, silent=True)
        intervals.written("orders", now, 0, silent=True)
        pauses.append(intervals.pause("orders", now, silent=True))
        # An answer between them is written at once, and does not end the series.
        assert intervals.pause("orders", now, silent=False) == 0.0
        intervals.written("orders", now, 0, silent=False)
    assert pauses[:3] == [1.0, 2.0, 4.0] and pauses[-1] == LONGEST
    intervals.written("orders", now + FORGOTTEN, 0, silent=True)
    assert intervals.pause("orders", now + FORGOTTEN, silent=True) == 1.0
