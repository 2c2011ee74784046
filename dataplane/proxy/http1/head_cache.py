"""A cache of parsed heads, keyed by their bytes: most clients and instances repeat themselves.

A parser in the same state reads the same bytes the same way. So a cached result stands for the same head whenever that
comes again, whole and in one read, and there is still one reading of every message: the parser's. On a miss, and for
heads that are longer than `LONGEST` or come in pieces, the parser reads.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

T = TypeVar("T")

LONGEST: Final = 4_096
"""Bytes of the longest head that is cached."""
ENTRIES: Final = 512
"""Entries of one generation."""
_SAMPLE: Final = 8
"""One of so many misses is cached: soon every head that is frequent, and few that come once."""
_HIT: Final = 2
_MISS: Final = 1
"""A hit saves about twice what a miss costs (docs/performance.md)."""
_INITIAL_CREDIT: Final = 16
"""Misses that a new connection may have before it samples."""
_MAX_CREDIT: Final = 64
_PROBE: Final = 32
"""A connection without credit looks up one head of so many."""


class HeadCache(Generic[T]):
    """Parsed heads by their bytes, for all connections of one event loop.

    Bounded: two generations of `ENTRIES`. A hit moves its entry to the younger; when that is full, the elder goes.
    """

    __slots__ = ("_elder", "_new", "_younger")

    def __init__(self) -> None:
        self._younger: dict[bytes, T] = {}
        self._elder: dict[bytes, T] = {}
        self._new = 0

    def recall(self, head: bytes) -> T | None:
        """The parsed head for these bytes; None on a miss."""
        found = self._younger.get(head)
        if found is None:
            found = self._elder.get(head)
            if found is not None:
                self.keep(head, found)
        return found

    def learns(self) -> bool:
        """Whether to `keep` a head that missed; called once for each miss."""
        self._new += 1
        return self._new % _SAMPLE == 1

    def keep(self, head: bytes, reading: T) -> None:
        """Cache a parsed head."""
        if len(self._younger) >= ENTRIES:
            self._elder = self._younger
            self._younger = {}
        self._younger[head] = reading


class LookupCredit:
    """The credit of one connection: hits earn it, misses spend it, and without it the connection only samples."""

    __slots__ = ("_credit", "_skipped")

    def __init__(self) -> None:
        self._credit = _INITIAL_CREDIT
        self._skipped = 0

    def tries(self) -> bool:
        """Whether to look up the next head."""
        if self._credit > 0:
            return True
        self._skipped += 1
        return self._skipped % _PROBE == 0

    def found(self) -> None:
        """A hit."""
        self._credit = min(self._credit + _HIT, _MAX_CREDIT)

    def missed(self) -> None:
        """A miss."""
        self._credit = max(self._credit - _MISS, 0)
