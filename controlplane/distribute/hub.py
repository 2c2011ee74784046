"""Fan-out: one session for each data plane. Each is woken by a new snapshot, and none waits for another.

Knows no wire format. The session says what to send next; the stream sends it when it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from contextlib import contextmanager
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from controlplane.distribute.messages import Messages
from controlplane.distribute.subscriber import Mark, Subscriber
from controlplane.distribute.watcher import Watcher
from controlplane.model.capabilities import REDIS_CONFIGURED, REPORTS_RESETS, Lacking
from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.rate_limit import REDIS_LIMITS
from controlplane.model.snapshot import Delta, Snapshot
from controlplane.telemetry.spans import Rollouts

logger = logging.getLogger(__name__)

MARKS_APART = 1.0
"""Seconds from one message to a mark, which says only that the revision moved on: many such changes make one mark."""

PATIENCE = 5.0
"""Seconds that a node with a later revision waits for this control plane to catch up, before it is set back."""


STORE_LOST_FOR = 3.0
"""Seconds without the store after which data planes are redirected to other control planes, which may have news."""

REDIRECT_AGAIN_AFTER = 60.0
"""Seconds until a node that came back is redirected again in the same outage: the other control planes may be no
better."""


class Nodes(Protocol):
    """The interface through which the hub reports its sessions and queries the fleet. `fleet.nodes.Fleet` implements
    it."""

    @property
    def alone(self) -> bool:
        """Whether there is no other control plane."""

    def hello(
        self,
        node: str,
        version: str,
        revision: int,
        digest: str,
        leaving: Mapping[tuple[str, str], int],
        *,
        resets_unreported: bool,
        without_redis: bool,
        pool: str,
    ) -> None:
        """A data plane of a pool connected, serving `revision`. See `NodeState.resets_unreported` and
        `.without_redis`."""

    def sent(self, node: str, revision: int) -> None:
        """A revision was sent to it."""

    def withhold(self, node: str, revision: int, digest: str, lacking: Lacking) -> None:
        """A revision is withheld from it, because it lacks a capability that the revision needs."""

    def disconnect(self, node: str) -> None:
        """Its stream ended."""

    @property
    def pools(self) -> Collection[str]:
        """The pools of the connected data planes."""

    def all_have_served(self, revision: int, digest: str, pool: str) -> bool:
        """Whether every connected data plane of a pool that serves a configuration has served this one."""


class Ending(Enum):
    """The reason the control plane ends a session."""

    STORE_LOST = "this control plane has lost the store"
    NO_FALLBACK = (
        "the published configuration is rejected, and another control plane may have the previous one"
    )
    SUPERSEDED = "another stream of the same node was opened"
    STOPPING = "the control plane is stopping"


class Session:
    """One data plane's stream. `wake` is set when there may be something to send, or the session was ended."""

    def __init__(
        self,
        node: str,
        pool: str,
        watcher: Watcher,
        subscriber: Subscriber,
        accepted: Callable[[], Snapshot | None],
        withhold: Callable[[Snapshot, Lacking], None],
        now: Callable[[], float],
    ) -> None:
        """`accepted` gives the snapshot that the whole pool served last, `now` monotonic seconds.

        `withhold` is called for every configuration that is withheld from the node.
        """
        self.node = node
        self.pool = pool
        self.wake = asyncio.Event()
        self.subscriber = subscriber
        self.ending: Ending | None = None
        self._watcher = watcher
        self._accepted = accepted
        self._withhold = withhold
        self._missing: frozenset[str] = frozenset()
        """Missing capabilities because of which a configuration is withheld."""
        self._now = now
        self._mark_at = now()
        self._patient_until = now() + PATIENCE

    @property
    def current(self) -> Snapshot | None:
        """The published configuration of its pool; None when there is none, or the pool does not exist any more: then
        the data plane keeps what it has."""
        whole = self._watcher.current
        return whole.extract(self.pool) if whole is not None else None

    def next(self) -> Snapshot | Delta | None:
        """The message to send now; it counts as sent. None when there is nothing."""
        current = self.current
        if current is None or self._ahead(current) > 0:
            return None
        before = self.subscriber.withheld
        message = self.subscriber.next(current, self._accepted())
        self._tell_withheld(before, current)
        if message is None and self._now() >= self._mark_at:
            message = self.subscriber.mark(current)
        if message is not None:
            self._mark_at = self._now() + MARKS_APART
        return message

    def _tell_withheld(self, before: Mark | None, current: Snapshot) -> None:
        """Report each configuration that is withheld, and log each cause once."""
        withheld = self.subscriber.withheld
        if withheld and not (before and before.digest == withheld.digest):
            lacking = self.subscriber.lacks(current)
            assert lacking is not None
            self._withhold(current, lacking)
            missing = lacking.capabilities
        else:
            missing = self._missing if withheld else frozenset()
        if missing == self._missing:
            return
        self._missing = missing
        about = {"node": self.node, "revision": current.revision, "capabilities": sorted(missing)}
        if missing:
            logger.warning(
                "a configuration is withheld from a data plane that lacks a capability", extra=about
            )
        else:
            logger.info("the configuration is no longer withheld from a data plane", extra=about)

    async def woken(self, within: float) -> None:
        """Return when there may be something to send, or the session was ended; after some seconds in any case."""
        if (due := self._due()) is not None:
            within = min(within, max(0.0, due - self._now()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self.wake.wait()

    def answered(self) -> None:
        """The node has answered: wake the stream if there is more to send. Mostly there is not."""
        current = self.current
        if current is None or self.subscriber.news(current) or self.subscriber.behind(current):
            self.wake.set()

    def end(self, reason: Ending) -> None:
        """Ask the stream to end."""
        self.ending = self.ending or reason
        self.wake.set()

    def _due(self) -> float | None:
        """The time at which there is something to send even if nothing happens."""
        current = self.current
        if current is None:
            return None
        if self._ahead(current) > 0:
            return self._patient_until
        return self._mark_at if self.subscriber.behind(current) else None

    def _ahead(self, current: Snapshot) -> float:
        """Seconds left to wait for the node's revision, which another control plane has seen."""
        held = self.subscriber.held
        if self.subscriber.sent is not None or held is None or held.order <= Mark.of(current).order:
            return 0.0
        if held.leads(current):
            return 0.0
        if self._watcher.lost_at is not None:
            # The revision may exist although this control plane has not seen it.
            self._patient_until = max(self._patient_until, self._now() + PATIENCE)
        return self._patient_until - self._now()


class Hub:
    """The sessions that are open now, one a node: the newest."""

    def __init__(self, watcher: Watcher, nodes: Nodes, now: Callable[[], float] = time.monotonic) -> None:
        self.watcher = watcher
        self.messages = Messages()
        self.rollouts = Rollouts()
        self.accepted: dict[str, Snapshot] = {}
        """By pool, the last snapshot that every data plane of it served before the next one was published; none if
        there was none since this process started. A new data plane that cannot use the present snapshot gets this
        one."""
        self._nodes = nodes
        self._now = now
        self._sessions: dict[str, Session] = {}
        self._redirected: dict[str, tuple[float, float | None]] = {}
        """The time and the outage (`Watcher.lost_at`) in which each node was redirected; the last one at the end."""
        self._stopping = False
        watcher.superseding = self._superseding
        watcher.streams = lambda: len(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    @contextmanager
    def session(
        self,
        node: str,
        version: str,
        revision: int,
        digest: str,
        leaving: Mapping[tuple[str, str], int] = MappingProxyType({}),
        *,
        lineage: Lineage = UNKNOWN,
        refused: Mark | None = None,
        deltas: bool = False,
        capabilities: Set[str] = frozenset(),
        pool: str = DEFAULT_POOL,
    ) -> Iterator[Session]:
        """A session for a node of a pool that said hello, serving `revision`. An older one of the same node is ended.

        `refused` is the configuration that the node cannot use, `capabilities` are those it named. With `deltas` it
        takes differences. It counts as connected within the block.
        """
        held = Mark(revision, digest, lineage) if revision and digest else None

        def between(base: Mark, current: Snapshot) -> Delta | None:
            return self.watcher.extracts.between(pool, base, current)

        subscriber = Subscriber(held, between if deltas else None, refused, capabilities)

        def withhold(snapshot: Snapshot, lacking: Lacking) -> None:
            self.messages.withheld += 1
            self._nodes.withhold(node, snapshot.revision, snapshot.digest, lacking)
            missing = (f"lacks the capability {one}" for one in sorted(lacking.capabilities))
            self.rollouts.nacked(node, snapshot.revision, missing)

        session = Session(
            node, pool, self.watcher, subscriber, lambda: self.accepted.get(pool), withhold, self._now
        )
        if (older := self._sessions.get(node)) is not None:
            older.end(Ending.SUPERSEDED)
        if self._stopping:
            session.end(Ending.STOPPING)
        self._sessions[node] = session
        unreported = REPORTS_RESETS not in capabilities
        # Older data planes say neither.
        lacks = REDIS_LIMITS in capabilities and REDIS_CONFIGURED not in capabilities
        self._nodes.hello(
            node,
            version,
            revision,
            digest,
            leaving,
            resets_unreported=unreported,
            without_redis=lacks,
            pool=pool,
        )
        try:
            with self.watcher.changed.wakes(session.wake):
                yield session
        finally:
            if self._sessions.get(node) is session:
                del self._sessions[node]
                self._nodes.disconnect(node)

    def sent(self, session: Session, message: Snapshot | Delta) -> None:
        """Note that the message was written to the stream."""
        self.watcher.pace.written(message.revision, time.monotonic())
        self._nodes.sent(session.node, message.revision)
        self.rollouts.sent(session.node, message.revision)
        self.messages.count(message, session.subscriber.whole)

    def look_after(self, session: Session) -> None:
        """End the session if another control plane may serve the node better; call it now and then.

        A control plane that lost the store has no changes to send, but another one may have. When there is no other,
        sessions stay open, except those of nodes that wait for a first snapshot. A node that has nothing and rejects
        the published snapshot gets the one that the fleet served before; a control plane that has just started does
        not know that one.
        """
        if self._store_lost and (self.watcher.current is None or self._may_redirect(session.node)):
            session.end(Ending.STORE_LOST)
        elif self._lacks_fallback(session) and self._may_redirect(session.node):
            session.end(Ending.NO_FALLBACK)

    def _lacks_fallback(self, session: Session) -> bool:
        return session.subscriber.needs_fallback and session.pool not in self.accepted

    @property
    def _store_lost(self) -> bool:
        lost_at = self.watcher.lost_at
        return lost_at is not None and self._now() - lost_at >= STORE_LOST_FOR

    def _may_redirect(self, node: str) -> bool:
        """Whether to redirect the node to another control plane: there is one, and it was not redirected a moment ago.
        Remembers a yes."""
        now, outage = self._now(), self.watcher.lost_at
        while self._redirected and now - next(iter(self._redirected.values()))[0] >= REDIRECT_AGAIN_AFTER:
            del self._redirected[next(iter(self._redirected))]
        if self._nodes.alone or (node in self._redirected and self._redirected[node][1] == outage):
            return False
        self._redirected.pop(node, None)
        self._redirected[node] = now, outage
        return True

    def _superseding(self, previous: Snapshot) -> None:
        """Keep what is about to be replaced, if a whole pool has served it."""
        # A pool that is made again has nothing to do with a deleted one of its name.
        kept = {*previous.pools, DEFAULT_POOL}
        self.accepted = {pool: part for pool, part in self.accepted.items() if pool in kept}
        for pool in self._nodes.pools:
            part = previous.extract(pool)
            if part is not None and self._nodes.all_have_served(part.revision, part.digest, pool):
                self.accepted[pool] = part

    def stop(self) -> None:
        """End every session, and every later one at once."""
        self._stopping = True
        for session in self._sessions.values():
            session.end(Ending.STOPPING)
