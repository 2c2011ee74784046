"""The history in the store: written with every change, read, and trimmed as it grows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from controlplane.model import history
from controlplane.model.history import HEAD, RECORDS, Edit, Head, Record
from controlplane.model.stored import PREFIX
from controlplane.store import MAX_OPERATIONS, Delete, Put, Store, Write

OWN_WRITES = 2
"""Operations that a record takes in its change: itself and the head."""
LEAST_TRIMMED, MOST_TRIMMED = 2, 32
"""Old records that a change removes at least, where room is scarce, and at most."""


class History:
    """Records of changes of the configuration."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(
        self, edits: Sequence[Edit], author: str, time: float, words: str, others: int
    ) -> tuple[Mapping[str, int], list[Write]]:
        """What a change has to expect and to write beside `others` operations of its own, to be on record."""
        entry = await self._store.get(HEAD)
        head = Head.read(entry.value if entry else None)
        # Thousands of documents take a tenth of a second: streams and requests go on meanwhile.
        value = await asyncio.to_thread(history.encode_record, author, time, words, edits)
        room = max(LEAST_TRIMMED, min(MOST_TRIMMED, MAX_OPERATIONS - others - OWN_WRITES))
        head, writes = await self._trimmed(head, len(value), room)
        put = Put(history.record_key(head.next), value)
        head = Head(head.first, head.next + 1, head.bytes + len(value))
        return {HEAD: entry.revision if entry else 0}, [*writes, put, Put(HEAD, head.value)]

    async def _trimmed(self, head: Head, more: int, room: int) -> tuple[Head, list[Write]]:
        writes: list[Write] = []
        while head.too_long(more) and len(writes) < room:
            key = history.record_key(head.first)
            oldest = await self._store.get(key)
            size = len(oldest.value) if oldest else 0
            head = Head(head.first + 1, head.next, max(0, head.bytes - size))
            writes.append(Delete(key))
        return head, writes

    async def records(self) -> list[Record]:
        """Every record that is kept, the newest first."""
        listing = await self._store.list(RECORDS)
        found = (record for record in map(history.decode_record, listing.entries) if record is not None)
        return sorted(found, key=lambda record: record.revision, reverse=True)

    async def revision(self) -> int:
        """The store's revision now."""
        return (await self._store.list(f"{PREFIX}change/")).revision
