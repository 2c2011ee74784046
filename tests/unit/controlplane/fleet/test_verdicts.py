"""Votes of many data planes on an instance: few numbers, and each data plane's can be taken back."""

from __future__ import annotations

import pytest

from controlplane.fleet import verdicts
from controlplane.fleet.reports import InstanceHealth, InstanceStatus
from controlplane.fleet.verdicts import Effect, Verdicts

NAME = ("orders", "a")
HEALTHY, UNHEALTHY = InstanceStatus.HEALTHY, InstanceStatus.UNHEALTHY
STARTING = InstanceStatus.STARTING


def said(status: InstanceStatus, at: float = 1.0, reason: str = "") -> InstanceHealth:
    return InstanceHealth(*NAME, status, at, reason)


def test_a_vote_replaces_the_one_before() -> None:
    votes = Verdicts()
    one, other = votes.take_slot(), votes.take_slot()
    assert votes.say(one, said(HEALTHY)) is Effect.VOTED
    assert votes.say(other, said(STARTING)) is Effect.VOTED
    assert votes.say(one, said(UNHEALTHY)) is Effect.VOTED
    assert votes.say(one, said(UNHEALTHY)) is Effect.NONE
    found = votes.found[NAME]
    assert (found.vote(one), found.vote(other), found.vote(7)) == (UNHEALTHY, STARTING, None)


def test_a_probe_that_says_the_same_changes_no_vote() -> None:
    votes = Verdicts()
    votes.say(0, said(UNHEALTHY, 1.0, "refused"))
    assert votes.say(0, said(UNHEALTHY, 2.0, "refused")) is Effect.CHECKED
    assert votes.say(0, said(UNHEALTHY, 2.0, "timed out")) is Effect.CHECKED
    assert votes.say(0, said(UNHEALTHY, 1.0, "older")) is Effect.NONE
    assert (votes.found[NAME].last_check, votes.found[NAME].reason) == (2.0, "timed out")


def test_what_nobody_knows_is_not_kept() -> None:
    votes = Verdicts()
    votes.say(0, said(HEALTHY))
    votes.say(1, said(HEALTHY))
    assert votes.forget(0, NAME) is Effect.VOTED
    assert votes.forget(0, NAME) is Effect.NONE
    assert votes.forget_others(1, {("orders", "b")}) == [NAME]
    assert not votes.found


def test_a_slot_is_given_again_without_the_votes_of_the_one_before() -> None:
    votes = Verdicts()
    first, second = votes.take_slot(), votes.take_slot()
    votes.say(first, said(HEALTHY))
    votes.say(second, said(HEALTHY))
    votes.free_slot(first)
    assert votes.take_slot() == first
    assert votes.found[NAME].vote(first) is None
    assert votes.found[NAME].vote(second) is HEALTHY


def test_votes_move_along() -> None:
    here, there = Verdicts(), Verdicts()
    there.say(5, said(UNHEALTHY, 3.0, "refused"))
    here.adopt(0, there.found, 5)
    found = here.found[NAME]
    assert (found.vote(0), found.last_check, found.reason) == (UNHEALTHY, 3.0, "refused")


def test_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "MOST_INSTANCES", 2)
    votes = Verdicts()
    for number in range(5):
        votes.say(0, InstanceHealth("orders", str(number), HEALTHY))
    assert len(votes.found) == 2
