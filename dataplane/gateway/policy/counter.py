"""The counter of one limit: the same interface for buckets in this worker and for buckets kept elsewhere.

A request never waits for a counter. A counter kept elsewhere answers from the tokens that this worker holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataplane.gateway.policy.resources import Limit


class Counter:
    """The tokens of one limit, by key.

    A base class instead of a protocol, because it is on the request path: when compiled, a call of it is a C call.
    """

    __slots__ = ("limit",)

    limit: Limit

    def take(self, key: str, now: float) -> float:
        """Take the limit's `cost` for a request. Returns 0.0, or the seconds until it could be taken: never too few."""
        raise NotImplementedError

    def counts(self, now: float) -> bool:
        """Whether the counter is reachable, so that a refusal means a lack of tokens."""
        return True

    def give_back(self, key: str, tokens: float, now: float) -> None:
        """Put back tokens of a request that was refused after all, or that cost less than it took."""
        raise NotImplementedError

    def charge(self, key: str, tokens: float, now: float) -> None:
        """Take the tokens that a request has cost in addition to those that it took. The bucket may go below zero:
        later requests wait for it."""
        raise NotImplementedError

    def remaining(self, key: str, now: float) -> float:
        """Tokens left for `key`, 0 when it is below zero."""
        raise NotImplementedError

    def missing(self, key: str, now: float) -> float:
        """Seconds until the bucket of `key` is full, if nothing is taken meanwhile."""
        raise NotImplementedError

    def refused(self, key: str) -> int:
        """Requests of `key` refused lately."""
        raise NotImplementedError

    def forget(self, key: str) -> bool:
        """Refill the bucket of `key`. Returns whether there was one."""
        raise NotImplementedError

    def keys(self) -> Iterator[str]:
        """All keys: those lately refused first, then the newest."""
        raise NotImplementedError

    def adopt(self, limit: Limit, now: float) -> None:
        """Use new settings of the same limit; missing tokens of keys are carried over."""
        raise NotImplementedError

    def leave(self) -> list[dict[str, Any]]:
        """The limit is gone: free the resources shared with others. Returns the tables by key, which this counter no
        longer uses: freeing a large one at once takes long."""
        raise NotImplementedError

    def twin(self, key: str, now: float) -> Counter:
        """A counter that answers for `key` as this one would now, and shares nothing with it."""
        raise NotImplementedError


class Unlimited(Counter):
    """The counter of a limit without a rate: everything passes."""

    __slots__ = ()

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    def take(self, key: str, now: float) -> float:
        return 0.0

    def give_back(self, key: str, tokens: float, now: float) -> None:
        pass

    def charge(self, key: str, tokens: float, now: float) -> None:
        pass

    def remaining(self, key: str, now: float) -> float:
        return 0.0

    def missing(self, key: str, now: float) -> float:
        return 0.0

    def refused(self, key: str) -> int:
        return 0

    def forget(self, key: str) -> bool:
        return False

    def keys(self) -> Iterator[str]:
        return iter(())

    def adopt(self, limit: Limit, now: float) -> None:
        self.limit = limit

    def leave(self) -> list[dict[str, Any]]:
        return []

    def twin(self, key: str, now: float) -> Counter:
        return Unlimited(self.limit)
