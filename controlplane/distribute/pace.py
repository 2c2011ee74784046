"""The time of the next snapshot: the pause between two of them follows the cost of the last ones. Pure: no clock.

A round begins when a snapshot is built, and ends when nearly all data planes that the last one reached were written.
Its cost is the time in between: build, encode, write, and whatever else the machine is busy with. Then as much time
passes until the next round begins. So the fan-out takes about half of the time, on a slow machine too: changes in
between go out in fewer, larger deltas, and nothing queues up.

    change ──▶ build, encode, write ──▶ pause ──▶ build, encode, write ──▶ pause
               └────── cost ──────┘     └ cost ┘

A change that comes after a longer silence waits for nothing.
"""

from __future__ import annotations

import math
from typing import Final

SETTLE: Final = 0.002
"""Seconds between the first change of a burst and the snapshot that holds it."""

LONGEST_PAUSE: Final = 0.5
"""Most seconds from the end of a build to the next one, whatever the round costs. Data planes that read nothing do not
hold up the others for longer."""

NEARLY_ALL: Final = 0.9
"""The share of data planes that ends a round. The others read slowly, which is no cost of this machine."""

FORGET: Final = 0.25
"""Part of the difference by which a cheaper round lowers the cost: higher costs count at once, and are forgotten
slowly. The cheaper of two consecutive rounds counts: a single slow round is an exception, such as the first delta to a
new fleet."""


class Pace:
    """Fed by the watcher and the hub; times are monotonic seconds."""

    __slots__ = ("_began", "_built", "_last", "_missing", "_reached", "_revision", "cost")

    def __init__(self) -> None:
        self.cost = 0.0
        """Seconds that a round takes: those of the cheaper of the last two, or a little less than earlier ones."""
        self._last = 0.0
        """Of the last round alone."""
        self._began = self._built = float("-inf")
        self._revision = 0
        self._reached = 0
        """Number of data planes that got the last snapshot; as many are expected to get the next one."""
        self._missing = 0
        """Number of data planes that must get the snapshot before the round ends; 0: it has ended."""

    def __repr__(self) -> str:
        under_way = f", {self._missing} to be written" if self._missing else ""
        return f"<Pace {1000 * self.cost:.0f} ms{under_way}>"

    def published(self, revision: int, began: float, now: float, *, streams: int) -> None:
        """A snapshot was built from `began` until `now`, and differs from what that many data planes have."""
        if self._missing:
            # The next round is due before this one has ended: this time is the least that it cost.
            self._learn(began - self._began)
        self._began, self._built, self._revision = began, now, revision
        self._missing = math.ceil(NEARLY_ALL * min(streams, self._reached))
        if streams:
            self._reached = 0
        if not self._missing:
            self._learn(now - began)

    def written(self, revision: int, now: float) -> None:
        """`revision` was written to a data plane."""
        if revision < self._revision:
            return
        self._reached += 1
        if self._missing:
            self._missing -= 1
            if not self._missing:
                self._learn(now - self._began)

    def pause(self, now: float) -> float:
        """Seconds until the next build, 0 when it may begin. While a round is under way, ask again after them."""
        cost = max(self.cost, now - self._began) if self._missing else self.cost
        due = min(self._began + 2 * cost, self._built + LONGEST_PAUSE)
        return max(0.0, due - now)

    def _learn(self, cost: float) -> None:
        cost, self._last = min(cost, self._last, LONGEST_PAUSE), cost
        self.cost = max(cost, self.cost + FORGET * (cost - self.cost))
