"""Answers that are kept: for how long, and how many."""

from __future__ import annotations

from dataplane.gateway.policy.authorization import Answers

ALICE = ((b"x-user", b"alice"),)


def test_an_answer_is_kept_until_it_expires() -> None:
    answers = Answers()
    answers.put(b"a", ALICE, 10.0)
    assert answers.get(b"a", 9.9) == ALICE
    assert answers.get(b"a", 10.0) is None
    assert answers.get(b"a", 9.9) is None
    assert answers.get(b"b", 0.0) is None


def test_the_oldest_make_room() -> None:
    answers = Answers(most=2)
    answers.put(b"a", (), 10.0)
    answers.put(b"b", (), 10.0)
    answers.put(b"a", ALICE, 10.0)
    answers.put(b"c", (), 10.0)
    assert (answers.get(b"a", 0.0), answers.get(b"b", 0.0), answers.get(b"c", 0.0)) == (ALICE, None, ())
