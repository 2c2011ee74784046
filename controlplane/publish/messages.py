"""What went out to data planes since this process started, for metrics: they tell what a reconnect costs."""

from __future__ import annotations

from collections import Counter

from controlplane.model.snapshot import Delta, Snapshot
from controlplane.publish.subscriber import Whole


class Messages:
    """Counts every message by what it brings."""

    def __init__(self) -> None:
        self.snapshots: Counter[Whole] = Counter()
        """By the reason why it was no delta."""
        self.deltas = 0
        """Those that bring something."""
        self.marks = 0
        """Those that bring nothing: the revision moved on, or the node has everything."""
        self.resources: Counter[str] = Counter()
        """Resources brought by snapshots, and by deltas."""

    def count(self, message: Snapshot | Delta, whole: Whole | None) -> None:
        """One that was sent; `whole` is why it is a snapshot."""
        if isinstance(message, Snapshot):
            self.snapshots[whole or Whole.FIRST] += 1
            self.resources["snapshot"] += len(message.resources)
            return
        news = bool(message.changed or message.removed)
        self.deltas += news
        self.marks += not news
        self.resources["delta"] += len(message.changed)
