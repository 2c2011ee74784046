"""Signals of the fleet to its listeners, and counters by which a listener sees whether a signal concerns it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Set
from contextlib import contextmanager

from controlplane.signal import Signal


class Signals:
    """`changed` is sent for every report, the other signals for some of them."""

    def __init__(self) -> None:
        self.changed = Signal()
        self.moved = Signal()
        """Something that may end a wait: an answer, a data plane that came or left, a vote, requests that ended."""
        self.asks = Signal()
        """The reports requested from data planes have changed: see `Fleet.reporting`."""
        self.news = 0
        """Moves of the data planes that are connected here."""
        self.refusals = 0
        """Configurations that data planes refused, here and elsewhere."""
        self._progress: dict[str, Signal] = {}
        """Moves of one data plane, for those that are waited for."""

    @contextmanager
    def progress(self, node: str, wake: asyncio.Event) -> Iterator[None]:
        """Set the event whenever this data plane moves."""
        signal = self._progress.setdefault(node, Signal())
        try:
            with signal.wakes(wake):
                yield
        finally:
            if not signal.heard and self._progress.get(node) is signal:
                del self._progress[node]

    def move(self, node: str) -> None:
        """A data plane that is connected here moved, or was until now."""
        self.news += 1
        self.move_elsewhere({node})

    def move_elsewhere(self, nodes: Set[str]) -> None:
        """Data planes of another control plane moved."""
        self.moved.notify()
        for node in self._progress.keys() & nodes:
            self._progress[node].notify()
