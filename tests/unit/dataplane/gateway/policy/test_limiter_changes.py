"""Changes of limits: what was used before is carried over, and nothing is granted twice."""

from __future__ import annotations

import gc
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.buckets import Buckets
from dataplane.gateway.policy.leased import Leased
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from headgate_api.leases.holder import Holder
from headgate_api.leases.holding import Holding
from tests.unit.dataplane.gateway.policy.limiter_requests import (
    T0,
    adopted,
    buckets_of,
    limit,
    remaining,
    take,
    taken,
    wait,
)


def test_the_same_settings_change_nothing() -> None:
    limiter = Limiter()
    assert taken(limiter, limit(), T0) == 3
    adopted(limiter, limit(), limit(name="new"))
    assert taken(limiter, limit(), T0) == 0


def test_a_wider_limit_helps_those_who_were_refused() -> None:
    limiter, slow, fast = Limiter(), limit(1 / 3600, 100), limit(100.0, 100)
    assert taken(limiter, slow, T0) == 100
    adopted(limiter, fast)
    assert wait(limiter, fast, T0) == pytest.approx(0.01, rel=1e-2)
    assert taken(limiter, fast, T0 + 0.5) == 50


def test_a_tighter_limit_holds_for_what_was_used_before() -> None:
    limiter, fast, slow = Limiter(), limit(100.0, 100), limit(1.0, 100)
    assert taken(limiter, fast, T0, at_most=60) == 60
    adopted(limiter, slow)
    assert taken(limiter, slow, T0) == 40
    assert wait(limiter, slow, T0) == pytest.approx(1.0, rel=1e-2)


def test_a_smaller_burst_forgives_what_it_cannot_hold() -> None:
    limiter, wide, narrow = Limiter(), limit(0.1, 100), limit(0.1, 2)
    assert taken(limiter, wide, T0) == 100
    adopted(limiter, narrow)
    assert wait(limiter, narrow, T0) == pytest.approx(10.0, rel=1e-2)
    assert taken(limiter, narrow, T0 + 20) == 2


def test_a_larger_burst_is_there_at_once() -> None:
    limiter = Limiter()
    assert taken(limiter, limit(1.0, 3), T0) == 3
    adopted(limiter, limit(1.0, 10))
    assert taken(limiter, limit(1.0, 10), T0) == 7


def test_a_change_carries_both_generations() -> None:
    limiter = Limiter()
    assert taken(limiter, limit(1.0, 10), T0) == 10
    (buckets,) = buckets_of(limiter)
    buckets._roll(T0)
    take(limiter, limit(1.0, 10), "carol", T0)
    assert ("alice" in buckets.older[0], "carol" in buckets.young) == (True, True)
    adopted(limiter, limit(2.0, 10))
    assert take(limiter, limit(2.0, 10), "alice", T0) is not None
    assert remaining(limiter, limit(2.0, 10), "carol", T0) == pytest.approx(9, rel=1e-2)


def test_several_changes_in_a_row_carry_everybody() -> None:
    limiter = Limiter()
    assert taken(limiter, limit(1.0, 10), T0) == 10
    for per_second in (2.0, 4.0, 8.0):
        adopted(limiter, limit(per_second, 10))
    assert wait(limiter, limit(8.0, 10), T0) == pytest.approx(1 / 8, rel=1e-2)


def test_what_flowed_in_before_a_change_counts_by_the_rate_of_then() -> None:
    limiter = Limiter()
    assert taken(limiter, limit(1.0, 10), T0) == 10
    adopted(limiter, limit(0.1, 10), at=T0 + 4)
    assert remaining(limiter, limit(0.1, 10), "alice", T0 + 14) == pytest.approx(5, abs=1e-2)


def test_lowering_and_raising_grants_nothing_twice() -> None:
    limiter, wide, narrow = Limiter(), limit(0.001, 10), limit(0.001, 2)
    assert taken(limiter, wide, T0) == 10
    for _ in range(3):
        adopted(limiter, narrow)
        assert take(limiter, narrow, "alice", T0) is not None, "forgiven what a bucket of 2 cannot lack"
        adopted(limiter, wide)
        assert take(limiter, wide, "alice", T0) is not None


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(1, 15), st.just(0)),
            st.tuples(st.just("pass"), st.integers(1, 40), st.just(0)),
            st.tuples(st.just("change"), st.integers(1, 8), st.integers(1, 12)),
        ),
        max_size=40,
    )
)
def test_changes_never_grant_more_than_the_largest_burst_and_what_flowed_in(
    steps: list[tuple[str, int, int]],
) -> None:
    limiter, which, now = Limiter(), limit(1.0, 5), 0.0
    passed, largest, flowed = 0, 5, 0.0
    for what, one, other in steps:
        if what == "ask":
            passed += taken(limiter, which, now, at_most=one)
        elif what == "pass":
            now += one / 8
            flowed += one / 8 * which.per_second
        else:
            which = limit(float(one), other)
            largest = max(largest, other)
            adopted(limiter, which, at=now)
        assert passed <= largest + flowed + 0.1


def test_a_limit_that_counts_by_something_else_starts_afresh() -> None:
    limiter = Limiter()
    assert taken(limiter, limit(), T0) == 3
    adopted(limiter, limit(key=LimitKey.ADDRESS))
    assert taken(limiter, limit(key=LimitKey.ADDRESS), T0) == 3


def test_a_limit_that_is_gone_is_forgotten() -> None:
    limiter = Limiter()
    assert taken(limiter, limit(), T0) == 3
    adopted(limiter)
    assert limiter.report(T0) == []
    adopted(limiter, limit())
    assert taken(limiter, limit(), T0) == 3


@pytest.mark.parametrize("asks", [False, True])
def test_lowering_and_raising_costs_nobody_who_was_forgiven_nothing(asks: bool) -> None:
    limiter, wide, narrow = Limiter(), limit(0.001, 1000), limit(0.001, 100)
    assert taken(limiter, wide, T0, at_most=30) == 30
    adopted(limiter, narrow)
    if asks:
        assert taken(limiter, narrow, T0) == 70, "and is refused, but lacks no more than the bucket holds"
    adopted(limiter, wide)
    assert remaining(limiter, wide, "alice", T0) == pytest.approx(900 if asks else 970)


def test_a_debt_is_owed_once_whatever_the_burst_was_meanwhile() -> None:
    limiter, key = Limiter(), LimitKey.SUBJECT
    wide, narrow = (Limit("l", 0.001, burst, key, cost_header="x-cost") for burst in (1000, 100))
    assert taken(limiter, wide, T0, at_most=1) == 1
    limiter.counter(wide).charge("alice", 499, T0)
    adopted(limiter, narrow)
    assert take(limiter, narrow, "alice", T0) is not None
    adopted(limiter, wide)
    assert remaining(limiter, wide, "alice", T0) == pytest.approx(500)


def test_a_response_that_comes_after_its_limit_is_gone_takes_no_room() -> None:
    limiter, gone, kept = Limiter(max_keys=5), limit(0.001, 9, "gone"), limit(0.001, 1, "kept")
    counter = limiter.counter(gone)
    adopted(limiter)
    for number in range(20):
        counter.charge(f"caller-{number}", 5, T0)
    assert [taken(limiter, kept, T0, f"caller-{number}") for number in range(5)] == [1] * 5


MODES = (LimitMode.LOCAL, LimitMode.FLEET)


def of_mode(mode: LimitMode, **fields: Any) -> Limit:
    return replace(limit(1.0, 100, "gone"), mode=mode, **fields)


@pytest.mark.parametrize("mode", MODES)
def test_the_keys_of_a_limit_that_is_gone_are_freed_without_a_collection(mode: LimitMode) -> None:
    """A worker collects rarely. A million keys are 130 MiB, for each change of what the limit counts by."""
    gc.collect()
    gc.disable()
    try:
        others, limiter = counters(), Limiter()
        adopted(limiter, of_mode(mode))
        take(limiter, of_mode(mode), "alice", T0)
        assert counters() - others
        adopted(limiter, of_mode(mode, key=LimitKey.ADDRESS))
        adopted(limiter)
        limiter.report(T0)
        assert not counters() - others
    finally:
        gc.enable()


def counters() -> set[int]:
    """Whatever holds keys in this process."""
    return {id(one) for one in gc.get_objects() if isinstance(one, Buckets | Leased | Holder | Holding)}


@pytest.mark.parametrize("mode", MODES)
def test_many_keys_of_a_limit_that_is_gone_are_freed_in_steps(mode: LimitMode) -> None:
    """All at once, requests would wait for tens of milliseconds."""
    limiter = Limiter()
    adopted(limiter, of_mode(mode))
    for number in range(10_000):
        take(limiter, of_mode(mode), f"caller-{number}", T0)
    counter = limiter.counter(of_mode(mode))
    assert isinstance(counter, Buckets | Leased)
    table: dict[str, Any] = counter.young if isinstance(counter, Buckets) else counter.holder.holdings
    adopted(limiter)
    sizes = [len(table) for _ in limiter.survey(T0)]
    assert (len(sizes), sizes[-1]) == (3, 0)
    assert all(before - after <= 4096 for before, after in pairwise([10_000, *sizes]))


@pytest.mark.parametrize("mode", MODES)
def test_a_response_under_way_is_charged_to_nobody_when_its_limit_is_gone(mode: LimitMode) -> None:
    limiter = Limiter(max_keys=1)
    adopted(limiter, of_mode(mode))
    counter = limiter.counter(of_mode(mode))
    counter.take("alice", T0)
    adopted(limiter)
    for number in range(20):
        counter.charge(f"caller-{number}", 5, T0)
        counter.give_back(f"caller-{number}", 1, T0)
    counter.give_back("alice", 1, T0)
    assert limiter.report(T0) == []
