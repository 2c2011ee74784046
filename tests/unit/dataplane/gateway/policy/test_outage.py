"""When a store is asked no more, and when it is tried again."""

from __future__ import annotations

from dataplane.gateway.policy.outage import FIRST_PAUSE, LONGEST_PAUSE, MOST_LATE, Outage


def test_only_late_answers_in_a_row_end_a_connection() -> None:
    outage = Outage()
    for _ in range(10):
        assert [outage.late() for _ in range(MOST_LATE - 1)] == [False] * (MOST_LATE - 1)
        outage.answered()
    assert [outage.late() for _ in range(MOST_LATE)] == [False] * (MOST_LATE - 1) + [True]


def test_an_outage_begins_once_and_ends_once() -> None:
    outage = Outage()
    assert not outage.over()
    assert outage.failed("connection lost", 100.0)
    assert not outage.failed("connection refused", 101.0)
    assert (outage.since, outage.reason) == (100.0, "connection refused")
    assert outage.over()
    assert (outage.since, outage.reason) == (None, "")
    assert not outage.over()
    assert outage.failed("again", 200.0)


def test_tries_become_rarer_up_to_a_bound_and_begin_anew() -> None:
    outage = Outage()
    pauses = [outage.pause(1.0) for _ in range(12)]
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    assert outage.pause(0.0) == LONGEST_PAUSE / 2
    assert outage.failed("", 0.0)
    assert outage.pause(1.0) == FIRST_PAUSE


def test_a_server_that_answers_tries_only_is_tried_no_more_often() -> None:
    outage = Outage()
    pauses = []
    for _ in range(8):
        outage.failed("", 0.0, steady=False)
        pauses.append(outage.pause(1.0))
        assert outage.over()
    assert pauses[-1] == LONGEST_PAUSE
    outage.failed("", 0.0, steady=True)
    assert outage.pause(1.0) == FIRST_PAUSE
