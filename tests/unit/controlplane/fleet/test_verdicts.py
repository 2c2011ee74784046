"""Votes of many data planes on an instance: few numbers, and each data plane's can be taken back."""

from __future__ import annotations

import pytest

from controlplane.fleet import verdicts
from controlplane.fleet.reports import InstanceHealth, InstanceStatus
from controlplane.fleet.verdicts import Verdicts

NAME = ("orders", "a")
HEALTHY, UNHEALTHY = InstanceStatus.HEALTHY, InstanceStatus.UNHEALTHY
STARTING = InstanceStatus.STARTING


def said(status: InstanceStatus, at: float = 1.0, reason: str = "") -> InstanceHealth:
    return InstanceHealth(*NAME, status, at, reason)


def say(votes: Verdicts, slot: int, *said: InstanceHealth) -> str:
    """What this changes."""
    voted, services = votes.say(slot, said)
    return "vote" if voted else "check" if services else "nothing"


def test_a_vote_replaces_the_one_before() -> None:
    votes = Verdicts()
    one, other = votes.take_slot(), votes.take_slot()
    assert say(votes, one, said(HEALTHY)) == "vote"
    assert say(votes, other, said(STARTING)) == "vote"
    assert say(votes, one, said(UNHEALTHY)) == "vote"
    assert say(votes, one, said(UNHEALTHY)) == "nothing"
    found = votes.found[NAME]
    assert (found.vote(one), found.vote(other), found.vote(7)) == (UNHEALTHY, STARTING, None)


def test_a_probe_that_says_the_same_changes_no_vote() -> None:
    votes = Verdicts()
    say(votes, 0, said(UNHEALTHY, 1.0, "refused"))
    assert say(votes, 0, said(UNHEALTHY, 2.0, "refused")) == "check"
    assert say(votes, 0, said(UNHEALTHY, 2.0, "timed out")) == "check"
    assert say(votes, 0, said(UNHEALTHY, 1.0, "older")) == "nothing"
    assert (votes.found[NAME].last_check, votes.found[NAME].reason) == (2.0, "timed out")


def test_what_nobody_knows_is_not_kept() -> None:
    votes = Verdicts()
    say(votes, 0, said(HEALTHY))
    say(votes, 1, said(HEALTHY))
    assert votes.forget(0, [NAME]) == [NAME]
    assert votes.forget(0, [NAME]) == []
    assert votes.forget_others(1, {("orders", "b")}) == [NAME]
    assert not votes.found


def test_followers_are_told_of_every_change() -> None:
    votes, marks = Verdicts(), set[tuple[str, str]]()
    votes.marks.append(marks)
    other = InstanceHealth("orders", "b", HEALTHY, 1.0)
    for change, expected in (
        (lambda: votes.say(0, [said(HEALTHY), other]), {NAME, other.name}),
        (lambda: votes.say(0, [said(HEALTHY), other]), set()),
        (lambda: votes.say(0, [said(HEALTHY, 2.0), other]), {NAME}),
        (lambda: votes.forget(0, [NAME]), {NAME}),
        (lambda: votes.forget_others(0, ()), {other.name}),
    ):
        marks.clear()
        change()
        assert marks == expected


def test_a_slot_is_given_again_without_the_votes_of_the_one_before() -> None:
    votes = Verdicts()
    first, second = votes.take_slot(), votes.take_slot()
    votes.say(first, [said(HEALTHY)])
    votes.say(second, [said(HEALTHY)])
    votes.free_slot(first)
    assert votes.take_slot() == first
    assert votes.found[NAME].vote(first) is None
    assert votes.found[NAME].vote(second) is HEALTHY


def test_votes_move_along() -> None:
    here, there = Verdicts(), Verdicts()
    there.say(5, [said(UNHEALTHY, 3.0, "refused")])
    here.adopt(0, there.found, 5)
    found = here.found[NAME]
    assert (found.vote(0), found.last_check, found.reason) == (UNHEALTHY, 3.0, "refused")


def test_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "MOST_INSTANCES", 2)
    votes = Verdicts()
    for number in range(5):
        votes.say(0, [InstanceHealth("orders", str(number), HEALTHY)])
    assert len(votes.found) == 2
