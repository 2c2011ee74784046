"""Token buckets against exact ones."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.limiter import Limiter
from tests.unit.dataplane.gateway.policy.limiter_requests import T0, limit, take, taken


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
