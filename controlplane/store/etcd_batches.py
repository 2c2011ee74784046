"""Converts etcd's watch responses to batches, one per revision. Pure: no I/O, no clock.

What makes this worth a module of its own:
- A watch is refused inside the stream: `created` and `canceled` in one response. etcd 3.5 gives an expired token
  and a missing permission the same text there.
- One response may hold many revisions, and one revision may come in several fragments.
- The answer to a progress request (watch id -1) may overtake events in etcd before 3.5.9 (etcd issue 15220), so it
  proves that the peer lives, and nothing about revisions. A notice of the watch itself is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from controlplane.store.errors import Compacted, StoreUnavailable
from controlplane.store.etcd_errors import from_text
from controlplane.store.etcd_wire import decode, entry
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.protocol import Batch


class Assembly:
    """Collects the responses of one watch that was asked for everything after `position`."""

    def __init__(self, position: int) -> None:
        self._position = position
        self._fragments: list[pb.Event] = []
        self.created_at: int | None = None
        """The revision of the store (as known to the member) when it accepted the watch."""
        self.cluster = 0
        """The identity of the cluster that accepted the watch."""

    def add(self, response: pb.WatchResponse) -> list[Batch]:
        """The revisions that are now complete, in order, each once.

        Raises Compacted, AccessDenied (TokenRefused if it is sure) or StoreUnavailable when etcd ended the watch.
        """
        if response.canceled:
            raise _ending(response)
        if response.created:
            self.created_at, self.cluster = response.header.revision, response.header.cluster_id
            return []
        self._fragments.extend(response.events)
        if response.fragment:
            return []
        events, self._fragments = self._fragments, []
        if not events:
            return self._progress(response)
        return self._batches(events)

    def _batches(self, events: Sequence[pb.Event]) -> list[Batch]:
        batches = []
        for revision, group in groupby(events, key=lambda event: event.kv.mod_revision):
            if revision > self._position:
                batches.append(_batch(revision, list(group)))
                self._position = revision
        return batches

    def _progress(self, response: pb.WatchResponse) -> list[Batch]:
        if response.watch_id < 0 or response.header.revision <= self._position:
            return []
        self._position = response.header.revision
        return [Batch(self._position)]


def _batch(revision: int, events: Sequence[pb.Event]) -> Batch:
    puts = tuple(entry(event.kv) for event in events if event.type == pb.Event.PUT)
    deletes = tuple(decode(event.kv.key) for event in events if event.type == pb.Event.DELETE)
    return Batch(revision, puts, deletes)


def _ending(response: pb.WatchResponse) -> Exception:
    if response.compact_revision:
        return Compacted(response.compact_revision)
    reason = response.cancel_reason or "etcd ended the watch without a reason"
    return from_text(reason) or StoreUnavailable(reason)
