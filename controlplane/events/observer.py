"""Turns what the watcher and the fleet know into events, by comparing it with what they knew a moment ago.

Nothing reports to the observer, so that no part depends on events. What happens and is over between two looks is not
seen; a look is made at most every `GAP` seconds, and costs at most a tenth of the time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from controlplane.distribute.watcher import FULL, Watcher
from controlplane.events.dataplanes import DataplaneEvents
from controlplane.events.log import EventLog, Kind
from controlplane.events.services import ServiceEvents
from controlplane.fleet.nodes import Fleet, Touched
from controlplane.model.snapshot import Snapshot
from controlplane.model.words import count

GAP = 0.2
"""Seconds between two looks."""
SHARE = 10
"""Looks may take a tenth of the time: those at all services of a large gateway, while data planes come and go."""
AT_ONCE = 50
"""Services that are looked at in one turn of the event loop: about a millisecond."""
MOST_PROBLEMS = 20

logger = logging.getLogger(__name__)


class Observer:
    """Fills the log until it is cancelled."""

    def __init__(
        self,
        watcher: Watcher,
        fleet: Fleet,
        log: EventLog,
        *,
        wall: Callable[[], float] = time.time,
        gap: float = GAP,
    ) -> None:
        """`wall` gives Unix seconds."""
        self.services = ServiceEvents(watcher, fleet, log)
        self._dataplanes = DataplaneEvents(watcher, fleet, log, wall)
        self._watcher, self._fleet, self._log = watcher, fleet, log
        self._wall, self._gap = wall, gap
        self._touched = Touched()
        fleet.followers.add(self._touched)
        self._changes = watcher.changes.number
        self._published, self._refused = watcher.published, watcher.refused
        self._connected, self._full, self._frozen = watcher.connected, watcher.full, watcher.frozen

    async def run(self) -> None:
        """Look whenever something may have changed."""
        wake = asyncio.Event()
        try:
            with self._watcher.changed.wakes(wake), self._fleet.signals.changed.wakes(wake):
                while True:
                    wake.clear()
                    began = time.monotonic()
                    try:
                        await self.look()
                    except Exception:
                        logger.exception("events cannot be told")
                        self._touched.everything = True
                    await asyncio.sleep(max(self._gap, SHARE * (time.monotonic() - began)))
                    await wake.wait()
        finally:
            self._fleet.followers.discard(self._touched)

    async def look(self) -> None:
        """Note everything that differs from the last look."""
        at = self._wall()
        self._note_store(at)
        self._note_changes()
        self._note_published(at)
        # Before the first snapshot there is nothing to compare with.
        if (snapshot := self._watcher.current) is not None:
            self._dataplanes.look(at)
            await self._look_at_services(snapshot, at)

    async def _look_at_services(self, snapshot: Snapshot, at: float) -> None:
        # Verdicts mean nothing while no data plane is there to judge.
        quiet = not self._fleet.tally.connected
        for number, name in enumerate(self.services.due(snapshot, self._touched), 1):
            self.services.look(name, snapshot, at, quiet=quiet)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _note_store(self, at: float) -> None:
        watcher, add = self._watcher, self._log.add
        before = self._connected, self._full, self._frozen
        self._connected, self._full, self._frozen = watcher.connected, watcher.full, watcher.frozen
        if self._connected != before[0]:
            word = "answers" if self._connected else "lost"
            text = "the store (etcd) answers" if self._connected else "the store (etcd) does not answer"
            add(Kind.STORE, at, text, watcher.revision, {"state": word})
        if self._full != before[1]:
            text = FULL if self._full else "the store (etcd) has space again"
            add(Kind.STORE, at, text, watcher.revision, {"state": "full" if self._full else "space"})
        if self._frozen != before[2]:
            text = self._frozen or "the store's content is published again"
            add(Kind.STORE, at, text, watcher.revision, {"state": "frozen" if self._frozen else "published"})

    def _note_changes(self) -> None:
        changes = self._watcher.changes
        for one in changes.after(self._changes):
            fields = {"author": one.author, "summary": one.summary}
            self._log.add(Kind.CHANGE, one.time, f"{one.author}: {one.summary}", one.revision, fields)
        self._changes = changes.number

    def _note_published(self, at: float) -> None:
        watcher, current = self._watcher, self._watcher.current
        if watcher.refused != self._refused and watcher.problems:
            problems = [
                {"resource": "", "field": one.field, "detail": one.detail} for one in watcher.problems
            ]
            text = f"revision {watcher.revision} cannot be published: {watcher.problems[0]}"
            self._log.add(Kind.REFUSED, at, text, watcher.revision, {"problems": problems[:MOST_PROBLEMS]})
        if watcher.published != self._published and current is not None:
            text = f"published revision {current.revision} ({count(len(current.resources), 'resource')})"
            fields = {"resources": len(current.resources)}
            self._log.add(Kind.PUBLISHED, at, text, current.revision, fields)
        self._published, self._refused = watcher.published, watcher.refused
