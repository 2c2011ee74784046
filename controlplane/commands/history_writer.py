"""The history in the store: a record is written with every change, and the oldest ones are removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from controlplane import aside
from controlplane.model import history
from controlplane.model.history import HEAD, Edit, Head
from controlplane.store import MAX_OPERATIONS, Delete, Put, Store, Write

OWN_WRITES = 2
"""Operations that a record takes in its change: itself and the head."""
LEAST_TRIMMED, MOST_TRIMMED = 2, 32
"""Old records that a change removes at least, where room is scarce, and at most."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The expectations and writes that put a change on record."""

    expected: Mapping[str, int]
    writes: Sequence[Write]
    head: Head
    """The head that it leaves."""
    size: int
    """Bytes of its record."""


class HistoryWriter:
    """Records of changes of the configuration.

    The head is written with every change, so it has the revision of the change entry. The head that the last change
    made here left is kept, and is valid until another control plane has made one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: tuple[int, Head] | None = None
        """The last change that was made here, by its revision, and the head that it left."""
        self._sizes: dict[int, int] = {}
        """Bytes of records that were written here, by number."""

    async def record(
        self, edits: Sequence[Edit], author: str, time: float, words: str, others: int, change: int
    ) -> Prepared:
        """The record of a change with `others` operations of its own that follows the change at revision `change`."""
        revision, head = await self._head(change)
        value = await _encoded(author, time, words, edits)
        room = max(LEAST_TRIMMED, min(MOST_TRIMMED, MAX_OPERATIONS - others - OWN_WRITES))
        head, writes = await self._trimmed(head, len(value), room)
        put = Put(history.record_key(head.next), value)
        head = Head(head.first, head.next + 1, head.bytes + len(value))
        return Prepared({HEAD: revision}, [*writes, put, Put(HEAD, head.value)], head, len(value))

    def recorded(self, prepared: Prepared, revision: int) -> None:
        """Note that the record was committed at this revision."""
        if self._known is None or revision > self._known[0]:
            self._known = revision, prepared.head
        self._sizes[prepared.head.next - 1] = prepared.size
        if len(self._sizes) > 2 * history.MOST_RECORDS:
            self._sizes = {
                number: size for number, size in self._sizes.items() if number >= prepared.head.first
            }

    def forget(self) -> None:
        """Discard the cached head, which may be outdated."""
        self._known = None

    async def _head(self, change: int) -> tuple[int, Head]:
        if self._known is not None and self._known[0] == change:
            return self._known
        entry = await self._store.get(HEAD)
        head = Head.read(entry.value if entry else None)
        if head.next <= max(self._sizes, default=0):
            self._sizes.clear()  # the history of another store
        return entry.revision if entry else 0, head

    async def _trimmed(self, head: Head, more: int, room: int) -> tuple[Head, list[Write]]:
        writes: list[Write] = []
        while head.too_long(more) and len(writes) < room:
            size = await self._size(head.first)
            writes.append(Delete(history.record_key(head.first)))
            head = Head(head.first + 1, head.next, max(0, head.bytes - size))
        return head, writes

    async def _size(self, number: int) -> int:
        if (size := self._sizes.get(number)) is not None:
            return size
        entry = await self._store.get(history.record_key(number))
        return len(entry.value) if entry else 0


async def _encoded(author: str, time: float, words: str, edits: Sequence[Edit]) -> bytes:
    if len(edits) <= aside.FEW:
        return history.encode_record(author, time, words, edits)
    # Thousands of documents take a tenth of a second: streams and requests go on meanwhile.
    return await aside.change(partial(history.encode_record, author, time, words, edits))
