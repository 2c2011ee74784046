"""Rate limits held in this worker: which request takes from which bucket. How a bucket works is in `buckets`.

Limits are local: every worker of every data plane holds its own buckets. Workers of one data plane divide a limit by
`share`, so that together they enforce the configured limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

from dataplane.gateway.policy.buckets import Buckets
from dataplane.gateway.policy.resources import Limit

_LONGEST_KEY = 128
"""Characters. Longer keys (header values) are replaced by a digest, so that clients cannot fill the memory."""
_HIDDEN = 12
"""Bytes of the keyed hash that replaces a header's value."""
_REPORT_EFFORT = 1000
"""Buckets examined for one report, so that a report never delays requests."""


class TooMany:
    """A refused request. `retry_after` is seconds, not rounded; `policy` the limit's RateLimit-Policy item."""

    __slots__ = ("limit", "policy", "retry_after")

    def __init__(self, limit: Limit, retry_after: float, policy: str) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.policy = policy

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Retry-After in whole seconds, rounded up (RFC 9110, 10.2.3), and the fields of the RateLimit draft."""
        seconds = max(1, math.ceil(self.retry_after))
        return (
            ("Retry-After", str(seconds)),
            ("RateLimit", f'"{self.limit.name}";r=0;t={seconds}'),
            ("RateLimit-Policy", self.policy),
        )


@dataclass(frozen=True, slots=True)
class BucketReport:
    """One bucket, for operators. `key` says what it counts by, for instance "subject:alice"; `remaining` is tokens."""

    name: str
    key: str
    remaining: float
    refused: int


class Limiter:
    """All buckets of this worker."""

    def __init__(self, max_keys: int = 100_000, share: float = 1.0, secret: bytes = b"") -> None:
        """At most `max_keys` buckets. The most recently used half is always kept; full buckets are evicted first.

        `secret` (64 bytes at most) is the key of what `hidden` makes, the same on every data plane of a fleet.
        """
        self._secret = secret
        self._max_keys = max_keys
        self._share = share
        self._buckets: dict[str, Buckets] = {}
        self._fresh = 0
        """Keys added to young generations since these last aged."""

    def take(self, limit: Limit, key: str, now: float) -> TooMany | None:
        """Take a token from the bucket of `key`: the bare address, subject, route name, or a header's value
        as `hidden` has it."""
        buckets = self._buckets.get(limit.name) or self._make(limit)
        full_at = buckets.young.get(key)
        if full_at is None:
            key, full_at = self._bring(buckets, key, now)
        if full_at < now:
            full_at = now
        if full_at + buckets.interval - now > buckets.depth:
            return TooMany(limit, buckets.refuse(key, full_at, now), buckets.policy)
        buckets.young[key] = full_at + buckets.interval
        return None

    def hidden(self, value: str) -> str:
        """The replacement for a header's value, which may be a credential: reports and orders to reset travel far."""
        if not value:
            return value
        text = value.encode("utf-8", "surrogatepass")
        return "#" + blake2b(text, key=self._secret, digest_size=_HIDDEN).hexdigest()

    def remaining(self, limit: Limit, key: str, now: float) -> float:
        """Tokens left in the bucket of `key`, of this worker's share."""
        return (self._buckets.get(limit.name) or self._make(limit)).remaining(_short(key), now)

    def adopt(self, limits: Mapping[str, Limit]) -> None:
        """From now on `limits` are in use: all of them by name, those of the settings too. Others are forgotten.

        A changed limit keeps its buckets, unless it now counts by something else.
        """
        for name, buckets in list(self._buckets.items()):
            limit = limits.get(name)
            if limit is None or (limit.key, limit.header) != (buckets.limit.key, buckets.limit.header):
                del self._buckets[name]
            elif limit != buckets.limit:
                buckets.adopt(limit)

    def reset(self, key: str) -> int:
        """Fill up the buckets of `key`, "subject:alice" or just "alice", in every limit; returns how many."""
        return sum(self._forget(buckets, key) for buckets in self._buckets.values())

    def report(self, now: float, most: int = 100) -> list[BucketReport]:
        """Up to `most` buckets, the emptiest first, out of those lately refused and the newest."""
        effort = max(1, _REPORT_EFFORT // max(1, len(self._buckets)))
        found = [
            BucketReport(name, _label(buckets.limit, key), buckets.remaining(key, now), buckets.refused(key))
            for name, buckets in self._buckets.items()
            for key in islice(buckets.keys(), effort)
        ]
        bursts = {name: buckets.limit.burst for name, buckets in self._buckets.items()}
        found.sort(key=lambda bucket: (bucket.remaining / bursts[bucket.name], -bucket.refused))
        return found[:most]

    def _make(self, limit: Limit) -> Buckets:
        buckets = self._buckets[limit.name] = Buckets(limit, self._share)
        return buckets

    def _bring(self, buckets: Buckets, key: str, now: float) -> tuple[str, float]:
        """The key to use, and when its bucket will be full, for a key that is not in the young generation."""
        key = _short(key)
        full_at = buckets.young.get(key)
        if full_at is not None:
            return key, full_at
        self._fresh += 1
        if self._fresh * 2 > self._max_keys:
            self._fresh = 1
            for each in self._buckets.values():
                each.age(now)
        return key, buckets.bring(key, now)

    @staticmethod
    def _forget(buckets: Buckets, key: str) -> bool:
        kind, _, bare = key.partition(":")
        found = buckets.forget(_short(key))
        return buckets.forget(_short(bare)) or found if kind == buckets.limit.key.value else found


def _short(key: str) -> str:
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:32]}…{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _label(limit: Limit, key: str) -> str:
    return f"{limit.key.value}:{key}"
