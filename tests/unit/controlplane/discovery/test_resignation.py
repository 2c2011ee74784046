"""When a control plane whose sources are silent gives up the lead."""

from __future__ import annotations

from controlplane.discovery.resignation import FIRST, LONGEST, Resignation


def silent(resignation: Resignation, now: float) -> float | None:
    return resignation.due_in(now, answered=False)


def test_after_a_minute_of_silence() -> None:
    resignation = Resignation()
    resignation.begin()
    assert resignation.due_in(0.0, answered=None) is None
    assert silent(resignation, 10.0) == FIRST
    assert silent(resignation, 40.0) == FIRST - 30.0
    assert silent(resignation, 10.0 + FIRST) == 0.0


def test_an_answer_ends_the_silence() -> None:
    resignation = Resignation()
    silent(resignation, 0.0)
    assert resignation.due_in(FIRST, answered=True) is None
    assert silent(resignation, FIRST + 1) == FIRST


def test_where_nobody_has_access_the_lead_changes_ever_more_rarely() -> None:
    resignation, now, terms = Resignation(), 0.0, []
    for _ in range(6):
        resignation.begin()
        assert resignation.due_in(now, answered=None) is None
        terms.append(silent(resignation, now))
        now += terms[-1] or 0.0
        assert silent(resignation, now) == 0.0
        resignation.resign()
        now += 1000.0
    assert terms == [60.0, 120.0, 240.0, 480.0, LONGEST, LONGEST]
    resignation.due_in(now, answered=True)
    assert silent(resignation, now) == FIRST
