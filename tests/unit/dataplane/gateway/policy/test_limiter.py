"""Token buckets: bursts, refills, refusals, bounded memory, changes of settings; checked against exact buckets."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.advertise import policy_item
from dataplane.gateway.policy.buckets import OVERFLOW, Buckets
from dataplane.gateway.policy.limiter import BucketReport, Limiter, TooMany, short
from dataplane.gateway.policy.resources import Limit, LimitKey

T0 = 12_345_678.9
"""A machine that has been up for months: floats are coarse here."""


def limit(
    per_second: float = 1.0, burst: int = 3, name: str = "l", key: tuple[str, ...] = LimitKey.SUBJECT
) -> Limit:
    return Limit(name, per_second, burst, key)


def take(limiter: Limiter, which: Limit, key: str, now: float) -> float | None:
    """None when the request comes through, or the seconds that it has to wait."""
    return limiter.counter(which).take(short(key), now) or None


def remaining(limiter: Limiter, which: Limit, key: str, now: float) -> float:
    return limiter.counter(which).remaining(short(key), now)


def taken(limiter: Limiter, which: Limit, now: float, key: str = "alice", at_most: int = 1000) -> int:
    """How many requests come through at `now`."""
    count = 0
    while count < at_most and take(limiter, which, key, now) is None:
        count += 1
    return count


def wait(limiter: Limiter, which: Limit, now: float, key: str = "alice") -> float:
    """The retry_after of a request that must be refused."""
    seconds = take(limiter, which, key, now)
    assert seconds is not None
    return seconds


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


# --- memory


def shown(bucket: BucketReport) -> tuple[str, str, int, int]:
    """A report with whole tokens."""
    return bucket.name, bucket.key, round(bucket.remaining), bucket.refused


def buckets_of(limiter: Limiter) -> list[Buckets]:
    return [counter for counter in limiter._counters.values() if isinstance(counter, Buckets)]


def held(limiter: Limiter) -> int:
    count = sum(buckets.size() for buckets in buckets_of(limiter))
    assert limiter._room.used == count
    return count


def test_buckets_are_bounded_and_those_in_use_are_kept() -> None:
    """Each caller has a token left, so any may be forgotten."""
    limiter, slow, other = Limiter(max_keys=100), limit(0.001, 2), limit(0.001, 2, "other")
    taken(limiter, slow, T0, at_most=1)
    for number in range(1000):
        assert take(limiter, slow if number % 2 else other, f"caller-{number}", T0) is None
        if number % 10 == 0:
            limiter.counter(slow).charge("alice", 0, T0)
        assert held(limiter) <= 102
    assert taken(limiter, slow, T0) == 1, "alice was in use all the time"
    assert taken(limiter, slow, T0, "caller-999") == 1
    assert taken(limiter, slow, T0, "caller-1") == 2, "forgotten long ago"


def test_a_limited_key_is_never_forgotten() -> None:
    limiter, slow, other = Limiter(max_keys=100), limit(0.001, 2), limit(0.001, 2, "other")
    assert taken(limiter, slow, T0) == 2
    for number in range(5000):
        take(limiter, slow, f"caller-{number}", T0)
        assert take(limiter, other, f"caller-{number}", T0) is None
    assert held(limiter) <= 102
    assert take(limiter, slow, "alice", T0) is not None


def test_when_all_keys_are_limited_new_ones_share_a_bucket() -> None:
    limiter, slow = Limiter(max_keys=100), limit(0.001, 1)
    passed = [number for number in range(1000) if take(limiter, slow, f"caller-{number}", T0) is None]
    assert passed == list(range(101)), "100 of their own, and one for all others"
    assert held(limiter) == 101
    assert [name for name in (OVERFLOW, "caller-0", "caller-99") if not taken(limiter, slow, T0, name)] == [
        OVERFLOW,
        "caller-0",
        "caller-99",
    ]
    limiter.counter(slow).give_back("caller-500", 1, T0)
    assert taken(limiter, slow, T0, "caller-501") == 1, (
        "what the shared bucket gets back is for all who share it"
    )
    assert taken(limiter, slow, T0 + 2100, "caller-700") == 1, "everybody's bucket is full by now"
    assert held(limiter) < 101


def test_full_buckets_are_forgotten_first() -> None:
    limiter, fast = Limiter(max_keys=1000), limit(10.0, 10)
    for number in range(400):
        take(limiter, fast, f"caller-{number}", T0 + number * 0.1)
    assert held(limiter) < 50, (
        "each is full again after 0.1 s; two times the 1 s that an empty one takes are kept"
    )


def test_many_full_buckets_are_dropped_piece_by_piece() -> None:
    limiter, fast = Limiter(max_keys=60_000), limit(10.0, 10)
    for number in range(9_000):
        take(limiter, fast, f"caller-{number}", T0)
    take(limiter, fast, "next", T0 + 2)
    before = held(limiter)
    for number in range(2_000):
        take(limiter, fast, f"later-{number}", T0 + 4)
        assert before - held(limiter) <= 8
        before = held(limiter)
    assert before < 2_010


def test_room_is_made_where_most_keys_are() -> None:
    limiter, flooded, quiet = Limiter(max_keys=1000), limit(0.001, 2, "flooded"), limit(0.001, 2, "quiet")
    for number in range(50):
        take(limiter, quiet, f"caller-{number}", T0)
    for number in range(5000):
        take(limiter, flooded, f"caller-{number}", T0)
    sizes = {buckets.limit.name: buckets.size() for buckets in buckets_of(limiter)}
    assert sizes == {"flooded": 950, "quiet": 50}


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([0, 0, 1, 2, 5])), max_size=80),
    st.integers(1, 3),
)
def test_forgetting_full_buckets_changes_no_answer(steps: list[tuple[str, int]], burst: int) -> None:
    """A limiter that keeps generations, against one bucket per caller kept for ever."""
    limiter, which, now = Limiter(), limit(1.0, burst), T0
    forever: dict[str, Limiter] = {}
    for key, quarters in steps:
        now += quarters / 4
        expected = take(forever.setdefault(key, Limiter()), which, key, now)
        assert (take(limiter, which, key, now) is None) == (expected is None)


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
    assert limiter.reset(one) == 1
    assert taken(limiter, which, T0, one) == 1


@pytest.mark.parametrize("key", ["", "ä", "\udc80", "\x00", "\ud800" * 200, "a:b", ":"])
def test_any_text_is_a_key(key: str) -> None:
    limiter, which = Limiter(), limit(burst=1)
    assert taken(limiter, which, T0, key) == 1
    assert taken(limiter, which, T0, key) == 0
    assert limiter.reset(key) == 1


# --- changes


def adopted(limiter: Limiter, *limits: Limit, at: float = T0) -> None:
    limiter.adopt({each.name: each for each in limits}, at)


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


# --- operators


def test_a_reset_fills_a_callers_buckets_in_all_limits() -> None:
    limiter = Limiter()
    limits = [limit(name="a"), limit(name="b"), limit(name="c", key=LimitKey.ADDRESS)]
    for each in limits:
        taken(limiter, each, T0)
        taken(limiter, each, T0, "bob")
    assert limiter.reset("subject:alice") == 2
    assert [taken(limiter, each, T0) for each in limits] == [3, 3, 0]
    assert limiter.reset("alice") == 3
    assert all(bucket.refused == 0 for bucket in limiter.report(T0) if bucket.key.endswith("alice"))
    assert [taken(limiter, each, T0) for each in limits] == [3, 3, 3]
    assert {bucket.refused for bucket in limiter.report(T0) if bucket.key.endswith("alice")} == {1}
    assert [taken(limiter, each, T0, "bob") for each in limits] == [0, 0, 0]
    assert limiter.reset("nobody") == limiter.reset("") == limiter.reset("subject:") == 0


def test_the_report_shows_the_emptiest_first() -> None:
    limiter, address = Limiter(), limit(name="by-address", key=LimitKey.ADDRESS)
    taken(limiter, limit(), T0, at_most=1)
    taken(limiter, address, T0, "10.0.0.1")
    for _ in range(4):
        take(limiter, address, "10.0.0.1", T0)
    first, second = limiter.report(T0)
    assert shown(first) == ("by-address", "address:10.0.0.1", 0, 5)
    assert shown(second) == ("l", "subject:alice", 2, 0)


def test_empty_is_meant_in_proportion_to_the_burst() -> None:
    limiter = Limiter()
    taken(limiter, limit(0.01, 100, "wide"), T0, at_most=70)
    taken(limiter, limit(0.01, 2, "narrow"), T0, at_most=1)
    assert [bucket.name for bucket in limiter.report(T0)] == ["wide", "narrow"], "30 of 100, 1 of 2"


def test_the_report_is_bounded_and_never_misses_the_refused() -> None:
    limiter, slow = Limiter(), limit(0.001, 1)
    for _ in range(2):
        take(limiter, slow, "flood", T0)
    for number in range(20_000):
        take(limiter, slow, f"caller-{number}", T0)
    report = limiter.report(T0)
    assert len(report) == 100
    assert shown(report[0]) == ("l", "subject:flood", 0, 1)
    assert len(limiter.report(T0, most=3)) == 3
    assert Limiter().report(T0) == []


def test_refusals_are_counted_as_long_as_the_bucket_lives() -> None:
    limiter, slow = Limiter(max_keys=10), limit(0.001, 1)
    for number in range(50):
        take(limiter, slow, "alice", T0)
        take(limiter, slow, f"caller-{number}", T0)
    assert shown(limiter.report(T0)[0]) == ("l", "subject:alice", 0, 49)


# --- the oracle


class ExactBucket:
    """A token bucket in exact fractions, as one would explain it on a blackboard."""

    def __init__(self, per_second: Fraction, burst: int) -> None:
        self.per_second, self.burst = per_second, burst
        self.tokens, self.at = Fraction(burst), Fraction(0)

    def take(self, now: Fraction) -> bool:
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.at) * self.per_second)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@settings(max_examples=300)
@given(
    st.fractions(Fraction(1, 50), 1000, max_denominator=50),
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=80),
)
def test_it_lets_through_what_exact_buckets_do(
    per_second: Fraction, burst: int, steps: list[tuple[str, int]]
) -> None:
    """Time passes in quarters of the interval, so that many requests come at the very moment a token arrives."""
    limiter, which = Limiter(), limit(float(per_second), burst)
    exact = {key: ExactBucket(per_second, burst) for key in "ab"}
    now = Fraction(0)
    for key, quarters in steps:
        now += Fraction(quarters, 4) / per_second
        assert (take(limiter, which, key, T0 + float(now)) is None) == exact[key].take(now)


@given(
    st.floats(0.01, 1e4),
    st.integers(1, 1000),
    st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=100),
)
def test_never_more_than_burst_plus_rate_times_time(per_second: float, burst: int, gaps: list[float]) -> None:
    limiter, which, now, passed = Limiter(), limit(per_second, burst), T0, 0
    for gap in gaps:
        now += gap
        passed += taken(limiter, which, now, at_most=50)
        assert passed <= burst + per_second * (now - T0) + 0.01


# --- cost


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
