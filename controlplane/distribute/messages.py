"""Counts of the messages sent to data planes since this process started, for metrics."""

from __future__ import annotations

from collections import Counter

from controlplane.distribute.subscriber import Whole
from controlplane.model.snapshot import Delta, Snapshot


class Messages:
    """Counts every message by its content."""

    def __init__(self) -> None:
        self.mismatches = 0
        """Deltas that did not match a data plane's configuration."""
        self.withheld = 0
        """Configurations withheld from a data plane that lacks a capability."""
        self.snapshots: Counter[Whole] = Counter()
        """By the reason for not sending a delta."""
        self.deltas = 0
        """Deltas with content."""
        self.marks = 0
        """Empty deltas: only the revision moved on, or the node is up to date."""
        self.resources: Counter[str] = Counter()
        """Resources sent, by `snapshot` and `delta`."""

    def count(self, message: Snapshot | Delta, whole: Whole | None) -> None:
        """Count a message that was sent; `whole` is the reason when it is a snapshot."""
        if isinstance(message, Snapshot):
            self.snapshots[whole or Whole.FIRST] += 1
            self.resources["snapshot"] += len(message.resources)
            return
        news = bool(message.changed or message.removed)
        self.deltas += news
        self.marks += not news
        self.resources["delta"] += len(message.changed)
