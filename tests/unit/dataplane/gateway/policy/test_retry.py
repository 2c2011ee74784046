"""When a request may be sent again, how long that waits, and how much of it a service bears."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.gateway.policy.resources import Retries
from dataplane.gateway.policy.retry import (
    CONDITIONS,
    CONNECT,
    LONGEST_WAIT,
    SAVED,
    Budget,
    repeatable,
    wait,
    wanted,
)
from dataplane.proxy import errors
from dataplane.proxy.messages import IDEMPOTENT


@pytest.mark.parametrize(
    ("attempts", "made", "allowed"),
    [(0, 1, False), (1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)],
)
def test_as_often_as_the_service_says(attempts: int, made: int, allowed: bool) -> None:
    assert wanted(Retries(attempts), CONNECT, made) is allowed


@pytest.mark.parametrize("cause", sorted(CONDITIONS))
def test_for_the_causes_the_service_names_and_no_others(cause: str) -> None:
    assert wanted(Retries(1, frozenset({cause})), cause, 1)
    assert not wanted(Retries(1, CONDITIONS - {cause}), cause, 1)


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK", "MOVE", "get"])
def test_methods_that_are_not_idempotent_are_never_repeated(method: str) -> None:
    assert method not in IDEMPOTENT


def test_causes_of_the_engine_are_ones_that_a_service_can_name() -> None:
    assert {errors.CONNECT, errors.RESET, errors.TIMEOUT} <= CONDITIONS


def test_a_body_that_is_gone_cannot_be_sent_again() -> None:
    assert repeatable(True, body_at_hand=True)
    assert not repeatable(True, body_at_hand=False)


def test_a_refused_connection_is_followed_by_the_next_at_once() -> None:
    assert wait(CONNECT, 1, 0.99) == 0.0
    assert wait(CONNECT, 2, 0.99) > 0.0


def test_waits_double_and_are_drawn_from_their_whole_range() -> None:
    assert [wait("503", made, 1.0) for made in (1, 2, 3, 4, 5, 9)] == [0.025, 0.05, 0.1, 0.2, 0.25, 0.25]
    assert wait("503", 3, 0.5) == 0.05
    assert wait("503", 3, 0.0) == 0.0


def test_the_same_instance_is_not_asked_at_once() -> None:
    assert wait(CONNECT, 1, 1.0, same=True) == 0.025


BACKOFFS = [
    # cause, made, chance, backoff, wait
    # Gateway API, HTTPRouteRetry.backoff: "first be retried approximately 100 milliseconds after timing out"
    ("503", 1, 0.0, 0.1, 0.1),
    # "An implementation MAY use an exponential … strategy"
    ("503", 2, 0.0, 0.1, 0.2),
    ("503", 3, 0.0, 0.1, 0.4),
    # "MAY cap the maximum backoff duration to some amount greater than the specified minimum": Envoy, ten times
    ("503", 9, 0.0, 0.1, 1.0),
    # "MAY add arbitrary jitter"
    ("503", 1, 1.0, 0.1, 0.15),
    # "as long as unsuccessful backend requests are not retried before the configured minimum duration"
    (CONNECT, 1, 0.0, 0.1, 0.1),
]


@pytest.mark.parametrize(("cause", "made", "chance", "backoff", "expected"), BACKOFFS)
def test_a_configured_back_off(cause: str, made: int, chance: float, backoff: float, expected: float) -> None:
    assert wait(cause, made, chance, backoff) == pytest.approx(expected)


@given(st.sampled_from(sorted(CONDITIONS)), st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_longer_than_the_longest(cause: str, made: int, chance: float) -> None:
    assert 0.0 <= wait(cause, made, chance) <= LONGEST_WAIT


def test_a_quiet_service_has_some_retries_and_then_its_share() -> None:
    budget = Budget()
    assert [budget.take(0.2, 0) for _ in range(11)] == [True] * 10 + [False]
    assert not budget.take(0.2, 4)
    assert budget.take(0.2, 5)
    assert not budget.take(0.2, 9)
    assert budget.take(0.2, 10)


def test_a_share_of_nothing_leaves_what_was_saved() -> None:
    budget = Budget()
    assert [budget.take(0.0, 1000 * n) for n in range(12)] == [True] * 10 + [False] * 2


def test_a_count_that_began_anew_takes_nothing_away() -> None:
    budget = Budget()
    assert budget.take(0.2, 1000)
    assert budget.take(0.2, 3)


@given(st.floats(0, 1), st.lists(st.integers(0, 50), max_size=200))
def test_retries_never_exceed_their_share_and_what_was_saved(share: float, gaps: list[int]) -> None:
    budget, requests, taken = Budget(), 0, 0
    for gap in gaps:
        requests += gap
        taken += budget.take(share, requests)
    assert taken <= SAVED + share * requests + 1e-6
