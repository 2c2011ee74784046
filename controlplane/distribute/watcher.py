"""Follows the store and publishes its content: list, watch, build a snapshot, wake the listeners.

Data planes run on the published snapshot, so it only ever moves from one good snapshot to a later good one:
- Entries that cannot be published (nonsense written with etcdctl, a dangling reference) keep the last good snapshot in
  place, and show as problems until the store is mended.
- A store that does not answer changes nothing, and neither does a store that came back with another
  identity: see `guard`.
- After a compaction everything is listed again. Equal data has an equal digest, so no data plane is sent anything.
- A change that is too big for one transaction is published once all of it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

from controlplane import aside
from controlplane.distribute.changes import RecentChanges
from controlplane.distribute.deltas import Deltas
from controlplane.distribute.extracts import Extracts
from controlplane.distribute.guard import WHAT_TO_DO, Guard
from controlplane.distribute.pace import SETTLE, Pace
from controlplane.model.config import Config, Found, View, read
from controlplane.model.discovered import Discovered, State, state_of
from controlplane.model.discovery import Discovery
from controlplane.model.lineage import LINEAGE
from controlplane.model.problems import InconsistentConfig, Problem
from controlplane.model.resources import User
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import CHANGE, PREFIX, Stamped
from controlplane.signal import Signal
from controlplane.store import Batch, Compacted, Entry, Listing, Store, StoreError

logger = logging.getLogger(__name__)

AT_ONCE = 32
"""Entries that are read, and resources that are checked, in one turn of the event loop: a few milliseconds' work."""
MOST_TURNS = 2000
"""Turns of the event loop for which publishing waits until everything is read and checked."""
MANY = 1000
"""Resources in one change from which the new objects are frozen (`gc.freeze`)."""

FULL = "the store (etcd) is full and takes no changes"

_FAULT = "internal error; see the control plane's log"


class Watcher:
    """The published snapshot and the known state of the store; `changed` tells when any of it is different.

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
        self.lost_at: float | None = time.monotonic()
        """Monotonic seconds since which it does not answer; None while it answers."""
        self.full = False
        """Whether the store has no space left when it was last asked: the published snapshot stays, and nothing
        changes."""
        self.problems: tuple[Problem, ...] = ()
        """The reason why the store's present content is not published; empty when it is."""
        self.caught_up = asyncio.Event()
        """Set for good once there is a snapshot."""
        self.changed = Signal()
        self.published = 0
        """Number of snapshots that differed from the previous one, for metrics."""
        self.published_at = 0.0
        """Unix seconds of the last of them."""
        self.refused = 0
        """Number of times that the store's content could not be published, for metrics."""
        self.superseding: Callable[[Snapshot], None] = lambda previous: None
        """Called with the present snapshot right before another one takes its place."""
        self.accepted: Callable[[Snapshot], None] = lambda published: None
        """Called with every snapshot that is published, also one that equals the previous one."""
        self.streams: Callable[[], int] = lambda: 0
        """Number of data planes that are sent the published snapshots."""
        self.guard = Guard()
        self.frozen = ""
        """The reason nothing is published until an operator confirms the store's content; empty when published."""
        self._store = store
        self._first_delay, self._longest_delay = retry
        self._probe_interval = probe
        self.extracts = Extracts()
        """The parts of the published snapshots for each pool of data planes."""
        self.changes = RecentChanges()
        """The changes that were made since this process started, also those that data planes are not sent."""
        self.pace = Pace()
        """When the next snapshot may be published."""
        self._config = Config()
        self._advanced = asyncio.Event()
        self._dirty = asyncio.Event()
        self._said_lost = False
        self._listening: asyncio.Timeout | None = None
        self._mismatches = 0
        self._good_users: dict[str, User] = {}

    @property
    def deltas(self) -> Deltas:
        """The changes from older snapshots to the current one."""
        return self.extracts.deltas

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="watcher: follow")
            tasks.create_task(self._publish(), name="watcher: publish")
            tasks.create_task(self._probe(), name="watcher: probe")

    def held_user(self, username: str) -> User | None:
        """While nothing is published: the user, with the password's hash, as of the last good content.

        An operator must be able to log in even if the user is missing from the store.
        """
        return self._good_users.get(username) if self.frozen else None

    async def view(self, after: int, within: float) -> View | None:
        """The configuration as of revision `after` or later; None when it is not known here within some seconds."""
        if not self.revision:
            return None
        try:
            async with asyncio.timeout(within):
                while self.revision < after or self._config.decided:
                    await self._advanced.wait()
        except TimeoutError:
            return None
        return self._config.view()

    def registration(self, name: str) -> Stamped | None:
        """A registered instance ("service/id"), published or not; None when there is none, or the store is in doubt."""
        if not self.connected or self.guard.suspicion:
            return None
        return self._config.get(("instance", name))

    def count(self, kind: str) -> int:
        """The number of stored resources of a kind, published or not."""
        return self._config.count(kind)

    @property
    def discoveries(self) -> Mapping[str, Discovery]:
        """The sources of services with discovery, by service. Valid until the next await."""
        return self._config.discoveries

    @property
    def remembered(self) -> frozenset[str]:
        """The services for which something was found, also former ones."""
        return frozenset(self._config.found)

    def discovery_states(self) -> Mapping[str, State]:
        """Whether sources answer, by service, sorted."""
        found = sorted(self.discoveries.items())
        return {name: state_of(discovery, self.discovered(name)) for name, discovery in found}

    def discovery_state(self, service_name: str) -> State | None:
        """The same for one service; None if it has no discovery."""
        discovery = self.discoveries.get(service_name)
        return state_of(discovery, self.discovered(service_name)) if discovery is not None else None

    def discovered(self, service_name: str) -> Discovered | None:
        """What was found for a service; None before the first answer."""
        stamped = self._config.get((Discovered.KIND, service_name))
        return stamped.resource if stamped and isinstance(stamped.resource, Discovered) else None

    @property
    def decided(self) -> frozenset[str]:
        """Keys of changes that are decided but not completed yet."""
        return self._config.decided

    @property
    def staged(self) -> frozenset[str]:
        """Keys of values staged for such changes."""
        return self._config.staged

    # Following

    async def _follow(self) -> None:
        delay = self._first_delay
        while True:
            try:
                await self._take_listing(await self._store.list(PREFIX))
                async with (
                    self._until_in_doubt(),
                    aclosing(self._store.watch(PREFIX, self.revision)) as batches,
                ):
                    async for batch in batches:
                        delay = self._first_delay
                        await self._take_batch(batch)
            except Compacted as error:
                logger.info(
                    "listing the store again", extra={"revision": self.revision, "reason": str(error)}
                )
            except TimeoutError:
                logger.debug("listing the store again", extra={"revision": self.revision})
            except StoreError as error:
                self._lost(error)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # spreads load, guards nothing
            delay = min(2 * delay, self._longest_delay)

    async def _take_listing(self, listing: Listing) -> None:
        self._answered()
        self._hold_users()
        before = self.guard.suspicion, self.guard.lineage
        self.guard.listing(listing.entries, listing.revision, self._config.revisions, listing.cluster)
        if any(before[:1]) or (self.guard.suspicion, self.guard.lineage) != before:
            self._start_over()
        gone, new = self._config.differing(listing.entries)
        found = await self._read(new)
        # Before the first `_advance` this is not visible, so it may be filled bit by bit; later it changes all at once.
        step = len(found) or 1 if self.revision else AT_ONCE
        self._take_in(gone, found[:step])
        for start in range(step, len(found), step):
            await asyncio.sleep(0)
            self._take_in((), found[start : start + step])
        self.changes.none()
        self._advance(listing.revision)

    async def _take_batch(self, batch: Batch) -> None:
        found = await self._read(batch.puts)
        for entry in batch.puts:
            if entry.key == LINEAGE:
                self.guard.see(entry.value, entry.revision)
        if LINEAGE in batch.deletes:
            self._hold_users()
            self.guard.see(None, 0)
        self._take_in(batch.deletes, found)
        # A progress mark too: it moves the watermark.
        self._advance(max(self.revision, batch.revision))

    async def _read(self, entries: Sequence[Entry]) -> list[tuple[Entry, Found]]:
        """Read entries, some in each turn of the event loop. The configuration does not change meanwhile."""
        found = []
        for number, entry in enumerate(entries, 1):
            try:
                found.append((entry, read(entry)))
            except Exception:
                found.append((entry, self._fault(entry)))
            if not number % AT_ONCE:
                await asyncio.sleep(0)
        return found

    def _take_in(self, gone: Iterable[str], new: Iterable[tuple[Entry, Found]]) -> None:
        for key in gone:
            self._config.remove(key)
        for entry, found in new:
            if entry.key == CHANGE:
                self.changes.see(entry)
            try:
                self._config.put(entry, found)
                _warn(entry, found)
            except Exception:
                self._config.distrust(entry, self._fault(entry)[1])

    def _fault(self, entry: Entry) -> Found:
        """A bug that an entry triggers is treated like an entry that does not parse."""
        extra = {"revision": entry.revision, "key": entry.key}
        logger.exception("an entry cannot be read", extra=extra)
        return None, (Problem("", _FAULT),)

    def _advance(self, revision: int) -> None:
        self.revision = revision
        self._dirty.set()
        self._advanced.set()
        self._advanced = asyncio.Event()

    def _start_over(self) -> None:
        """Forget the earlier content: in another store the same revisions mean something else."""
        self._config = Config()
        self.extracts.start_over()

    def _hold_users(self) -> None:
        if not self.guard.suspicion:
            known = self._config.view().resources.values()
            users = (stamped.resource for stamped in known)
            self._good_users = {user.username: user for user in users if isinstance(user, User)}

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(self._probe_interval)
            try:
                # A majority of the members answers this, and not a single member that lost touch with the others.
                found = await self._store.get(LINEAGE)
            except StoreError as error:
                self._lost(error)
            else:
                self._answered()
                self._compare(found.revision if found else 0)
                await self._ask_for_space()

    async def _ask_for_space(self) -> None:
        # The question before has already shown whether it answers.
        with contextlib.suppress(StoreError):
            before, self.full = self.full, await self._store.full()
            if self.full != before:
                text = FULL if self.full else "the store (etcd) has space again"
                logger.log(logging.WARNING if self.full else logging.INFO, text)
                self.changed.notify()

    @asynccontextmanager
    async def _until_in_doubt(self) -> AsyncIterator[None]:
        """Ends the watch with TimeoutError when the store has to be listed again."""
        self._mismatches = 0
        async with asyncio.timeout(None) as self._listening:
            try:
                yield
            finally:
                self._listening = None

    def _compare(self, lineage_revision: int) -> None:
        """List again when the watch cannot be trusted.

        A replaced store with as many revisions as the former one continues the watch without an error; only its
        lineage differs. The store may be ahead of the watch for a moment, but not twice in a row. While nothing is
        published, the former store may come back in the same way.
        """
        self._mismatches = 0 if lineage_revision == self.guard.lineage_revision else self._mismatches + 1
        if (self._mismatches > 1 or self.frozen) and self._listening is not None:
            self._listening.reschedule(asyncio.get_running_loop().time())

    def _lost(self, error: StoreError) -> None:
        if self.connected or not self._said_lost:
            logger.warning("store lost", extra={"reason": str(error), "revision": self.revision})
            self.connected, self._said_lost = False, True
            self.lost_at = self.lost_at or time.monotonic()
            self.changed.notify()

    def _answered(self) -> None:
        if not self.connected:
            logger.info("store answers", extra={"revision": self.revision})
            self.connected, self.lost_at = True, None
            self.changed.notify()

    # Publishing

    async def _publish(self) -> None:
        while True:
            await self._dirty.wait()
            # All other changes within the pause are in the same snapshot.
            await asyncio.sleep(SETTLE)
            while pause := self.pace.pause(time.monotonic()):  # noqa: ASYNC110  # grows while a round is under way
                await asyncio.sleep(max(SETTLE, pause))
            began, published = time.monotonic(), self.published
            await self._settle()
            self._dirty.clear()
            self._build()
            streams = self.streams() if self.published != published else 0
            self.pace.published(self.revision, began, time.monotonic(), streams=streams)

    async def _settle(self) -> None:
        """Do most of the work of a large change turn by turn.

        Changes that arrive meanwhile belong to it, up to a bound: a steady stream of changes must not delay
        publishing.
        """
        for _ in range(MOST_TURNS):
            if self._config.unsettled <= AT_ONCE:
                return
            self._config.settle(AT_ONCE)
            await asyncio.sleep(0)

    def _build(self) -> None:
        if self._withheld():
            return
        if self._config.decided:
            return
        try:
            whole, touched = self._config.publish(self.revision, self.guard.lineage)
            built = self.extracts.publish(whole, touched, self._config.pools)
        except InconsistentConfig as error:
            self._refuse(error.problems)
        except Exception:
            logger.exception("building a snapshot failed", extra={"revision": self.revision})
            self._refuse((Problem("", _FAULT),))
        else:
            if len(touched) >= MANY:
                # Long-lived objects: full collections that traverse them would hold up every stream.
                gc.freeze()
                aside.retire(self._config.replaced)
            self._accept(built)

    def _withheld(self) -> bool:
        """Whether the store's present content must not be published."""
        before, self.frozen = self.frozen, self.guard.suspicion
        if not self.frozen:
            self.guard.passed(self.revision)
        elif self.frozen != before:
            self._refuse((Problem("store", f"{self.frozen}; {WHAT_TO_DO}"),))
        return bool(self.frozen)

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
        if differs and self.current is not None:
            self.superseding(self.current)
        self.current = built
        self.published += differs
        self.published_at = time.time() if differs else self.published_at
        self.accepted(built)
        if differs:
            extra = {"revision": built.revision, "resources": len(built.resources)}
            logger.info("published", extra=extra)
        self.caught_up.set()
        self.changed.notify()


def _warn(entry: Entry, found: Found) -> None:
    """Warn about a stored entry that would be refused if it were written now."""
    if found[0] is not None and (outdated := list(map(str, found[0].outdated()))):
        extra = {"revision": entry.revision, "key": entry.key, "problems": outdated}
        logger.warning("a stored resource has a value that would be refused now", extra=extra)
