"""Shares of requests by weight: an even sequence, so that a few hundred requests already have the right shares.

The sequence is that of the golden ratio: its points fill [0, 1) evenly at any length (Knuth, The Art of Computer
Programming 6.4, theorem S). It goes on when weights change, so frequent changes of configuration give small shares
their requests, too. A caller with a key gets the point of its key, and stays on its side; when a weight changes, only
callers between the old and the new border move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from zlib import crc32

_STEP: Final = 0.6180339887498949
_RANGE: Final = 1 << 32


class Points:
    """Points of one route in one worker, evenly spread over [0, 1)."""

    __slots__ = ("_at",)

    def __init__(self, start: float = 0.0) -> None:
        self._at = start % 1.0

    def next(self) -> float:
        """The next point."""
        self._at = (self._at + _STEP) % 1.0
        return self._at

    def twin(self) -> Points:
        """A copy at the same point."""
        return Points(self._at)


def point_of(key: str) -> float:
    """The point of a caller in [0, 1), the same on every data plane."""
    return crc32(key.encode("utf-8", "surrogatepass")) / _RANGE


def borders(weights: Sequence[int]) -> list[float]:
    """The upper border of each share in [0, 1]; empty if all weights are 0."""
    total = sum(weights)
    reached, found = 0, list[float]()
    for weight in weights:
        reached += weight
        found.append(reached / total if total else 0.0)
    return found if total else []


def side(borders: Sequence[float], point: float) -> int:
    """The position of the share that a point falls into."""
    for position in range(len(borders)):
        if point < borders[position]:
            return position
    raise ValueError(f"{point} is not below {borders}")
