"""Refusals of requests by limits."""

from __future__ import annotations

import math

from dataplane.gateway.policy.advertise import LARGEST
from dataplane.gateway.policy.resources import Limit


class TooMany:
    """A refused request. `retry_after` is seconds, not rounded; `policy` the limit's RateLimit-Policy item."""

    __slots__ = ("limit", "policy", "retry_after")

    def __init__(self, limit: Limit, retry_after: float, policy: str) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.policy = policy

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Retry-After in whole seconds, rounded up (RFC 9110, 10.2.3), and the fields of the RateLimit draft."""
        seconds = whole_seconds(self.retry_after)
        return (
            ("Retry-After", str(seconds)),
            ("RateLimit", f'"{self.limit.name}";r=0;t={seconds}'),
            ("RateLimit-Policy", self.policy),
        )


class Unanswered:
    """A refused request: the owner of the limit's buckets has not answered this worker for longer than a lease, or
    never. The client is not at fault."""

    __slots__ = ("limit",)

    def __init__(self, limit: Limit) -> None:
        self.limit = limit


def whole_seconds(seconds: float) -> int:
    """Rounded up, at most LARGEST: a client that waits this long is not too early."""
    return min(LARGEST, max(1, math.ceil(seconds)))
