"""A limit that several workers share: this worker admits requests from leased tokens
(docs/decisions/0009-fleet-limits.md).

The owner is the supervisor for the workers of one data plane, and a control plane for a limit of the whole fleet. All
amounts are in requests, each of the limit's `cost`: so no share is too small to be used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from dataplane.gateway.policy.counter import Counter
from dataplane.gateway.policy.resources import Limit, LimitMode
from headgate_api.leases.holder import OVERFLOW, Holder
from headgate_api.leases.holding import Holding
from headgate_api.leases.messages import Limit as Terms
from headgate_api.leases.messages import WithoutOwner
from headgate_api.leases.successor import Share, Successor

_LEAST: Final = 8
"""Requests of a new key that a worker must be able to admit by itself when the owner is its supervisor. Smaller limits
are divided by the number of workers."""
_MOST_REFUSED: Final = 40_000
_LEAST_REFUSED: Final = 100
"""Recently refused keys in a generation, of all limits together, and at least of each."""
_MOST_HELD: Final = 200_000
_LEAST_HELD: Final = 1000
"""Keys with tokens leased for them alone, of all limits together, and at least of each: some 500 bytes each."""
_UNOWNED: Final = 5.0
"""Seconds in which a limit whose owner is lost has another one, as a rule."""
_SOON: Final = 1e-3
"""Seconds until the owner may have answered."""


def terms(limit: Limit, workers: int) -> Terms | None:
    """The lease terms of a limit that `workers` of this data plane share. None: each worker counts for itself, or
    Redis counts for all."""
    requests = limit.burst // limit.cost
    if not limit.per_second or limit.mode is LimitMode.REDIS:
        return None
    if limit.mode is LimitMode.FLEET:
        return Terms(limit.per_second / limit.cost, requests, WithoutOwner(limit.without_owner))
    if workers > 1 and requests // 2 // (workers + 1) >= _LEAST:
        return Terms(limit.per_second / limit.cost, requests)
    return None


def counts_by(limit: Limit) -> str:
    """The full identity of a bucket: holders and owners must use the same keys."""
    parts = []
    for part in limit.key:
        if part == "header":
            part = f"header:{limit.header}"
        elif part == "address":
            part = f"address/{limit.address_prefix}"
        parts.append(part)
    return ",".join(parts)


class Leased(Counter):
    """The holder's end of one limit, in this worker."""

    __slots__ = (
        "_cost",
        "_holdings",
        "_most_refused",
        "_rate",
        "_refused",
        "_refused_old",
        "admitted",
        "counts_by",
        "holder",
    )

    def __init__(self, limit: Limit, leased: Terms, wake: Callable[[], None], run: int) -> None:
        """`wake` is called when the owner must be asked after a pause. `run` is greater for each counter that this
        worker makes."""
        self.limit = limit
        self.counts_by = counts_by(limit)
        self.holder = Holder(leased, wake=wake, run=run)
        self.admitted = 0.0
        """Tokens that requests took, since the start."""
        self._holdings: dict[str, Holding] = self.holder.holdings
        self._cost = float(limit.cost)
        self._rate = leased.rate
        self._refused: dict[str, int] = {}
        self._refused_old: dict[str, int] = {}
        self._most_refused = _MOST_REFUSED

    def share_memory(self, limits: int) -> None:
        """Divide the room for keys among this number of leased limits."""
        self.holder.most = max(_LEAST_HELD, _MOST_HELD // limits)
        self._most_refused = max(_LEAST_REFUSED, _MOST_REFUSED // limits)

    def take(self, key: str, now: float) -> float:
        holding = self._holdings.get(key)
        if holding is None:
            holding = self.holder.open(key, now)
        left = holding.tokens - 1.0
        if left >= holding.low and now < holding.until:
            # As `Holding.take` does, without the call.
            holding.tokens = left
            self.admitted += self._cost
            return 0.0
        if holding.take(1.0, now):
            self.admitted += self._cost
            return 0.0
        return self._refuse(key, holding, now)

    def counts(self, now: float) -> bool:
        return now < self.holder.until

    def give_back(self, key: str, tokens: float, now: float) -> None:
        self._find(key, now).refund(tokens / self._cost, now)
        self.admitted -= tokens

    def charge(self, key: str, tokens: float, now: float) -> None:
        self._find(key, now).overdraw(tokens / self._cost, now)
        self.admitted += tokens

    def remaining(self, key: str, now: float) -> float:
        """Tokens that this worker holds and tokens in the owner's pool, as far as known here."""
        holding = self._holdings.get(key)
        if holding is None:
            return float(self.limit.burst)
        return max(0.0, (holding.tokens + self._free(holding)) * self._cost)

    def missing(self, key: str, now: float) -> float:
        return (self.limit.burst - self.remaining(key, now)) / self.limit.per_second

    def refused(self, key: str) -> int:
        return self._refused.get(key, 0) or self._refused_old.get(key, 0)

    def lacks(self, key: str, now: float) -> bool:
        """Whether the bucket of `key` may not be full: this worker spent of it."""
        return self.holder.lacks(key, now)

    def forget(self, key: str) -> bool:
        """The owner fills up the bucket; `reset` sends the order."""
        self._refused.pop(key, None)
        self._refused_old.pop(key, None)
        return key in self._holdings

    def reset(self, key: str, revision: int, now: float) -> None:
        """Send the owner the order of this revision to fill up the bucket of `key`, whether the key is known here or
        not. All workers send it; the owner carries it out once."""
        holding = self._holdings.get(key)
        if holding is None:
            holding = self.holder.open(key, now)
        if holding.key == key:
            holding.reset(revision, now)

    def keys(self) -> Iterator[str]:
        yield from reversed(self._refused)
        for key in reversed(self._holdings):
            if key not in self._refused:
                yield key

    def adopt(self, limit: Limit, now: float) -> None:
        before = self.holder.limit
        self.limit = limit
        self._cost = float(limit.cost)
        self._rate = limit.per_second / limit.cost
        mode = before.without_owner
        if limit.mode is LimitMode.FLEET:
            mode = WithoutOwner(limit.without_owner)
        self.holder.adopt(Terms(self._rate, limit.burst // limit.cost, mode))

    def succeed(self, share: Share, now: float, run: int) -> None:
        """Spend this share of a worker that ended, until the owner answers. No request was admitted yet."""
        before = self.holder
        self.holder = Successor(before.limit, share, now, before.most, before.wake, run)
        self._holdings = self.holder.holdings

    def succeeds(self, now: float) -> bool:
        """Whether it may spend such a share."""
        return isinstance(self.holder, Successor) and self.holder.inherits(now)

    def leave(self) -> list[dict[str, Any]]:
        left = self._holdings
        self._holdings = self.holder.holdings = {}
        self.holder.end()
        return [left]

    def twin(self, key: str, now: float) -> Counter:
        twin = Leased(self.limit, self.holder.limit, _nothing, 0)
        twin.holder = self.holder.twin(key)
        twin._holdings = twin.holder.holdings
        return twin

    def away(self, now: float) -> bool:
        """Whether the owner does not answer, so that `without_owner` applies."""
        return not now < self.holder.away_from

    def held(self, key: str) -> float:
        """Tokens that only this worker may spend for `key`."""
        holding = self._holdings.get(key)
        tokens = self.holder.starter if holding is None else holding.tokens
        return max(0.0, tokens * self._cost)

    def part(self, key: str, share: float, now: float) -> float:
        """Tokens left for `key` here: those that this worker holds, and its `share` of the owner's pool."""
        holding = self._holdings.get(key)
        if holding is None:
            return self.limit.burst * share
        return max(0.0, (holding.tokens + self._free(holding) * share) * self._cost)

    def lacking(self, share: float, now: float, most: int) -> list[tuple[str, float]]:
        """Up to `most` keys, with the tokens that this worker's `share` of their buckets lacks."""
        whole = self.limit.burst * share
        return [(key, whole - self.part(key, share, now)) for key in islice(self._holdings, most)]

    def _free(self, holding: Holding) -> float:
        """Tokens in the owner's pool: as of its last answer, or all but this worker's starter before the first
        answer."""
        burst = self.limit.burst / self._cost
        if holding.pool > burst:
            return burst - self.holder.starter
        return max(0.0, min(holding.pool, burst - holding.tokens))

    def _find(self, key: str, now: float) -> Holding:
        holding = self._holdings.get(key) or self._holdings.get(OVERFLOW)
        return holding if holding is not None else self.holder.open(key, now)

    def _refuse(self, key: str, holding: Holding, now: float) -> float:
        """Count a refusal; returns the seconds until a request could be admitted."""
        if len(self._refused) >= self._most_refused:
            self._refused_old, self._refused = self._refused, {}
        self._refused[key] = self.refused(key) + 1
        if self.away(now) and not self.holder.joining:
            # The last known state of the pool is out of date.
            pace = self.holder.pace(now)
            return max(_SOON, (1.0 - holding.tokens) / pace) if pace else _UNOWNED
        # While the pool has tokens, or is not known, the owner's next answer may grant the missing ones.
        lacking = 1.0 - holding.tokens - holding.pool if holding.pool < 1 else 0.0
        return max(_SOON, lacking / self._rate)


def _nothing() -> None:
    return
