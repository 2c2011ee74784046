"""A limit in Redis, as seen by this worker: the last answers, and the local counter used while Redis is away.

This class decides only while Redis does not answer (`stand_in`). The values it shows are those of recent answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from dataplane.gateway.policy.counter import Counter
from dataplane.gateway.policy.resources import Limit

_MOST_SEEN: Final = 1_000
"""Keys whose answers are remembered, of each limit; twice as many for a while."""


class InRedis(Counter):
    """A limit that is counted in Redis."""

    __slots__ = ("_refused", "_seen", "_seen_old", "away", "stand_in", "unanswered")

    def __init__(self, limit: Limit, stand_in: Counter) -> None:
        """`stand_in` counts in this worker, while Redis does not answer."""
        self.limit = limit
        self.stand_in = stand_in
        self.unanswered = 0
        """Requests that Redis did not answer in time, or was not asked for."""
        self.away = False
        """The last request was not answered either."""
        self._seen: dict[str, tuple[float, float]] = {}
        """Tokens that are left, and the time at which the bucket is full, by key: the last answer."""
        self._seen_old: dict[str, tuple[float, float]] = {}
        self._refused: dict[str, int] = {}

    def saw(self, key: str, remaining: float, full_at: float, *, refused: bool) -> None:
        """Redis has answered."""
        self.away = False
        self._note(key, remaining, full_at)
        if refused:
            self._refused[key] = self._refused.get(key, 0) + 1

    def missed(self, key: str) -> None:
        """Redis has not answered in time, or was not asked."""
        self.unanswered += 1
        self.away = True
        if key not in self._seen:
            remaining, full_at = self._last(key)
            self._note(key, remaining, full_at)

    def take(self, key: str, now: float) -> float:
        return self.stand_in.take(key, now)

    def give_back(self, key: str, tokens: float, now: float) -> None:
        self.stand_in.give_back(key, tokens, now)

    def charge(self, key: str, tokens: float, now: float) -> None:
        self.stand_in.charge(key, tokens, now)

    def remaining(self, key: str, now: float) -> float:
        remaining, full_at = self._last(key)
        return remaining if now < full_at else float(self.limit.burst)

    def missing(self, key: str, now: float) -> float:
        return max(0.0, self._last(key)[1] - now)

    def refused(self, key: str) -> int:
        return self._refused.get(key, 0)

    def forget(self, key: str) -> bool:
        found = self.stand_in.forget(key)
        self._refused.pop(key, None)
        for table in (self._seen, self._seen_old):
            found = table.pop(key, None) is not None or found
        return found

    def keys(self) -> Iterator[str]:
        seen = set(self._refused)
        yield from reversed(self._refused)
        for table in (self._seen, self._seen_old):
            for key in reversed(table):
                if key not in seen:
                    seen.add(key)
                    yield key

    def adopt(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.stand_in.adopt(limit, now)

    def leave(self) -> list[dict[str, Any]]:
        return self.stand_in.leave()

    def twin(self, key: str, now: float) -> Counter:
        return self.with_stand_in(self.stand_in.twin(key, now))

    def with_stand_in(self, stand_in: Counter) -> InRedis:
        """A copy that remembers the same answers, and counts in `stand_in` while Redis does not answer."""
        twin = InRedis(self.limit, stand_in)
        twin.away = self.away
        twin._seen, twin._seen_old = dict(self._seen), dict(self._seen_old)
        return twin

    def _note(self, key: str, remaining: float, full_at: float) -> None:
        seen = self._seen
        if len(seen) >= _MOST_SEEN and key not in seen:
            self._seen_old, self._seen = seen, {}
            self._refused = {}
            seen = self._seen
        seen[key] = (remaining, full_at)

    def _last(self, key: str) -> tuple[float, float]:
        return self._seen.get(key) or self._seen_old.get(key) or (float(self.limit.burst), 0.0)
