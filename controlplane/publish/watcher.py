"""Follows the store and publishes what it holds: list, watch, build a snapshot, tell whoever listens.

Data planes run on what is published here, so it only ever moves from one good snapshot to a later good one:
- Entries that cannot be published (nonsense written with etcdctl, a dangling reference) keep the last good snapshot in
  place, and show as problems until the store is mended.
- A store that does not answer changes nothing, and neither does one that comes back with an older revision.
- After a compaction everything is listed anew. Equal data has an equal digest, so nobody is sent anything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing

from controlplane.model.problems import InconsistentConfig, Problem
from controlplane.model.snapshot import Snapshot, build
from controlplane.model.stored import PREFIX, Reader
from controlplane.publish.signal import Signal
from controlplane.store import Batch, Compacted, Entry, Listing, Store, StoreError

logger = logging.getLogger(__name__)

SETTLE = 0.002
"""Seconds between the first change of a burst and the snapshot that holds it."""

LONGEST_PAUSE = 0.25
"""Most seconds between two snapshots while changes keep coming: up to here, building takes at most half of the time."""


class WentBack(StoreError):
    """The store's revision is lower than it was: wiped, or restored from a copy."""


class Watcher:
    """The published snapshot and what is known of the store; `changed` tells when any of it is different.

    `retry` is the first and the longest delay, `probe` the time between two questions whether the store
    answers, all in seconds.
    """

    def __init__(self, store: Store, *, retry: tuple[float, float] = (0.1, 2.0), probe: float = 2.0) -> None:
        self.current: Snapshot | None = None
        """The last good snapshot; None before the first."""
        self.revision = 0
        """Everything in the store up to this revision has been seen."""
        self.connected = False
        """Whether the store answered when it was last asked."""
        self.problems: tuple[Problem, ...] = ()
        """Why what is in the store now is not published; empty when it is."""
        self.caught_up = asyncio.Event()
        """Set for good once there is a snapshot."""
        self.changed = Signal()
        self.published = 0
        """How many snapshots differed from the one before, for metrics."""
        self.refused = 0
        """How many times the store's content could not be published, for metrics."""
        self._store = store
        self._first_delay, self._longest_delay = retry
        self._probe_interval = probe
        self._entries: dict[str, Entry] = {}
        self._reader = Reader()
        self._dirty = asyncio.Event()
        self._said_lost = False

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="watcher: follow")
            tasks.create_task(self._publish(), name="watcher: publish")
            tasks.create_task(self._probe(), name="watcher: probe")

    # Following

    async def _follow(self) -> None:
        delay = self._first_delay
        while True:
            try:
                self._take_listing(await self._store.list(PREFIX))
                async with aclosing(self._store.watch(PREFIX, self.revision)) as batches:
                    async for batch in batches:
                        delay = self._first_delay
                        self._take_batch(batch)
            except Compacted as error:
                logger.info("listing the store anew", extra={"revision": self.revision, "reason": str(error)})
            except WentBack as error:
                self._refuse((Problem("", str(error)),))
            except StoreError as error:
                self._lost(error)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, guards nothing
            delay = min(2 * delay, self._longest_delay)

    def _take_listing(self, listing: Listing) -> None:
        self._answered()
        if listing.revision < self.revision:
            detail = f"the store went back from revision {self.revision} to {listing.revision}"
            raise WentBack(f"{detail}; restart the control plane to accept what it holds now")
        self._entries = {entry.key: entry for entry in listing.entries}
        self.revision = listing.revision
        self._dirty.set()

    def _take_batch(self, batch: Batch) -> None:
        self.revision = max(self.revision, batch.revision)
        for key in batch.deletes:
            self._entries.pop(key, None)
        self._entries.update((entry.key, entry) for entry in batch.puts)
        # A progress mark too: it moves the watermark.
        self._dirty.set()

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(self._probe_interval)
            try:
                await self._store.status()
            except StoreError as error:
                self._lost(error)
            else:
                self._answered()

    def _lost(self, error: StoreError) -> None:
        if self.connected or not self._said_lost:
            logger.warning("store lost", extra={"reason": str(error), "revision": self.revision})
            self.connected, self._said_lost = False, True
            self.changed.notify()

    def _answered(self) -> None:
        if not self.connected:
            logger.info("store answers", extra={"revision": self.revision})
            self.connected = True
            self.changed.notify()

    # Publishing

    async def _publish(self) -> None:
        took, ended = 0.0, 0.0
        while True:
            await self._dirty.wait()
            # Whatever else comes within the pause is in the same snapshot.
            idle = time.perf_counter() - ended
            await asyncio.sleep(max(SETTLE, min(took, LONGEST_PAUSE) - idle))
            self._dirty.clear()
            started = time.perf_counter()
            self._build()
            ended = time.perf_counter()
            took = ended - started

    def _build(self) -> None:
        try:
            built = build(self._entries.values(), self.revision, self._reader)
        except InconsistentConfig as error:
            self._refuse(error.problems)
        except Exception:
            # A fault of ours, set off by some entry: as harmless to those who are served as nonsense would be.
            logger.exception("building a snapshot failed", extra={"revision": self.revision})
            self._refuse((Problem("", "internal error; see the control plane's log"),))
        else:
            self._accept(built)

    def _refuse(self, problems: tuple[Problem, ...]) -> None:
        if problems == self.problems:
            return
        self.problems = problems
        self.refused += 1
        serving = self.current.revision if self.current else 0
        extra = {"revision": self.revision, "serving": serving, "problems": list(map(str, problems))}
        logger.error("configuration in the store cannot be published", extra=extra)
        self.changed.notify()

    def _accept(self, built: Snapshot) -> None:
        if self.problems:
            logger.info("configuration in the store is good again", extra={"revision": built.revision})
        differs = self.current is None or built.digest != self.current.digest
        self.problems = ()
        self.current = built
        self.published += differs
        if differs:
            extra = {"revision": built.revision, "resources": len(built.resources)}
            logger.info("published", extra=extra)
        self.caught_up.set()
        self.changed.notify()
