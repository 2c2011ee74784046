"""One rate limit's token buckets: one float per key, by the generic cell rate algorithm (ITU-T I.371, annex A).

A bucket holds up to `burst` tokens and gains one every `interval` seconds; a request takes one. Its whole state is
*when it will be full* (GCRA's theoretical arrival time): until then `(full_at - now) / interval` tokens are missing,
afterwards none. So a full bucket needs no entry, and memory is bounded without scanning: keys are kept in two
generations, and when the old one has not been used for the time in which an empty bucket fills up, all its buckets are
full and it is dropped as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dataplane.gateway.policy.resources import Limit

_SLACK = 1e-3
"""Share of an interval by which a request may be early: rounding errors must not cost a caller the last token."""


class Buckets:
    """The buckets of one limit. `Limiter.take` draws from them; the rest is here."""

    __slots__ = (
        "_drop_at",
        "_ratio",
        "_refused",
        "_refused_old",
        "_share",
        "depth",
        "interval",
        "limit",
        "old",
        "policy",
        "young",
    )

    def __init__(self, limit: Limit, share: float) -> None:
        """`share` is this worker's part of the limit, above 0 and at most 1."""
        self._share = share
        self.young: dict[str, float] = {}
        """When the bucket is full, by key: the keys used since the last change of generations."""
        self.old: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        self._refused_old: dict[str, int] = {}
        self._drop_at: float | None = None
        """When all buckets of the old generation are full; None until the next new key sets it."""
        self._ratio = 1.0
        """Factor for times in the old generation; not 1 after `interval` has changed."""
        self._measure(limit)

    def _measure(self, limit: Limit) -> None:
        self.limit = limit
        self.interval = 1.0 / (limit.per_second * self._share)
        """Seconds until one token flows back."""
        self.depth = (max(1.0, limit.burst * self._share) + _SLACK) * self.interval
        """Seconds until an empty bucket is full, and the slack."""
        window = max(1, math.ceil(limit.burst / limit.per_second))
        self.policy = f'"{limit.name}";q={limit.burst};w={window}'
        """The RateLimit-Policy item (draft-ietf-httpapi-ratelimit-headers-10): a whole bucket per time to fill it."""

    def adopt(self, limit: Limit) -> None:
        """Go on with new settings, carrying how many tokens each key lacks, as far as the new bucket can lack them."""
        before = self.interval
        self._measure(limit)
        if self.interval != before:
            # Keys are converted when they are next used, as there may be many. A second change before that
            # forgets those that were not.
            self.old = {**self.old, **self.young} if self._ratio == 1.0 else self.young
            self.young, self._drop_at = {}, None
            self._ratio = self.interval / before

    def bring(self, key: str, now: float) -> float:
        """When the bucket of `key` will be full, a key about to join the young generation."""
        if self._drop_at is None:
            self._drop_at = now + self.depth
        elif now >= self._drop_at:
            self.age(now)
        if key in self._refused_old:
            self._refused[key] = self._refused_old.pop(key)
        return self._from_old(key, now)

    def age(self, now: float) -> None:
        """Drop the old generation; the young one becomes the old one."""
        self.old, self.young, self._ratio = self.young, {}, 1.0
        self._refused_old, self._refused = self._refused, {}
        self._drop_at = now + self.depth

    def refuse(self, key: str, full_at: float, now: float) -> float:
        """Count a refusal of `key`, whose bucket fills at `full_at`; returns the seconds until it has a token.

        A bucket can lack more than it holds since the limit was changed: that part is forgiven.
        """
        self._refused[key] = self._refused.get(key, 0) + 1
        if full_at - now > self.depth:
            full_at = now + self.depth - _SLACK * self.interval
        self.young[key] = full_at
        return max(0.0, full_at + self.interval - self.depth - now)

    def remaining(self, key: str, now: float) -> float:
        """Tokens in the bucket of `key`, of this worker's share."""
        full_at = self.young.get(key)
        if full_at is None:
            full_at = self._from_old(key, now)
        missing = min(max(0.0, full_at - now), self.depth)
        return max(0.0, (self.depth - missing) / self.interval - _SLACK)

    def refused(self, key: str) -> int:
        """Requests refused since the bucket of `key` was made."""
        return self._refused.get(key, 0) or self._refused_old.get(key, 0)

    def forget(self, key: str) -> bool:
        """Fill up the bucket of `key`; whether there was one."""
        self._refused.pop(key, None)
        self._refused_old.pop(key, None)
        in_old = self.old.pop(key, None) is not None
        return self.young.pop(key, None) is not None or in_old

    def keys(self) -> Iterator[str]:
        """All keys: those lately refused first, then the newest."""
        seen: set[str] = set()
        for table in (self._refused, self._refused_old, self.young, self.old):
            for key in reversed(table):
                if key not in seen and (key in self.young or key in self.old):
                    seen.add(key)
                    yield key

    def _from_old(self, key: str, now: float) -> float:
        full_at = self.old.get(key)
        return now if full_at is None else now + (full_at - now) * self._ratio
