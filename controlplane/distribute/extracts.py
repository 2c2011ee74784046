"""The extracts of the published snapshots, one for each pool: made once, whatever the number of its data planes.

While there are no pools, every data plane is sent the snapshot itself, and nothing here costs anything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from controlplane.distribute.deltas import Deltas
from controlplane.distribute.subscriber import Mark
from controlplane.model.extract import Extractor, extract
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.resources import Pool, ResourceId
from controlplane.model.snapshot import Delta, Snapshot, diff
from controlplane.model.trail import Trail


class Extracts:
    """Follows the published snapshots, for the pools that data planes have been seen of."""

    def __init__(self) -> None:
        self.deltas = Deltas()
        """The changes from older whole snapshots to the current one."""
        self._followed: dict[str, tuple[Extractor, Deltas]] = {}
        self._current: Snapshot | None = None

    def publish(
        self, whole: Snapshot, touched: Collection[ResourceId], pools: Mapping[str, Pool]
    ) -> Snapshot:
        """The snapshot with its extracts; it differs from the one before in `touched`."""
        before, trail = self._current, self.deltas.trail
        if not pools:
            if before is not None and before.extracts is not None:
                # What came back to the only pool is not in the trail: everything is sent once.
                self.start_over()
            self.deltas.trail.add(whole.revision, touched, whole.digest)
            self._current = whole
            return whole
        inherited = trail.copy() if before is not None and before.extracts is None else None
        trail.add(whole.revision, touched, whole.digest)
        made: dict[str, Snapshot] = {}
        published: Snapshot = replace(
            whole, pools=pools, extracts=lambda pool: self._made(published, made, pool)
        )
        self._current = published
        self._advance(published, touched, made)
        if before is not None and inherited is not None:
            self._split(before, inherited, made)
        return published

    def start_over(self) -> None:
        """Forget the earlier snapshots."""
        self.deltas.trail = Trail()
        self._followed, self._current = {}, None

    def between(self, pool: str, base: Mark, current: Snapshot) -> Delta | None:
        """The delta from `base` to the extract of a pool; None when `base` is too old, or from another store."""
        if self._current is None or self._current.extracts is None:
            return self.deltas.between(base, current)
        found = self._followed.get(pool)
        return found[1].between(base, current) if found is not None else None

    def _advance(self, whole: Snapshot, touched: Collection[ResourceId], made: dict[str, Snapshot]) -> None:
        """Bring the extracts of the pools that still exist up to date."""
        kept = {*whole.pools, DEFAULT_POOL}
        self._followed = {name: one for name, one in self._followed.items() if name in kept}
        for name, (extractor, deltas) in self._followed.items():
            differing = extractor.follow(whole, touched)
            deltas.trail.add(whole.revision, differing, extractor.current.digest)
            made[name] = extractor.current

    def _split(self, before: Snapshot, trail: Trail, made: dict[str, Snapshot]) -> None:
        """There are pools now: the data planes that had everything get their extract by a delta."""
        extractor, deltas = self._follow(DEFAULT_POOL)
        deltas.trail = trail
        differing = diff(before, extractor.current)
        touched = {*differing.changed, *differing.removed}
        deltas.trail.add(extractor.current.revision, touched, extractor.current.digest)
        made[DEFAULT_POOL] = extractor.current

    def _made(self, whole: Snapshot, made: dict[str, Snapshot], pool: str) -> Snapshot:
        if pool not in made:
            if whole is not self._current:
                if self._current is not None:
                    # It is asked for at each change, perhaps: from now on it is followed, and costs the change.
                    self._current.extract(pool)
                made[pool] = extract(whole, pool)
                return made[pool]
            extractor, deltas = self._follow(pool)
            deltas.trail.add(whole.revision, (), extractor.current.digest)
            made[pool] = extractor.current
        return made[pool]

    def _follow(self, pool: str) -> tuple[Extractor, Deltas]:
        """Make the extract of the current snapshot, and follow it."""
        assert self._current is not None
        extractor, deltas = self._followed[pool] = Extractor(pool), Deltas()
        extractor.follow(self._current, self._current.resources.keys())
        return extractor, deltas
