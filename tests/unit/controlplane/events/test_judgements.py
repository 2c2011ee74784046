"""The history of opinions on an instance: each change once, with its judge; bounded."""

from __future__ import annotations

import pytest

from controlplane.events import judgements as module
from controlplane.events.judgements import MOST_KEPT, Judgements
from controlplane.fleet.views import Ballot

NAME = ("orders", "a")


def ballot(well: str = "", ill: str = "", starting: str = "", reason: str = "refused") -> Ballot:
    return Ballot(well.split(), ill.split(), starting.split(), reason)


def told(found: Judgements) -> list[tuple[float, str, str, str]]:
    return [(one.at, one.dataplane, one.status, one.reason) for one in found.of(NAME)]


def test_each_change_of_an_opinion_is_told_once() -> None:
    found = Judgements(lambda node: True)
    found.vote(NAME, ballot("gw-1 gw-2"), 1.0)
    found.vote(NAME, ballot("gw-2", "gw-1"), 2.0)
    found.vote(NAME, ballot("gw-2", "gw-1"), 3.0)
    found.vote(NAME, ballot("", "gw-1 gw-2", reason="timeout"), 4.0)
    found.vote(NAME, ballot("gw-1 gw-2"), 5.0)
    assert told(found) == [
        (2.0, "gw-1", "unhealthy", "refused"),
        (4.0, "gw-2", "unhealthy", "timeout"),
        (5.0, "gw-1", "healthy", ""),
        (5.0, "gw-2", "healthy", ""),
    ]
    assert [(one.healthy, one.unhealthy) for one in found.of(NAME)] == [(1, 1), (0, 2), (2, 0), (2, 0)]


def test_a_data_plane_that_is_away_keeps_its_opinion() -> None:
    known = {"gw-1"}
    found = Judgements(known.__contains__)
    found.vote(NAME, ballot("", "gw-1"), 1.0)
    found.vote(NAME, ballot(), 2.0)
    assert found.waits(NAME)
    found.vote(NAME, ballot("", "gw-1"), 3.0)
    assert not found.waits(NAME) and len(told(found)) == 1
    found.vote(NAME, ballot(), 4.0)
    found.vote(NAME, ballot("gw-1"), 5.0)
    assert told(found)[-1] == (5.0, "gw-1", "healthy", "")
    found.vote(NAME, ballot("", "gw-1"), 6.0)
    known.clear()
    found.vote(NAME, ballot(), 7.0)
    assert not found.waits(NAME), "it is forgotten"


def test_the_verdict_of_the_fleet() -> None:
    found = Judgements(lambda node: True)
    assert not found.matters(NAME, "healthy") and found.matters(NAME, "unhealthy")
    found.decide(NAME, ballot("x", "y z"), 1.0, status="unhealthy", previous="healthy", reason="refused")
    assert told(found) == [(1.0, "", "unhealthy", "refused")]
    assert found.matters(NAME, "healthy"), "it has a history now"


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_INSTANCES", 2)
    found = Judgements(lambda node: True)
    for number in range(MOST_KEPT):
        found.vote(NAME, ballot("", "gw-1"), float(number))
        found.vote(NAME, ballot("gw-1"), number + 0.5)
    assert len(told(found)) == MOST_KEPT and told(found)[-1][0] == MOST_KEPT - 0.5
    for other in ("b", "c"):
        found.vote(("orders", other), ballot("", "gw-1"), 99.0)
    assert not told(found) and found.of(("orders", "c"))
