"""How often, and how many at a time, each caller may use operations that cost data planes work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from controlplane.api.places import Bounds, Full, Places
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
        """`at_once` of all callers together and `each` of one caller may be under way, the last ones for callers with
        none; each caller may begin `per_second`, and up to `burst` after a pause."""
        self.places = Places(what.lower(), Bounds(at_once, each))
        self.too_often = 0
        """Times that a caller came too early."""
        self._what = what
        self._per_second = per_second
        self._burst = burst
        self._now = now
        self._full_at: dict[str, float] = {}
        """The time at which a caller may begin `burst` again."""

    @contextmanager
    def take(self, caller: str) -> Iterator[None]:
        """Begin one; it ends with the block."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self.places.take(caller))
            except Full as full:
                raise _refused(str(full), 1) from None
            self._begin(caller)
            yield

    def _begin(self, caller: str) -> None:
        now = self._now()
        full_at = max(now, self._full_at.pop(caller, now)) + 1 / self._per_second
        wait = full_at - now - self._burst / self._per_second
        if wait > 1e-9:
            self._full_at[caller] = full_at - 1 / self._per_second
            self.too_often += 1
            raise _refused(f"{self._what} are asked for too often", math.ceil(wait))
        self._full_at[caller] = full_at
        if len(self._full_at) > MOST_CALLERS:
            del self._full_at[next(iter(self._full_at))]


def _refused(detail: str, wait: int) -> HttpError:
    return HttpError(429, detail, headers={"Retry-After": str(max(1, wait))})
