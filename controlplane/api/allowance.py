"""How often, and how many at a time, each caller may use operations that cost data planes work."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from controlplane.api.problems import HttpError

MOST_CALLERS = 1000


class Allowance:
    """One kind of operation. HttpError 429 above any of its bounds."""

    def __init__(
        self,
        what: str,
        *,
        at_once: int,
        each: int,
        per_second: float,
        burst: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`at_once` of all callers together and `each` of one caller may be under way; each caller may begin
        `per_second`, and up to `burst` after a pause."""
        self._what = what
        self._at_once = at_once
        self._each = each
        self._per_second = per_second
        self._burst = burst
        self._now = now
        self._under_way: Counter[str] = Counter()
        self._full_at: dict[str, float] = {}
        """The time at which a caller may begin `burst` again."""

    @contextmanager
    def take(self, caller: str) -> Iterator[None]:
        """Begin one; it ends with the block."""
        if self._under_way.total() >= self._at_once or self._under_way[caller] >= self._each:
            raise _refused(f"{self._what} are under way already, as many as may be", 1)
        self._begin(caller)
        self._under_way[caller] += 1
        try:
            yield
        finally:
            self._under_way[caller] -= 1
            if not self._under_way[caller]:
                del self._under_way[caller]

    def _begin(self, caller: str) -> None:
        now = self._now()
        full_at = max(now, self._full_at.pop(caller, now)) + 1 / self._per_second
        wait = full_at - now - self._burst / self._per_second
        if wait > 1e-9:
            self._full_at[caller] = full_at - 1 / self._per_second
            raise _refused(f"{self._what} are asked for too often", math.ceil(wait))
        self._full_at[caller] = full_at
        if len(self._full_at) > MOST_CALLERS:
            del self._full_at[next(iter(self._full_at))]


def _refused(detail: str, wait: int) -> HttpError:
    return HttpError(429, detail, headers={"Retry-After": str(max(1, wait))})
