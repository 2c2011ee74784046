"""Requests that cost more than one token, and costs that are known only with the response."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitKey
from tests.unit.dataplane.gateway.policy.limiter_requests import T0, remaining, take, taken, wait


def costly(per_second: float = 1.0, burst: int = 10, cost: int = 1, cost_header: str = "") -> Limit:
    return Limit("l", per_second, burst, LimitKey.SUBJECT, cost=cost, cost_header=cost_header)


def test_a_request_takes_its_cost() -> None:
    limiter, which = Limiter(), costly(burst=10, cost=4)
    assert taken(limiter, which, T0) == 2
    assert wait(limiter, which, T0) == pytest.approx(2.0, rel=1e-2)
    assert taken(limiter, which, T0 + 2) == 1


def test_a_share_below_one_cost_still_lets_requests_through() -> None:
    limiter, which = Limiter(share=0.25), costly(burst=10, cost=8)
    assert taken(limiter, which, T0) == 1
    assert taken(limiter, which, T0 + 31.9) == 0
    assert taken(limiter, which, T0 + 32) == 1


def test_what_is_given_back_can_be_taken_again_and_no_more() -> None:
    limiter, which = Limiter(), costly(burst=10, cost=5)
    assert taken(limiter, which, T0) == 2
    limiter.counter(which).give_back("alice", 5, T0)
    assert taken(limiter, which, T0) == 1
    limiter.counter(which).give_back("alice", 5, T0 + 100)
    limiter.counter(which).give_back("nobody", 5, T0 + 100)
    assert taken(limiter, which, T0 + 100) == taken(limiter, which, T0 + 100, "nobody") == 2


def test_a_charge_may_overdraw_and_is_waited_for() -> None:
    limiter, which = Limiter(), costly(burst=10, cost_header="x-cost")
    assert take(limiter, which, "alice", T0) is None
    limiter.counter(which).charge("alice", 99, T0)
    assert wait(limiter, which, T0) == pytest.approx(91)
    assert remaining(limiter, which, "alice", T0) == 0
    assert take(limiter, which, "alice", T0 + 90.9) is not None
    assert take(limiter, which, "alice", T0 + 91) is None


def test_a_debt_is_not_forgotten_before_it_is_paid() -> None:
    limiter, which = Limiter(max_keys=8), costly(burst=2, cost_header="x-cost")
    limiter.counter(which).charge("alice", 1000, T0)
    for number in range(900):
        take(limiter, which, f"caller-{number}", T0 + number)
    assert wait(limiter, which, T0 + 900) == pytest.approx(99)
    assert remaining(limiter, which, "alice", T0 + 1001) == 2


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(["take", "charge", "back"]),
            st.integers(0, 12),
            st.integers(0, 8),
        ),
        max_size=60,
    )
)
def test_costs_and_debts_agree_with_a_blackboard(steps: list[tuple[str, str, int, int]]) -> None:
    which = costly(1.0, 10, 3, "x-cost")
    limiter, now = Limiter(), 0
    balance = dict.fromkeys("ab", (10, 0))
    for key, what, amount, later in steps:
        now += later
        tokens, at = balance[key]
        tokens = min(10, tokens + now - at)
        counter = limiter.counter(which)
        if what == "take":
            passes = tokens >= 3
            assert (counter.take(key, float(now)) == 0.0) == passes
            tokens -= 3 * passes
        elif what == "charge":
            counter.charge(key, amount, float(now))
            tokens -= amount
        else:
            counter.give_back(key, amount, float(now))
            tokens = min(10, tokens + amount)
        balance[key] = tokens, now
        assert remaining(limiter, which, key, float(now)) == pytest.approx(max(0, tokens), abs=1e-6)
