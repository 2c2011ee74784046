"""The reports that this control plane requests from its data planes. Pure.

All together send about `PER_SECOND` regular reports a second, however many they are; changes of an instance's or a
breaker's state are reported at once. Details are the counters of closed circuits and the buckets of limits. A large
fleet sends them only while someone reads them; a small fleet always sends them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PER_SECOND = 100
"""Reports a second that one control plane asks for."""

SMALL = 100
"""Data planes up to which details are always asked for."""

LOOKS = 30.0
"""Seconds after a look in which another one is expected."""

WATCHES = 10.0
"""Seconds that one look at the traffic lasts: who watches looks every few seconds."""

SHORTEST_TRAFFIC = 2.0
"""Shortest interval between two reports on the traffic, in seconds."""

RECORDED_PER_SECOND = 20
"""Reports on the traffic a second that are asked for while nobody watches, for its history."""

LONGEST_RECORDED = 60.0
"""Longest interval between two of them of a data plane, in seconds."""

TELLERS = 2
"""Number of data planes that are asked to report every probe, for the times that are shown."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """Instructions to one data plane on reporting."""

    pace: float
    """Seconds between two reports of counters."""
    checks: bool
    """Whether to report probes that changed nothing."""
    details: bool
    """Whether to report counters of closed circuits and buckets."""
    traffic: float = 0.0
    """Seconds between two reports on the traffic; 0: none."""


class Demand:
    """Tracks connected data planes and readers of details; `of` gives the reports requested from one data plane."""

    def __init__(self) -> None:
        self._connected: dict[str, None] = {}
        self._tellers: tuple[str, ...] = ()
        self._looks_until = -math.inf
        self._watches_until = -math.inf
        self.records = 0.0
        """Seconds between two reports on the traffic while nobody watches; 0: none."""
        self._told: tuple[float, tuple[str, ...], bool, float] = (1.0, (), True, 0.0)

    def come(self, node: str) -> None:
        """A data plane connected."""
        self._connected[node] = None
        self._choose()

    def leave(self, node: str) -> None:
        """Its stream ended."""
        self._connected.pop(node, None)
        self._choose()

    def look(self, now: float) -> None:
        """Details are read."""
        self._looks_until = now + LOOKS

    def looks(self, now: float) -> bool:
        """Whether they were read a moment ago."""
        return now < self._looks_until

    def watch(self, now: float) -> None:
        """The traffic is watched."""
        self._watches_until = now + WATCHES

    def watches(self, now: float) -> bool:
        """Whether it was watched a moment ago."""
        return now < self._watches_until

    def traffic(self, now: float) -> float:
        """Seconds between two reports on the traffic; 0: none are asked for."""
        if self.watches(now):
            return max(SHORTEST_TRAFFIC, self._pace)
        if not self.records:
            return 0.0
        return max(self.records, min(LONGEST_RECORDED, self._pace * PER_SECOND / RECORDED_PER_SECOND))

    def details(self, now: float) -> bool:
        """Whether details are asked for."""
        return len(self._connected) <= SMALL or self.looks(now)

    def of(self, node: str, now: float) -> Reporting:
        """The reports requested from this data plane."""
        return Reporting(self._pace, node in self._tellers, self.details(now), self.traffic(now))

    def changed(self, now: float) -> bool:
        """Whether the requested reports differ from those at the last call."""
        asked = self._pace, self._tellers, self.details(now), self.traffic(now)
        before, self._told = self._told, asked
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
