"""The number of requests under way, by key: incremented when a request is admitted, decremented when its body has
ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dataplane.gateway.policy.resources import Limit

_SLACK: Final = 1e-6
"""Rounding errors must not cost a whole request: 98 divided among 49 workers are two each."""


def worker_share(most: int, share: float) -> int:
    """A worker's part of a bound of requests under way, at least one: whole requests cannot be divided further."""
    return max(1, int(most * share + _SLACK))


class Concurrency:
    """The requests under way of one limit. Its memory is bounded by the requests themselves."""

    __slots__ = ("_refused", "_share", "_under_way", "limit", "most")

    def __init__(self, limit: Limit, share: float) -> None:
        """`share` is this worker's part of the limit, above 0 and at most 1."""
        self._share = share
        self._under_way: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self.adopt(limit)

    def adopt(self, limit: Limit) -> None:
        """Go on with new settings. Under a smaller bound no request is cut off: new ones wait for those under way."""
        self.limit = limit
        self.most = worker_share(limit.max_concurrent, self._share)

    def enter(self, key: str) -> bool:
        """One more request of `key` is under way; False, and nothing is counted, if the bound is reached."""
        under_way = self._under_way.get(key, 0)
        if under_way >= self.most:
            self._refused[key] = self._refused.get(key, 0) + 1
            return False
        self._under_way[key] = under_way + 1
        return True

    def leave(self, key: str) -> None:
        """A request of `key` that had entered has ended."""
        left = self._under_way[key] - 1
        if left:
            self._under_way[key] = left
        else:
            del self._under_way[key]
            self._refused.pop(key, None)

    def under_way(self, key: str) -> int:
        """Requests of `key` under way."""
        return self._under_way.get(key, 0)

    def remaining(self, key: str) -> int:
        """Requests of `key` that could enter now."""
        return max(0, self.most - self._under_way.get(key, 0))

    def refused(self, key: str) -> int:
        """Requests of `key` refused since it had none under way."""
        return self._refused.get(key, 0)

    def keys(self) -> Iterator[str]:
        """All keys with requests under way: those refused first."""
        yield from self._refused
        for key in self._under_way:
            if key not in self._refused:
                yield key
