"""Token buckets: bursts, refills, refusals, shares of workers; what refused callers are told."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.advertise import policy_item
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import LimitKey
from dataplane.gateway.policy.too_many import TooMany
from tests.unit.dataplane.gateway.policy.limiter_requests import T0, limit, remaining, take, taken, wait


def test_a_burst_passes_at_once_and_not_one_more() -> None:
    assert taken(Limiter(), limit(burst=150), T0) == 150


def test_tokens_flow_back_one_by_one() -> None:
    limiter, two_a_second = Limiter(), limit(2.0, 3)
    assert taken(limiter, two_a_second, T0) == 3
    assert taken(limiter, two_a_second, T0 + 0.49) == 0
    assert taken(limiter, two_a_second, T0 + 0.5) == 1
    assert taken(limiter, two_a_second, T0 + 0.99) == 0
    assert taken(limiter, two_a_second, T0 + 1.5) == 2


def test_a_bucket_never_holds_more_than_the_burst() -> None:
    limiter, slow = Limiter(), limit(1.0, 3)
    assert taken(limiter, slow, T0) == 3
    assert taken(limiter, slow, T0 + 1e6) == 3


def test_a_refusal_costs_nothing() -> None:
    limiter, slow = Limiter(), limit(1.0, 1)
    assert taken(limiter, slow, T0) == 1
    for _ in range(100):
        assert wait(limiter, slow, T0 + 0.5) == pytest.approx(0.5, abs=1e-2)
    assert taken(limiter, slow, T0 + 1.0) == 1


def test_the_wait_is_over_when_it_says() -> None:
    limiter, slow = Limiter(), limit(0.1, 2)
    taken(limiter, slow, T0)
    after = wait(limiter, slow, T0 + 3)
    assert after == pytest.approx(7, abs=1e-1)
    assert take(limiter, slow, "alice", T0 + 3 + after - 0.02) is not None
    assert take(limiter, slow, "alice", T0 + 3 + after + 1e-9) is None


def test_callers_and_limits_have_buckets_of_their_own() -> None:
    limiter, one, other = Limiter(), limit(burst=1), limit(burst=1, name="other")
    assert taken(limiter, one, T0) == taken(limiter, one, T0, "bob") == taken(limiter, other, T0) == 1
    assert taken(limiter, one, T0) == 0


def test_time_that_stands_still_or_steps_back_lets_nothing_extra_through() -> None:
    limiter, slow = Limiter(), limit(1.0, 2)
    assert taken(limiter, slow, T0) == 2
    assert taken(limiter, slow, T0) == taken(limiter, slow, T0 - 100) == 0


def test_workers_share_a_limit() -> None:
    workers = [Limiter(share=0.25) for _ in range(4)]
    assert sum(taken(worker, limit(4.0, 8), T0) for worker in workers) == 8
    assert sum(taken(worker, limit(4.0, 8), T0 + 1) for worker in workers) == 4


def test_a_share_below_one_token_still_lets_requests_through() -> None:
    limiter, single = Limiter(share=0.25), limit(1.0, 1)
    assert taken(limiter, single, T0) == 1
    assert taken(limiter, single, T0 + 3.9) == 0
    assert taken(limiter, single, T0 + 4.0) == 1


# --- what a refused caller is told


@pytest.mark.parametrize(
    ("waits", "seconds"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (59.5, "60"), (-1.0, "1")]
)
def test_retry_after_is_whole_seconds_rounded_up(waits: float, seconds: str) -> None:
    assert TooMany(limit(), waits, "").headers()[0] == ("Retry-After", seconds)


@pytest.mark.parametrize(
    ("per_second", "burst", "policy"),
    [(100.0, 150, '"l";q=150;w=2'), (0.1, 5, '"l";q=5;w=50'), (1000.0, 1, '"l";q=1;w=1')],
)
def test_the_ratelimit_fields_name_quota_window_and_wait(per_second: float, burst: int, policy: str) -> None:
    limiter, which = Limiter(), limit(per_second, burst)
    taken(limiter, which, T0)
    refused = TooMany(which, wait(limiter, which, T0), policy_item(which))
    seconds = dict(refused.headers())["Retry-After"]
    assert refused.headers()[1:] == (("RateLimit", f'"l";r=0;t={seconds}'), ("RateLimit-Policy", policy))


def test_remaining_tokens_can_be_asked_for() -> None:
    limiter, which = Limiter(), limit(1.0, 5)
    assert remaining(limiter, which, "alice", T0) == pytest.approx(5)
    taken(limiter, which, T0, at_most=2)
    assert remaining(limiter, which, "alice", T0) == pytest.approx(3)
    assert remaining(limiter, which, "alice", T0 + 1.5) == pytest.approx(4.5)
    assert remaining(limiter, which, "alice", T0 + 99) == pytest.approx(5)


def test_a_header_s_value_is_hidden_behind_a_keyed_digest() -> None:
    """The same on every data plane that has the secret, and another for those who only know the value."""
    one, same, other = Limiter(secret=b"s"), Limiter(secret=b"s"), Limiter(secret=b"t")
    value = "sk_live_1234567890"
    assert one.hidden(value) == same.hidden(value) != other.hidden(value)
    assert one.hidden(value) != one.hidden(value + "x")
    assert "live" not in one.hidden(value)
    assert one.hidden("") == "", "callers without the field share a bucket"
    assert one.hidden("\udc80")


def test_long_keys_are_cut_and_still_told_apart() -> None:
    limiter, which = Limiter(), limit(0.001, 1, key=LimitKey.HEADER)
    one, other = "x" * 5000 + "1", "x" * 5000 + "2"
    assert taken(limiter, which, T0, one) == taken(limiter, which, T0, other) == 1
    assert taken(limiter, which, T0, one) == 0
    assert remaining(limiter, which, one, T0) == pytest.approx(0, abs=1e-2)
    assert all(len(bucket.key) < 100 for bucket in limiter.report(T0))
    assert len(limiter.reset(one)) == 1
    assert taken(limiter, which, T0, one) == 1


@pytest.mark.parametrize("key", ["", "ä", "\udc80", "\x00", "\ud800" * 200, "a:b", ":"])
def test_any_text_is_a_key(key: str) -> None:
    limiter, which = Limiter(), limit(burst=1)
    assert taken(limiter, which, T0, key) == 1
    assert taken(limiter, which, T0, key) == 0
    assert len(limiter.reset(key)) == 1
