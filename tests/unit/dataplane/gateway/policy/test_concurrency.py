"""Requests under way: as many as may be, and every place is given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.gateway.policy.bucket_reports import BucketReport
from dataplane.gateway.policy.concurrency import Concurrency, worker_share
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitKey


def few(most: int = 2) -> Limit:
    return Limit("few", 0.0, 0, LimitKey.SUBJECT, max_concurrent=most)


def test_each_key_has_places_of_its_own() -> None:
    places = Concurrency(few(), 1.0)
    assert [places.enter("alice") for _ in range(3)] == [True, True, False]
    assert places.enter("bob")
    places.leave("alice")
    assert places.enter("alice") and not places.enter("alice")


def test_what_has_ended_needs_no_memory() -> None:
    places = Concurrency(few(1), 1.0)
    for number in range(1000):
        assert places.enter(f"caller-{number}") and not places.enter(f"caller-{number}")
        places.leave(f"caller-{number}")
    assert list(places.keys()) == []


def test_a_smaller_bound_waits_for_those_under_way() -> None:
    places = Concurrency(few(4), 1.0)
    for _ in range(4):
        assert places.enter("alice")
    places.adopt(few(2))
    for _ in range(2):
        assert not places.enter("alice")
        places.leave("alice")
    assert not places.enter("alice")
    places.leave("alice")
    assert places.enter("alice")


@pytest.mark.parametrize(
    ("most", "share", "places"), [(10, 1.0, 10), (10, 0.25, 2), (1, 0.25, 1), (4, 0.25, 1)]
)
def test_a_worker_has_whole_places_and_at_least_one(most: int, share: float, places: int) -> None:
    assert worker_share(most, share) == places


def test_the_report_shows_the_places_that_are_left() -> None:
    limiter = Limiter()
    places = limiter.concurrency(few())
    assert places is not None
    places.enter("alice")
    for _ in range(3):
        places.enter("bob")
    assert limiter.report(0.0) == [
        BucketReport("few", "subject:bob", 0, 1),
        BucketReport("few", "subject:alice", 1, 0),
    ]


def test_a_limit_that_is_gone_or_counts_by_something_else_has_new_places() -> None:
    limiter = Limiter()
    before = limiter.concurrency(few())
    limiter.adopt({"few": few(5)}, 0.0)
    assert limiter.concurrency(few(5)) is before
    limiter.adopt({"few": Limit("few", 0.0, 0, LimitKey.ADDRESS, max_concurrent=5)}, 0.0)
    assert limiter.concurrency(few(5)) is not before


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60), st.integers(1, 4))
def test_never_more_than_may_be(steps: list[tuple[str, bool]], most: int) -> None:
    places, under_way = Concurrency(few(most), 1.0), {"a": 0, "b": 0}
    for key, enters in steps:
        if enters:
            assert places.enter(key) == (under_way[key] < most)
            under_way[key] = min(most, under_way[key] + 1)
        elif under_way[key]:
            places.leave(key)
            under_way[key] -= 1
        assert places.remaining(key) == most - under_way[key]


def test_whole_shares_are_whole_however_floats_round() -> None:
    assert all(
        worker_share(each * workers, 1 / workers) == each
        for workers in range(1, 129)
        for each in range(1, 99)
    )
