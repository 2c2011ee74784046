"""Goals: the better mark that a figure reaches, whichever way is better."""

from __future__ import annotations

import pytest

from tests.benchmarks.goals import GOALS, Goal, missed


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.9, "missed"), (2.0, "must"), (2.79, "must"), (2.8, "aim"), (9.0, "aim")]
)
def test_more_is_better(value: float, verdict: str) -> None:
    assert Goal(2.0, 2.8).verdict(value) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(1.01, "missed"), (1.0, "must"), (0.5, "aim"), (0.0, "aim")])
def test_less_is_better(value: float, verdict: str) -> None:
    assert Goal(1.0, 0.5, less_is_better=True).verdict(value) == verdict


def test_every_aim_is_at_least_as_hard_as_its_must() -> None:
    assert {goal.verdict(goal.aim) for goal in GOALS.values()} == {"aim"}
    assert all(goal.verdict(goal.must) in ("must", "aim") for goal in GOALS.values())


def test_figures_that_miss_what_they_must_are_named() -> None:
    figures = {"limits_over_admission_10s": 1.0, "limits_utilisation_even": 0.96, "unknown": 0.0}
    assert missed(figures) == ["limits_over_admission_10s"]
