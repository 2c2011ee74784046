"""Requests to a limiter at given times: what the tests of limits share."""

from __future__ import annotations

from dataplane.gateway.policy.bucket_keys import short
from dataplane.gateway.policy.bucket_reports import BucketReport
from dataplane.gateway.policy.buckets import Buckets
from dataplane.gateway.policy.limiter import Limiter
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


def shown(bucket: BucketReport) -> tuple[str, str, int, int]:
    """A report with whole tokens."""
    return bucket.name, bucket.key, round(bucket.remaining), bucket.refused


def buckets_of(limiter: Limiter) -> list[Buckets]:
    return [counter for counter in limiter._counters.values() if isinstance(counter, Buckets)]


def adopted(limiter: Limiter, *limits: Limit, at: float = T0) -> None:
    limiter.adopt({each.name: each for each in limits}, at)
