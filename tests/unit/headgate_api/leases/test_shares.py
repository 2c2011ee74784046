"""What a supervisor keeps of its workers' shares, and when the record on disk must go."""

from __future__ import annotations

from headgate_api.leases.messages import LEASE, SKEW, Answer
from headgate_api.leases.shares import Row, Shares
from headgate_api.leases.successor import Share

AWAY = LEASE * SKEW


def answer(stamp: float, starter: int = 10, epoch: int = 5, pace: float = 2.0) -> Answer:
    return Answer(stamp, epoch, starter, 3600.0, pace, ())


def told(*answers: tuple[str, Answer], now: float = 100.0) -> Shares:
    """Shares after these answers to workers."""
    shares = Shares()
    for worker, one in answers:
        shares.asked(worker, "callers", 1)
        shares.answered(worker, "callers", "subject", one, now)
    return shares


def row(worker: str, stamp: float, starter: int = 10) -> Row:
    return Row(worker, "callers", "subject", Share(starter, 2.0, stamp + 3600.0))


def test_a_record_is_due_once_when_no_owner_answers() -> None:
    shares = told(("0.1", answer(99.9)), ("1.2", answer(99.8, starter=16)))
    assert shares.due(100.0 + AWAY - 0.01) == []
    assert shares.due(100.0 + AWAY) == [row("0.1", 99.9), row("1.2", 99.8, 16)]
    assert shares.due(103.0) == []
    assert not shares.outdated


def test_it_is_removed_before_an_answer_reaches_a_worker() -> None:
    shares = told(("0.1", answer(99.9)))
    shares.due(103.0)
    shares.answered("0.1", "callers", "subject", answer(103.0, starter=4), 103.1)
    assert shares.outdated
    shares.removed(gone=True)
    assert shares.due(110.0) == [row("0.1", 103.0, 4)]


def test_one_that_cannot_be_removed_is_tried_again_with_the_next_answer() -> None:
    shares = told(("0.1", answer(99.9)))
    shares.due(103.0)
    for stamp in (103.0, 103.1):
        shares.answered("0.1", "callers", "subject", answer(stamp), stamp)
        assert shares.outdated
        shares.removed(gone=False)
    assert shares.due(110.0) == [row("0.1", 103.1)], "the present terms replace it"


def test_one_that_could_not_be_written_is_due_again() -> None:
    shares = told(("0.1", answer(99.9)))
    assert shares.due(103.0) == [row("0.1", 99.9)]
    shares.written(done=False)
    assert shares.due(103.5) == [row("0.1", 99.9)]
    shares.written(done=True)
    assert shares.due(104.0) == []


def test_one_that_may_be_left_is_removed_until_it_is_gone() -> None:
    shares = Shares(recorded=True)
    for gone in (False, True):
        assert shares.due(100.0) == []
        assert shares.outdated
        shares.removed(gone=gone)
    assert shares.due(100.0) == []
    assert not shares.outdated


def test_terms_without_a_share_are_not_recorded() -> None:
    assert told(("0.1", answer(99.9, starter=0))).due(103.0) == []
    assert told(("0.1", answer(99.9, pace=0.0))).due(103.0) == []
    assert told(("0.1", answer(99.8)), ("0.1", answer(99.9, starter=0))).due(103.0) == []


def test_after_an_answer_of_an_earlier_owner_nothing_is_known() -> None:
    shares = told(("0.1", answer(99.7)), ("0.1", answer(99.8, epoch=4)), ("0.1", answer(99.9, epoch=4)))
    assert shares.due(103.0) == []


def test_an_answer_to_an_earlier_ask_changes_nothing() -> None:
    shares = told(("0.1", answer(99.9)), ("0.1", answer(99.8, starter=16)))
    assert shares.due(103.0) == [row("0.1", 99.9)]


def test_a_limit_that_a_worker_counts_anew_has_no_share_of_before() -> None:
    shares = told(("0.1", answer(99.9)))
    shares.due(103.0)
    shares.asked("0.1", "callers", 2)
    assert shares.outdated
    shares.removed(gone=True)
    assert shares.due(104.0) == []


def test_a_worker_that_ends_while_no_owner_answers_is_named_until_its_successor_is_done() -> None:
    shares = told(("0.1", answer(99.9)), ("1.2", answer(99.9)))
    shares.due(103.0)
    shares.ended("0.1", 103.0)
    assert list(shares.former) == ["0.1"]
    assert shares.left_to(0) == [row("0.1", 99.9)]
    assert shares.left_to(1) == []
    shares.dropped(0)
    assert not shares.former
    assert shares.outdated


def test_one_that_ends_while_the_owner_answers_is_not() -> None:
    shares = told(("0.1", answer(99.9)))
    shares.ended("0.1", 100.5)
    assert not shares.former
    assert shares.left_to(0) == []


def test_the_newest_share_of_each_limit_is_left() -> None:
    other = Row("0.1", "others", "subject", Share(3, 1.0, 4000.0))
    shares = Shares([row("0.10", 98.0, 4), row("0.9", 99.9), other, row("1.2", 99.9)])
    assert set(shares.left_to(0)) == {row("0.10", 98.0, 4), other}


def test_shares_that_lapsed_are_named_no_more() -> None:
    shares = Shares([row("0.1", 99.9), row("0.3", 3000.0)])
    shares.due(99.9 + 3600.0)
    assert list(shares.former) == ["0.3"]
    assert shares.outdated
