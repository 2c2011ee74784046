"""Runs a worker's garbage collections so that none scans the whole configuration while requests wait.

A full collection scans every tracked object that is not frozen: more than 100 ms for a table of 20,000 routes. CPython
would run several while a large change arrives. So:

- The young generations are collected automatically, some thousand objects at a time.
- Full collections run in `tick`, when many more objects are old than after the last one, if possible in a second
  without requests.
- Objects that exist at the start, and those of a large change, are frozen: excluded from later collections.
  Frozen garbage is never freed, so this is not done for small changes, which may be many.
"""

from __future__ import annotations

import gc

from dataplane.config.decode import LARGE_CHANGE

_RUN = 8_000
"""Most objects that a collection of the middle generation makes old."""
_NEVER = 2**31 - 1


class GarbageCollector:
    """Replaces CPython's automatic full collections. One instance per process."""

    def __init__(self) -> None:
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)
        self._parts = 0
        self._left = 0
        """Old objects that the last full collection left."""
        self._runs = 0
        """Collections of the middle generation when the old objects were last counted."""

    def freeze(self) -> None:
        """Exclude all live objects from later collections."""
        gc.collect()
        gc.freeze()
        self._left = self._runs = 0

    def take_part(self) -> None:
        """A part of a change has arrived."""
        self._parts += 1
        if self._parts > LARGE_CHANGE:
            gc.disable()

    def end_change(self) -> None:
        """The change is complete."""
        self._parts = 0
        if not gc.isenabled():
            gc.freeze()
            gc.enable()

    def tick(self, *, idle: bool) -> None:
        """Call once a second. `idle`: there were no requests since the last call."""
        runs, most = gc.get_count()[2], limit(self._left, idle=idle)
        # Counting costs a tenth of a collection, so it waits until the limit can have been reached.
        if self._left + (runs - self._runs) * _RUN <= most:
            return
        self._runs = runs
        if _old() > most:
            gc.collect()
            self._left, self._runs = _old(), 0


def limit(left: int, *, idle: bool) -> int:
    """Old objects above which a full collection runs, when the last one left so many."""
    return left + left // 4 + 10_000 if idle else 2 * left + 50_000


def _old() -> int:
    return len(gc.get_objects(generation=2))
