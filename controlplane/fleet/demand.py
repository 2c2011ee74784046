"""What this control plane asks of its data planes' reports. Pure.

It takes about `PER_SECOND` reports a second, however many data planes there are. Changes of status and state come
beside that. Details (counters of closed circuits, buckets of limits) are for people who look: a small fleet always
sends them, a large one only while somebody looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PER_SECOND = 100
"""Reports a second that one control plane asks for."""

SMALL = 100
"""Data planes up to which details always come."""

LOOKS = 30.0
"""Seconds for which somebody who looked is taken to go on looking."""

TELLERS = 2
"""Data planes that report every probe."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """How one data plane is to report."""

    pace: float
    """Seconds between two reports of counters."""
    checks: bool
    """Whether to report probes that changed nothing."""
    details: bool
    """Whether to report counters of closed circuits and buckets."""


class Demand:
    """Follows who is connected and who looks; `of` says what is asked of one data plane."""

    def __init__(self) -> None:
        self._connected: dict[str, None] = {}
        self._tellers: tuple[str, ...] = ()
        self._looks_until = -math.inf
        self._told: tuple[float, tuple[str, ...], bool] = (1.0, (), True)

    def come(self, node: str) -> None:
        """A data plane connected."""
        self._connected[node] = None
        self._choose()

    def leave(self, node: str) -> None:
        """Its stream ended."""
        self._connected.pop(node, None)
        self._choose()

    def look(self, now: float) -> None:
        """Somebody looks at details."""
        self._looks_until = now + LOOKS

    def looks(self, now: float) -> bool:
        """Whether somebody looked a moment ago."""
        return now < self._looks_until

    def details(self, now: float) -> bool:
        """Whether details are asked for."""
        return len(self._connected) <= SMALL or self.looks(now)

    def of(self, node: str, now: float) -> Reporting:
        """What is asked of this data plane."""
        return Reporting(self._pace, node in self._tellers, self.details(now))

    def changed(self, now: float) -> bool:
        """Whether what is asked for is not what it was at the last call."""
        before, self._told = self._told, (self._pace, self._tellers, self.details(now))
        return before != self._told

    @property
    def _pace(self) -> float:
        """A power of two, so that it seldom changes while data planes come and go."""
        share = len(self._connected) / PER_SECOND
        return 2.0 ** math.ceil(math.log2(share)) if share > 1 else 1.0

    def _choose(self) -> None:
        kept = [node for node in self._tellers if node in self._connected]
        if len(kept) < TELLERS:
            others = (node for node in self._connected if node not in kept)
            kept += [node for node, _ in zip(others, range(TELLERS - len(kept)), strict=False)]
        self._tellers = tuple(kept)
