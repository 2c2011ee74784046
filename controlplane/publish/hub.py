"""Fan-out: one session a data plane, each woken by what is published, none waiting for another.

Knows no wire format. The session says what to send next; who sends it, and when it can, is the stream's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from types import MappingProxyType

from controlplane.model.snapshot import Snapshot
from controlplane.publish.fleet import Fleet
from controlplane.publish.subscriber import Subscriber
from controlplane.publish.watcher import Watcher


class Ending(Enum):
    """Why the control plane ends a session."""

    SUPERSEDED = "another stream of the same node was opened"
    STOPPING = "the control plane is stopping"


class Session:
    """One data plane's stream. `wake` is set when there may be something to send, or the session was ended."""

    def __init__(self, node: str, watcher: Watcher) -> None:
        self.node = node
        self.wake = asyncio.Event()
        self.subscriber = Subscriber()
        self.ending: Ending | None = None
        self._watcher = watcher

    def next(self) -> Snapshot | None:
        """What to send now; it counts as sent. None when there is nothing."""
        return self.subscriber.next(self._watcher.current)

    def end(self, reason: Ending) -> None:
        """Ask the stream to end."""
        self.ending = self.ending or reason
        self.wake.set()


class Hub:
    """The sessions that are open now, one a node: the newest."""

    def __init__(self, watcher: Watcher, fleet: Fleet) -> None:
        self.watcher = watcher
        self.fleet = fleet
        self._sessions: dict[str, Session] = {}
        self._stopping = False

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
    ) -> Iterator[Session]:
        """A session for a node that said hello, serving `revision`. An older one of the same node is ended.

        The node counts as connected within the block.
        """
        session = Session(node, self.watcher)
        if (older := self._sessions.get(node)) is not None:
            older.end(Ending.SUPERSEDED)
        if self._stopping:
            session.end(Ending.STOPPING)
        self._sessions[node] = session
        self.fleet.hello(node, version, revision, digest, leaving)
        try:
            with self.watcher.changed.wakes(session.wake):
                yield session
        finally:
            if self._sessions.get(node) is session:
                del self._sessions[node]
                self.fleet.disconnect(node)

    def stop(self) -> None:
        """End every session, and those that are still to come."""
        self._stopping = True
        for session in self._sessions.values():
            session.end(Ending.STOPPING)
