"""Waits for revisions, in order of the revisions.

An event that ends a wait for a revision also ends waits for earlier ones. So a change costs a check of the first wait
of each group, and of those that it ends, however many there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controlplane.fleet.nodes import Fleet
from controlplane.fleet.progress import ALL, Quorum
from controlplane.fleet.tally import nothing
from controlplane.model.problems import Problem
from controlplane.model.snapshot import Snapshot
from controlplane.signal import Signal

GAP = 0.005
"""Seconds between two looks at the fleet: a thousand data planes report all the time."""

logger = logging.getLogger(__name__)


class Published(Protocol):
    """The currently published configuration. `distribute.watcher.Watcher` implements it."""

    changed: Signal

    @property
    def current(self) -> Snapshot | None:
        """The published snapshot; None before the first."""

    @property
    def revision(self) -> int:
        """The store was read up to this revision."""

    @property
    def problems(self) -> Sequence[Problem]:
        """The reason the store's present content is not published; empty when it is."""


@dataclass(frozen=True, slots=True)
class Group:
    """State shared by waits of one order."""

    quorum: Quorum = ALL
    strict: bool = False
    """Whether a wait ends as soon as too many data planes refuse. Otherwise it ends when only data planes that refuse
    are left."""
    reported: bool = False
    """Whether data planes have to report health at the revision, too."""


@dataclass(eq=False, slots=True)
class _Wait:
    revision: int
    over: asyncio.Event


class Thresholds:
    """The waits for revisions. A task looks after them while there are any."""

    def __init__(self, published: Published, fleet: Fleet) -> None:
        self._published = published
        self._fleet = fleet
        self._waits: dict[Group, list[_Wait]] = {}
        """Sorted by revision."""
        self._wake = asyncio.Event()
        self._looked: tuple[int, int, Snapshot | None] | None = None
        """The state against which all waits were last checked."""
        self._task: asyncio.Task[None] | None = None

    def is_over(self, revision: int, group: Group) -> bool:
        """Whether data planes reached the revision, or will not."""
        current = self._published.current
        published = current is not None and current.revision >= revision
        part_of = current.extract if current is not None and published else nothing
        count = self._fleet.tally.count(revision, part_of, reported=group.reported)
        if group.strict:
            if group.quorum.missed(count):
                return True
            return published and group.quorum.reached(count) and self._settled(group.quorum)
        if count.done + count.refusing < count.connected:
            return False
        return bool(count.refusing) or (published and self._settled(group.quorum))

    async def reached(self, revision: int, group: Group) -> None:
        """Return when the wait is over."""
        if self.is_over(revision, group):
            return
        wait = _Wait(revision, asyncio.Event())
        insort(self._waits.setdefault(group, []), wait, key=_revision)
        if self._task is None:
            # An event of its own: a task that was cancelled a moment ago takes its away from the signals.
            self._wake = asyncio.Event()
            self._task = asyncio.create_task(self._run(self._wake), name="waits for revisions")
        self._wake.set()
        try:
            await wait.over.wait()
        finally:
            self._drop(wait, group)

    def _settled(self, quorum: Quorum) -> bool:
        return quorum.count is not None or not self._fleet.unsettled

    def _drop(self, wait: _Wait, group: Group) -> None:
        waits = self._waits.get(group, [])
        if wait in waits:
            waits.remove(wait)
        if not waits:
            self._waits.pop(group, None)
        if not self._waits and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, wake: asyncio.Event) -> None:
        with self._published.changed.wakes(wake), self._fleet.signals.moved.wakes(wake):
            while True:
                wake.clear()
                try:
                    self._advance()
                except Exception:
                    logger.exception("waiting requests cannot be checked")
                await asyncio.sleep(GAP)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._fleet.unsettled or None):
                        await wake.wait()

    def _advance(self) -> None:
        """End the waits that are over."""
        tally = self._fleet.tally
        now = self._fleet.signals.refusals, tally.departures, (current := self._published.current)
        # A refusal ends the waits from a revision on, not those up to it.
        refused = now != self._looked and tally.refuses(current.extract if current is not None else nothing)
        self._looked = now
        for group, waits in self._waits.items():
            ended = 0
            while ended < len(waits) and self.is_over(waits[ended].revision, group):
                ended += 1
            over = waits[:ended]
            if refused:
                over += [wait for wait in waits[ended:] if self.is_over(wait.revision, group)]
            for wait in over:
                wait.over.set()
            if over:
                waits[:] = [wait for wait in waits if not wait.over.is_set()]


def _revision(wait: _Wait) -> int:
    return wait.revision
