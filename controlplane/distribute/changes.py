"""The last changes of the configuration that the watcher has seen, whoever made them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from controlplane.model.stored import Change, StoredEntry, read_change

MOST_REMEMBERED: Final = 256
"""Changes that are remembered. Readers look several times a second."""


class RecentChanges:
    """In the order of the store. The change that was the last one when this process started is not among them."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.number = 0
        """How many were seen."""
        self._last: int | None = None
        self._changes: deque[Change] = deque(maxlen=MOST_REMEMBERED)

    def see(self, entry: StoredEntry) -> None:
        """Take the entry of the last change; an entry that was seen before changes nothing."""
        before, self._last = self._last, entry.revision
        if before is None or before == entry.revision or (change := read_change(entry)) is None:
            return
        self._changes.append(replace(change, seen=self._wall()))
        self.number += 1

    def none(self) -> None:
        """The store has no change yet: the next one is new."""
        self._last = self._last or 0

    def after(self, number: int) -> list[Change]:
        """Those seen after the first `number`, as far as they are remembered."""
        new = min(self.number - number, len(self._changes))
        return list(self._changes)[len(self._changes) - new :] if new > 0 else []
