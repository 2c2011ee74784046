"""Reports on the buckets of a worker, for operators."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any, Final

from dataplane.gateway.policy.bucket_keys import label
from dataplane.gateway.policy.concurrency import Concurrency
from dataplane.gateway.policy.counter import Counter
from dataplane.gateway.policy.in_redis import InRedis
from dataplane.gateway.policy.leased import Leased
from dataplane.gateway.policy.resources import Limit, LimitMode

WORKER: Final = "worker"
NODE: Final = "node"
FLEET: Final = "fleet"
REDIS: Final = "redis"
"""The place that counts a bucket: this worker, which has a part of it; this data plane; the control plane that owns
the limit; Redis."""
_REPORT_EFFORT: Final = 1000
"""Keys examined for one report; one of each limit, if there are more limits."""
_REPORT_STEP: Final = 128
"""Limits looked at in one step of a report, so that a report never delays requests: a third of a millisecond."""
_FREED: Final = 4096
"""Keys of removed limits that are freed in one step: some tenths of a millisecond."""


@dataclass(frozen=True, slots=True)
class BucketReport:
    """One bucket, for operators. `key` has the names of its parts and the value, for instance "subject:alice";
    `remaining` is tokens, or requests that may be under way where the limit has no rate."""

    name: str
    key: str
    remaining: float
    refused: int
    place: str = NODE
    held: float = 0.0
    """The part of `remaining` that only this worker may spend, of a bucket that others have as well."""
    away: bool = False
    """The owner or Redis does not answer: the limit's settings apply meanwhile."""


_Seen = tuple[float, int, Limit, str]
"""The part that is left, from 0 to 1; refusals, below 0; limit and key."""


class BucketReports:
    """Reports on the counters of a limiter, in steps between which requests may be served."""

    def __init__(
        self, counters: Mapping[str, Counter], concurrent: Mapping[str, Concurrency], here: str
    ) -> None:
        """The limiter's own tables, which it changes. `here` is the place of buckets that belong to this worker
        alone."""
        self._counters = counters
        self._concurrent = concurrent
        self._here = here
        self._retired: list[dict[str, Any]] = []

    def retire(self, tables: list[dict[str, Any]]) -> None:
        """Free the keys in these tables of removed limits with the next report."""
        self._retired += tables

    def survey(self, now: float, most: int = 100) -> Generator[None, None, list[BucketReport]]:
        """Up to `most` keys, the emptiest first, out of those lately refused and the newest: some of each limit, if
        there are not too many limits. Limits may change between two steps. Also frees the keys of removed limits."""
        while self._retired:
            self._free()
            yield
        limits = list({limit.name: limit for limit in limits_of(self._counters, self._concurrent)}.values())
        effort = max(1, _REPORT_EFFORT // max(1, len(limits)))
        few = most // (2 * max(1, len(limits)))
        some: list[_Seen] = []
        rest: list[_Seen] = []
        for first in range(0, len(limits), _REPORT_STEP):
            if first:
                yield
            for limit in limits[first : first + _REPORT_STEP]:
                seen = [self._see(limit, key, now) for key in islice(self._keys(limit), effort)]
                seen.sort(key=_emptiness)
                some += seen[:few]
                rest += seen[few:]
        some += nsmallest(most - len(some), rest, key=_emptiness)
        some.sort(key=_emptiness)
        return [self._row(limit, key, now) for _, _, limit, key in some if self._counts(limit)]

    def _free(self) -> None:
        """Free some keys of removed limits."""
        table = self._retired[-1]
        for _ in range(min(_FREED, len(table))):
            table.popitem()
        if not table:
            self._retired.pop()

    def _see(self, limit: Limit, key: str, now: float) -> _Seen:
        return self._share_left(limit, key, now), -self._refusals(limit, key), limit, key

    def _counts(self, limit: Limit) -> bool:
        """Whether a counter exists for this limit: it may have changed since a report began."""
        if limit.per_second:
            counter = self._counters.get(limit.name)
            return counter is not None and (counter.limit is limit or counter.limit == limit)
        concurrency = self._concurrent.get(limit.name)
        return concurrency is not None and concurrency.limit == limit

    def _keys(self, limit: Limit) -> Iterable[str]:
        if not self._counts(limit):
            return ()
        if not limit.per_second:
            return self._concurrent[limit.name].keys()
        return self._counters[limit.name].keys()

    def _row(self, limit: Limit, key: str, now: float) -> BucketReport:
        shown, refused = label(limit, key), self._refusals(limit, key)
        if not limit.per_second:
            remaining = float(self._concurrent[limit.name].remaining(key))
            return BucketReport(limit.name, shown, remaining, refused, self._here)
        counter = self._counters[limit.name]
        remaining = counter.remaining(key, now)
        if isinstance(counter, Leased):
            place = FLEET if limit.mode is LimitMode.FLEET else NODE
            away = counter.away(now)
            return BucketReport(limit.name, shown, remaining, refused, place, counter.held(key), away)
        if isinstance(counter, InRedis):
            return BucketReport(limit.name, shown, remaining, refused, REDIS, 0.0, counter.away)
        return BucketReport(limit.name, shown, remaining, refused, self._here)

    def _refusals(self, limit: Limit, key: str) -> int:
        """Requests refused because tokens, or a place among the requests under way, were missing."""
        concurrency = self._concurrent.get(limit.name)
        refused = 0 if concurrency is None else concurrency.refused(key)
        return refused + self._counters[limit.name].refused(key) if limit.per_second else refused

    def _share_left(self, limit: Limit, key: str, now: float) -> float:
        """From 0 (nothing is left) to 1."""
        if limit.per_second:
            return self._counters[limit.name].remaining(key, now) / limit.burst
        return self._concurrent[limit.name].remaining(key) / limit.max_concurrent


def limits_of(counters: Mapping[str, Counter], concurrent: Mapping[str, Concurrency]) -> Iterator[Limit]:
    """Every limit that has a counter."""
    for counter in counters.values():
        yield counter.limit
    for name, concurrency in concurrent.items():
        if name not in counters:
            yield concurrency.limit


def _emptiness(seen: _Seen) -> tuple[float, int]:
    return seen[:2]
