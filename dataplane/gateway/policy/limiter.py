"""The counters of all limits of this worker: made, carried over changes, reported and reset here.

How requests use them is in `gateway.checks`; how a bucket works is in `buckets`. Counters belong to a limit by its
name: the routes that name it share them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest
from itertools import islice
from typing import Final

from dataplane.gateway.policy.advertise import LARGEST
from dataplane.gateway.policy.buckets import Buckets, Room
from dataplane.gateway.policy.concurrency import Concurrency
from dataplane.gateway.policy.counter import Counter, Unlimited
from dataplane.gateway.policy.in_redis import InRedis
from dataplane.gateway.policy.resources import Limit, LimitMode, StoreFailure

_LONGEST_KEY: Final = 128
"""Characters. Longer keys are replaced by a digest, so that clients cannot fill the memory."""
_HIDDEN: Final = 12
"""Bytes of the keyed hash that replaces a value that may be a credential or personal."""
_REPORT_EFFORT: Final = 1000
"""Keys examined for one report, so that a report never delays requests."""


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


@dataclass(frozen=True, slots=True)
class BucketReport:
    """One bucket, for operators. `key` says what it counts by, for instance "subject:alice"; `remaining` is tokens, or
    requests that may be under way where the limit has no rate."""

    name: str
    key: str
    remaining: float
    refused: int
    shared: bool = False
    """Other workers have the same bucket: it is counted in Redis."""


class Limiter:
    """All counters of this worker."""

    def __init__(self, max_keys: int = 1_000_000, share: float = 1.0, secret: bytes = b"") -> None:
        """At most `max_keys` buckets are kept, of all limits together, and for each limit one that new keys share then.

        `share` is this worker's part of every limit. `secret` (64 bytes at most) is the key of what `hidden` makes, the
        same on every data plane of a fleet.
        """
        self._secret = secret
        self.share = share
        """This worker's part of what the data plane may let through, above 0 and at most 1."""
        self._room = Room(max_keys)
        self._counters: dict[str, Counter] = {}
        self._concurrent: dict[str, Concurrency] = {}

    def counter(self, limit: Limit) -> Counter:
        """Where the limit's requests are counted: the same object until the limit is gone or counts by another key."""
        return self._counters.get(limit.name) or self._make(limit)

    def concurrency(self, limit: Limit) -> Concurrency | None:
        """Where the limit's requests under way are counted; None if it does not bound them."""
        if not limit.max_concurrent:
            return None
        found = self._concurrent.get(limit.name)
        if found is None:
            found = self._concurrent[limit.name] = Concurrency(limit, self.share)
        return found

    def hidden(self, value: str) -> str:
        """The replacement for a value that may be a credential or personal: reports and orders to reset travel far."""
        if not value:
            return value
        text = value.encode("utf-8", "surrogatepass")
        return "#" + blake2b(text, key=self._secret, digest_size=_HIDDEN).hexdigest()

    def adopt(self, limits: Mapping[str, Limit], now: float) -> None:
        """From now on `limits` are in use: all of them by name, those of the settings too. Others are forgotten.

        A changed limit keeps its counters, unless it now counts by something else.
        """
        for name, counter in list(self._counters.items()):
            limit = limits.get(name)
            if limit is counter.limit:
                continue
            if limit is None or not _carries(counter.limit, limit):
                counter.leave()
                del self._counters[name]
            elif limit != counter.limit:
                counter.adopt(limit, now)
        for name, concurrency in list(self._concurrent.items()):
            limit = limits.get(name)
            if limit is None or not limit.max_concurrent or _identity(limit) != _identity(concurrency.limit):
                del self._concurrent[name]
            else:
                concurrency.adopt(limit)

    def prefixes(self) -> set[int]:
        """The bits by which IPv6 addresses count in any limit in use."""
        return {limit.address_prefix for limit in self._limits() if "address" in limit.key}

    def reset(self, key: str) -> int:
        """Fill up the buckets of `key`, "subject:alice" or just "alice", in every limit; returns how many."""
        return sum(_forget(counter, key) for counter in self._counters.values())

    def in_redis(self) -> list[Limit]:
        """The limits that are counted in Redis, of those in use."""
        return [counter.limit for counter in self._counters.values() if isinstance(counter, InRedis)]

    def unanswered(self) -> dict[str, int]:
        """Requests since the last call that Redis did not answer in time, or was not asked for, by limit."""
        found = {}
        for counter in self._counters.values():
            if isinstance(counter, InRedis) and counter.unanswered:
                found[counter.limit.name], counter.unanswered = counter.unanswered, 0
        return found

    def report(self, now: float, most: int = 100) -> list[BucketReport]:
        """Up to `most` keys, the emptiest first, out of those lately refused and the newest."""
        limits = {limit.name: limit for limit in self._limits()}
        effort = max(1, _REPORT_EFFORT // max(1, len(limits)))
        found = [
            (self._share_left(limit, key, now), -self._refusals(limit, key), limit, key)
            for limit in limits.values()
            for key in islice(self._keys(limit), effort)
        ]
        found = nsmallest(most, found, key=lambda item: item[:2])
        return [self._row(limit, key, now) for _, _, limit, key in found]

    def _limits(self) -> Iterator[Limit]:
        for counter in self._counters.values():
            yield counter.limit
        for name, concurrency in self._concurrent.items():
            if name not in self._counters:
                yield concurrency.limit

    def _keys(self, limit: Limit) -> Iterable[str]:
        if not limit.per_second:
            concurrency = self._concurrent.get(limit.name)
            return () if concurrency is None else concurrency.keys()
        return self._counters[limit.name].keys()

    def _row(self, limit: Limit, key: str, now: float) -> BucketReport:
        if limit.per_second:
            remaining = self._counters[limit.name].remaining(key, now)
        else:
            remaining = float(self._concurrent[limit.name].remaining(key))
        shared = limit.mode is not LimitMode.LOCAL
        return BucketReport(limit.name, label(limit, key), remaining, self._refusals(limit, key), shared)

    def _refusals(self, limit: Limit, key: str) -> int:
        """For want of tokens, or of a place among the requests under way."""
        concurrency = self._concurrent.get(limit.name)
        refused = 0 if concurrency is None else concurrency.refused(key)
        return refused + self._counters[limit.name].refused(key) if limit.per_second else refused

    def _share_left(self, limit: Limit, key: str, now: float) -> float:
        """From 0, nothing is left, to 1."""
        if limit.per_second:
            return self._counters[limit.name].remaining(key, now) / limit.burst
        return self._concurrent[limit.name].remaining(key) / limit.max_concurrent

    def _make(self, limit: Limit) -> Counter:
        made: Counter
        if not limit.per_second:
            made = Unlimited(limit)
        elif limit.mode is LimitMode.LOCAL:
            made = Buckets(limit, self.share, self._room)
        elif limit.on_store_failure is StoreFailure.LOCAL:
            made = InRedis(limit, Buckets(limit, self.share, self._room))
        else:
            made = InRedis(limit, Unlimited(limit))
        self._counters[limit.name] = made
        return made


def whole_seconds(seconds: float) -> int:
    """Rounded up, at most LARGEST: a client that waits so long is not too early."""
    return min(LARGEST, max(1, math.ceil(seconds)))


def short(key: str) -> str:
    """The key itself, or what takes its place when it is too long to be kept."""
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:32]}…{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def label(limit: Limit, key: str) -> str:
    """A key as operators see it: what it counts by, and the value, for instance "subject:alice"."""
    return f"{','.join(limit.key)}:{key}"


def _identity(limit: Limit) -> tuple[object, ...]:
    """What the keys of a limit depend on: a limit of another identity has other keys."""
    return limit.key, limit.header, limit.address_prefix


def _carries(before: Limit, after: Limit) -> bool:
    return _identity(before) == _identity(after) and _kind(before) == _kind(after)


def _kind(limit: Limit) -> tuple[object, ...]:
    """What the counter of a limit depends on. Of limits in Redis nothing is lost when it is made anew."""
    return limit.per_second > 0, limit.mode, limit.on_store_failure


def _forget(counter: Counter, key: str) -> bool:
    prefix = label(counter.limit, "")
    names = {key, short(key)}
    if key.startswith(prefix):
        value = key[len(prefix) :]
        # Of several parts only the parts are shortened.
        names |= {value, short(value)}
    return sum(counter.forget(name) for name in names) > 0
