"""A cache of parsed heads, keyed by their bytes: most clients and instances repeat themselves.

A parser in the same state parses the same bytes to the same result, so a cached result is exact. The parser reads a
head on a miss, when it is longer than `LONGEST`, or when it arrives in several reads.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

T = TypeVar("T")

LONGEST: Final = 4_096
"""Bytes of the longest head that is cached."""
ENTRIES: Final = 512
"""Entries of one generation."""
_SAMPLE: Final = 8
"""One of this many misses is cached. Frequent heads are cached soon, and most heads that occur once are not."""
_HIT: Final = 2
_MISS: Final = 1
"""A hit saves about twice what a miss costs (docs/explanation/performance.md)."""
_INITIAL_CREDIT: Final = 16
"""Misses a new connection may make before it samples."""
_MAX_CREDIT: Final = 64
_PROBE: Final = 32
"""A connection without credit looks up one of this many heads."""


class HeadCache(Generic[T]):
    """Parsed heads by their bytes, for all connections of one event loop.

    Bounded: two generations of `ENTRIES`. A hit moves its entry to the younger. A full younger replaces the elder.
    """

    __slots__ = ("_elder", "_misses", "_sample", "_younger")

    def __init__(self, sample: int = _SAMPLE) -> None:
        """One of `sample` misses is cached; 1: all."""
        self._younger: dict[bytes, T] = {}
        self._elder: dict[bytes, T] = {}
        self._sample = sample
        self._misses = 0

    def get(self, head: bytes) -> T | None:
        """The parsed head for these bytes; None on a miss."""
        found = self._younger.get(head)
        if found is None:
            found = self._elder.get(head)
            if found is not None:
                self.put(head, found)
        return found

    def admit(self) -> bool:
        """Whether to `put` a head that missed. Call it once for each miss."""
        first = self._misses % self._sample == 0
        self._misses += 1
        return first

    def put(self, head: bytes, reading: T) -> None:
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

    def allows(self) -> bool:
        """Whether to look up the next head."""
        if self._credit > 0:
            return True
        self._skipped += 1
        return self._skipped % _PROBE == 0

    def hit(self) -> None:
        """A hit."""
        self._credit = min(self._credit + _HIT, _MAX_CREDIT)

    def miss(self) -> None:
        """A miss."""
        self._credit = max(self._credit - _MISS, 0)
