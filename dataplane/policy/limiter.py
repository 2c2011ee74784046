"""Rate limits held in this worker: token buckets as one float per key (GCRA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dataplane.policy.resources import Limit


class TooMany:
    """A refused request."""

    __slots__ = ("limit", "retry_after")

    def __init__(self, limit: Limit, retry_after: float) -> None:
        self.limit = limit
        self.retry_after = retry_after

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Retry-After, RateLimit and RateLimit-Policy with their values."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class BucketReport:
    """One caller's bucket in one limit. `key` is as shown to operators, for instance "subject:alice"."""

    name: str
    key: str
    remaining: float
    refused: int


class Limiter:
    """All buckets of this worker."""

    def __init__(self, max_keys: int = 100_000, share: float = 1.0) -> None:
        raise NotImplementedError

    def take(self, limit: Limit, key: str, now: float) -> TooMany | None:
        """Take one token from `key`'s bucket; `key` is the bare value (address, subject, route name, field value)."""
        raise NotImplementedError

    def remaining(self, limit: Limit, key: str, now: float) -> float:
        """Tokens left in `key`'s bucket."""
        raise NotImplementedError

    def adopt(self, limits: Mapping[str, Limit]) -> None:
        """From now on `limits` (all in use, by name, those from settings too) hold; buckets are carried by name."""
        raise NotImplementedError

    def reset(self, key: str) -> int:
        """Fill up `key`'s buckets in every limit ("subject:alice" or bare "alice"); returns how many."""
        raise NotImplementedError

    def report(self, now: float, most: int = 100) -> list[BucketReport]:
        """The emptiest buckets first."""
        raise NotImplementedError
