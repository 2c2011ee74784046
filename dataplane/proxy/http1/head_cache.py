"""What was read before, found again by its bytes: who talks often mostly says the same again.

A parser in the same state reads the same bytes the same way. So what it made of a head stands for that head whenever it
comes again, whole and in one read, and there is still one reading of every message: the parser's. Whatever is not found
here, is longer than `LONGEST` or comes in pieces goes to the parser.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

T = TypeVar("T")

LONGEST: Final = 4_096
"""Bytes of a head that is remembered; a longer one is read each time."""
ENTRIES: Final = 512
"""Heads that a generation holds."""
_LEARNT: Final = 8
"""One of so many new heads is learnt: soon every one that comes often, and few that were read for once."""
_HIT: Final = 2
_MISS: Final = 1
"""A hit saves about twice what a miss costs (docs/performance.md)."""
_FIRST: Final = 16
"""Misses that a new connection has credit for."""
_MOST: Final = 64
"""The most credit that a connection can save up."""
_ANYHOW: Final = 32
"""Without credit, one head of so many is looked up."""


class Remembered(Generic[T]):
    """Readings by the bytes they were made of, for all connections of one event loop.

    Bounded: two generations of `ENTRIES`. What is asked for moves to the younger; when that is full, the elder goes.
    """

    __slots__ = ("_elder", "_new", "_younger")

    def __init__(self) -> None:
        self._younger: dict[bytes, T] = {}
        self._elder: dict[bytes, T] = {}
        self._new = 0

    def recall(self, head: bytes) -> T | None:
        """The reading of these bytes, if they are remembered."""
        found = self._younger.get(head)
        if found is None:
            found = self._elder.get(head)
            if found is not None:
                self.keep(head, found)
        return found

    def learns(self) -> bool:
        """Whether to `keep` a head that was not remembered and has been read; to be asked once for each."""
        self._new += 1
        return self._new % _LEARNT == 1

    def keep(self, head: bytes, reading: T) -> None:
        """Remember a reading."""
        if len(self._younger) >= ENTRIES:
            self._elder = self._younger
            self._younger = {}
        self._younger[head] = reading


class Luck:
    """How often one connection finds what it looks for: where it hardly ever does, it hardly looks."""

    __slots__ = ("_left", "_passed")

    def __init__(self) -> None:
        self._left = _FIRST
        self._passed = 0

    def tries(self) -> bool:
        """Whether to look; out of luck, now and then."""
        if self._left > 0:
            return True
        self._passed += 1
        return self._passed % _ANYHOW == 0

    def found(self) -> None:
        """It was there."""
        self._left = min(self._left + _HIT, _MOST)

    def missed(self) -> None:
        """It was not."""
        self._left = max(self._left - _MISS, 0)
