"""Which renewals are sent, who waits for them, and what is known from memory."""

from __future__ import annotations

from controlplane.store.renewals import LONGEST, Renewals


def test_one_renewal_serves_all_who_ask_meanwhile() -> None:
    renewals: Renewals[str] = Renewals()
    assert renewals.ask(1, "a", 0.0)
    assert not renewals.ask(1, "b", 0.1)
    assert renewals.ask(2, "c", 0.2)
    assert renewals.unanswered() == [1, 2]
    assert renewals.answered(1, 15, 0.3) == ["a", "b"]
    assert renewals.answered(1, 15, 0.3) == []
    assert renewals.unanswered() == [2]


def test_a_lease_renewed_a_moment_ago_is_not_renewed_again() -> None:
    renewals: Renewals[str] = Renewals()
    renewals.answered(1, 15, 10.0)
    assert renewals.left(1, 12.0) == 13.0
    assert renewals.left(1, 12.5) is None
    renewals.answered(2, 300, 20.0)
    assert renewals.left(2, 20.0 + LONGEST - 0.1) is not None
    assert renewals.left(2, 20.0 + LONGEST) is None


def test_one_that_is_gone_or_revoked_is_not_told_of_from_memory() -> None:
    renewals: Renewals[str] = Renewals()
    renewals.answered(1, 0, 10.0)
    assert renewals.left(1, 10.0) is None
    renewals.answered(2, 15, 10.0)
    renewals.forget(2)
    assert renewals.left(2, 10.0) is None


def test_an_answer_that_comes_after_the_lease_was_revoked_is_not_remembered() -> None:
    renewals: Renewals[str] = Renewals()
    renewals.ask(1, "a", 10.0)
    renewals.forget(1)
    assert renewals.answered(1, 15, 10.1) == ["a"]
    assert renewals.left(1, 10.2) is None


def test_who_asks_after_the_lease_was_revoked_is_told_what_is_so_then() -> None:
    renewals: Renewals[str] = Renewals()
    renewals.ask(1, "before", 10.0)
    renewals.forget(1)
    assert renewals.ask(1, "after", 10.1), "it has to be sent anew"
    assert not renewals.ask(1, "too", 10.2)
    assert renewals.answered(1, 15, 10.3) == ["before"]
    assert renewals.answered(1, 0, 10.4) == ["after", "too"]
    assert not renewals


def test_over_a_new_stream_one_answer_is_everybodys() -> None:
    renewals: Renewals[str] = Renewals()
    renewals.ask(1, "before", 10.0)
    renewals.forget(1)
    renewals.ask(1, "after", 10.1)
    assert renewals.unanswered() == [1]
    assert renewals.answered(1, 0, 10.4) == ["before", "after"]
    assert not renewals


def test_all_who_asked_are_given_up() -> None:
    renewals: Renewals[str] = Renewals()
    renewals.ask(1, "before", 10.0)
    renewals.forget(1)
    renewals.ask(1, "after", 10.1)
    assert renewals.overdue(10.0) == [(1, "before"), (1, "after")]


def test_the_memory_holds_two_generations() -> None:
    renewals: Renewals[str] = Renewals()
    for second in range(100):
        renewals.answered(second, 300, float(second))
    assert len(renewals._renewed) + len(renewals._older) <= 2 * LONGEST + 1


def test_what_is_overdue_is_given_up_oldest_first() -> None:
    renewals: Renewals[str] = Renewals()
    for lease in (3, 2, 1):
        renewals.ask(lease, f"of {lease}", lease * -1.0)
    assert renewals.oldest == -3.0
    assert renewals.overdue(-3.0) == [(3, "of 3")]
    assert renewals.unanswered() == [2, 1]
    assert renewals.overdue(float("inf")) == [(2, "of 2"), (1, "of 1")]
    assert len(renewals) == 0
