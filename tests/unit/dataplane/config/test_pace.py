"""Some changes pass at once, many are spread, and a rest makes room again."""

from __future__ import annotations

import pytest

from dataplane.config.pace import Pace


def test_some_changes_pass_at_once() -> None:
    pace = Pace(burst=3, per_second=20)
    assert [pace.wait(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_the_next_ones_are_spread() -> None:
    pace, now = Pace(burst=3, per_second=20), 100.0
    for _ in range(3):
        pace.wait(now)
    for _ in range(5):
        wait = pace.wait(now)
        assert wait == pytest.approx(0.05)
        now += wait


def test_changes_that_come_slowly_never_wait() -> None:
    pace = Pace(burst=1, per_second=20)
    assert all(pace.wait(100.0 + number * 0.051) == 0.0 for number in range(100))


def test_a_rest_makes_room_for_some_again_and_no_more() -> None:
    pace = Pace(burst=3, per_second=20)
    for _ in range(3):
        pace.wait(100.0)
    assert [pace.wait(1000.0) for _ in range(4)] == pytest.approx([0.0, 0.0, 0.0, 0.05])
