"""A small working store in memory, for unit tests of everything above the store.

It implements `Store` (the contract tests compare it with a real etcd) and adds controls for tests: `advance` lets time
pass, `compact` forgets history, `available = False` takes the store away.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.store.errors import Compacted, Conflict, LeaseGone, StoreError, StoreUnavailable
from controlplane.store.protocol import (
    Batch,
    Delete,
    Entry,
    Listing,
    Put,
    Write,
    check_size,
    check_transaction,
)


@dataclass(slots=True)
class _Lease:
    ttl: float
    ends: float


class MemoryStore:
    """A Store of one process; `clock` gives monotonic seconds and need not advance by itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._skipped = 0.0
        self._entries: dict[str, Entry] = {}
        self._history: list[Batch] = []
        self._revision = 1  # as in an empty etcd
        self._compacted = 0
        self._leases: dict[int, _Lease] = {}
        self._granted = 0
        self._available = True
        self._closed = False
        self._changed = asyncio.Event()

    # Controls for tests

    @property
    def available(self) -> bool:
        """Whether the store answers. While it does not, watches wait in silence, as over a lost connection."""
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        self._available = value
        self._wake()

    @property
    def revision(self) -> int:
        """The revision of the last change."""
        return self._revision

    def advance(self, seconds: float) -> None:
        """Let time pass in addition to the clock; expired leases end now."""
        self._skipped += seconds
        self._expire()
        self._wake()

    def compact(self, revision: int) -> None:
        """Forget the history up to `revision`."""
        self._compacted = max(self._compacted, min(revision, self._revision))
        self._history = [batch for batch in self._history if batch.revision > self._compacted]
        self._wake()

    # Store

    async def get(self, key: str) -> Entry | None:
        await self._arrive()
        return self._entries.get(key)

    async def list(self, prefix: str) -> Listing:
        await self._arrive()
        found = (self._entries[key] for key in sorted(self._entries) if key.startswith(prefix))
        return Listing(self._revision, tuple(found))

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        check_transaction(expected, writes)
        check_size(sum(len(w.key) + (len(w.value) if isinstance(w, Put) else 0) for w in writes))
        await self._arrive()
        conflicts = [key for key, revision in expected.items() if self._revision_of(key) != revision]
        if conflicts:
            raise Conflict(conflicts)
        for write in writes:
            if isinstance(write, Put) and write.lease and write.lease not in self._leases:
                raise LeaseGone(write.lease)
        return self._apply(writes)

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[Batch, None]:
        position = after
        while True:
            changed = self._changed
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._available:
                self._expire()
                self._require_history(position)
                batches, position = list(self._since(prefix, position)), self._revision
                for batch in batches:
                    yield batch
            with contextlib.suppress(TimeoutError):
                # Not wait_for, which in Python 3.11 forgets a cancellation that comes with the event.
                async with asyncio.timeout(self._until_next_end()):
                    await changed.wait()

    async def grant(self, ttl: float) -> int:
        await self._arrive()
        self._granted += 1
        whole = max(1.0, math.ceil(ttl))
        self._leases[self._granted] = _Lease(whole, self._now() + whole)
        self._wake()
        return self._granted

    async def keep_alive(self, lease: int) -> float:
        await self._arrive()
        held = self._leases.get(lease)
        if held is None:
            raise LeaseGone(lease)
        held.ends = self._now() + held.ttl
        return held.ttl

    async def keep_alive_all(self, leases: Collection[int]) -> Mapping[int, float | StoreError]:
        found: dict[int, float | StoreError] = {}
        for lease in leases:
            try:
                found[lease] = await self.keep_alive(lease)
            except StoreError as error:
                found[lease] = error
        return found

    async def revoke(self, lease: int) -> None:
        await self._arrive()
        self._end(lease)

    async def status(self) -> None:
        await self._arrive()

    async def full(self) -> bool:
        await self._arrive()
        return False

    async def close(self) -> None:
        self._closed = True
        self._wake()

    # How it works

    async def _arrive(self) -> None:
        # Like a real request: other tasks get a turn first, and leases may have expired.
        await asyncio.sleep(0)
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if not self._available:
            raise StoreUnavailable("the store does not answer")
        self._expire()

    def _apply(self, writes: Sequence[Write]) -> int:
        revision = self._revision + 1
        puts = tuple(
            Entry(w.key, w.value, revision, w.lease, self._created(w.key) or revision)
            for w in writes
            if isinstance(w, Put)
        )
        deletes = tuple(w.key for w in writes if isinstance(w, Delete) and w.key in self._entries)
        if puts or deletes:
            self._entries.update((entry.key, entry) for entry in puts)
            for key in deletes:
                del self._entries[key]
            self._revision = revision
            self._history.append(Batch(revision, puts, deletes))
            self._wake()
        return self._revision

    def _since(self, prefix: str, position: int) -> Iterator[Batch]:
        first = bisect.bisect_right(self._history, position, key=lambda batch: batch.revision)
        for batch in self._history[first:]:
            puts = tuple(entry for entry in batch.puts if entry.key.startswith(prefix))
            deletes = tuple(key for key in batch.deletes if key.startswith(prefix))
            if puts or deletes:
                yield Batch(batch.revision, puts, deletes)

    def _require_history(self, position: int) -> None:
        if position < self._compacted or position > self._revision:
            raise Compacted(self._compacted + 1)

    def _revision_of(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.revision if entry else 0

    def _created(self, key: str) -> int:
        entry = self._entries.get(key)
        return entry.created if entry else 0

    def _end(self, lease: int) -> None:
        if self._leases.pop(lease, None) is not None:
            self._apply([Delete(entry.key) for entry in self._entries.values() if entry.lease == lease])

    def _expire(self) -> None:
        if self._available:
            for lease in [lease for lease, held in self._leases.items() if held.ends <= self._now()]:
                self._end(lease)

    def _until_next_end(self) -> float | None:
        if not self._available or not self._leases:
            return None
        return max(0.0, min(held.ends for held in self._leases.values()) - self._now())

    def _now(self) -> float:
        return self._clock() + self._skipped

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
