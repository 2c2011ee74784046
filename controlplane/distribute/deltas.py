"""The deltas to the published snapshot, each made once, however many data planes have the same base."""

from __future__ import annotations

from controlplane.distribute.subscriber import Mark
from controlplane.model.snapshot import Delta, Snapshot, delta_from
from controlplane.model.trail import Trail

MOST_BASES = 256
"""Deltas that are kept for one snapshot. Bases are revisions published lately, so there are few."""


class Deltas:
    """Remembers the changed names, and the deltas to the latest snapshot."""

    def __init__(self) -> None:
        self.trail = Trail()
        """Changed names by revision."""
        self._current: Mark | None = None
        self._made: dict[Mark, Delta | None] = {}

    def between(self, base: Mark, current: Snapshot) -> Delta | None:
        """The delta from `base` to `current`; None when `base` is too old, or from another store."""
        target = Mark.of(current)
        if target != self._current or len(self._made) > MOST_BASES:
            self._current, self._made = target, {}
        if base not in self._made:
            self._made[base] = self._make(base, current)
        return self._made[base]

    def _make(self, base: Mark, current: Snapshot) -> Delta | None:
        if base.lineage != current.lineage:
            return None  # revisions mean something else there
        if base.digest == current.digest and base.revision <= current.revision:
            # Known without history, after a restart too.
            return delta_from(base.revision, base.digest, current, ())
        return self.trail.between(base.revision, base.digest, current)
