"""The verdict over a soak run: whose failures they were, and what flat memory is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.benchmarks.memory import Series, slope
from tests.benchmarks.soak import NOTICED, Outcome


def test_a_killed_instance_explains_what_its_requests_met() -> None:
    outcome = Outcome(failures=[(100.5, 503), (100.0 + NOTICED - 0.1, 502)])
    assert not outcome.ours([100.0])


@pytest.mark.parametrize("failure", [(90.0, 503), (100.0 + NOTICED + 0.1, 503), (100.5, 401), (100.5, 500)])
def test_nothing_else_is_excused(failure: tuple[float, int]) -> None:
    assert Outcome(failures=[failure]).ours([100.0]) == {failure[1]: 1}


def test_the_slope_of_a_line() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2.0)
    assert slope([(0, 1)]) == 0.0
    assert slope([(1, 1), (1, 2)]) == 0.0


def series(size: Callable[[int], float]) -> Series:
    return Series([(float(second), size(second)) for second in range(600)])


def test_memory_that_fills_up_at_first_and_then_stays_is_flat() -> None:
    assert series(lambda second: 50 + min(second, 150) / 5).flat


def test_memory_that_leaks_is_not_flat() -> None:
    leaking = series(lambda second: 50 + second * 0.02)
    assert not leaking.flat
    assert leaking.report()["slope_per_hour"] == pytest.approx(72.0)


def test_a_sawtooth_is_flat() -> None:
    assert series(lambda second: 50 + second % 30).flat
