"""Lease renewals that wait for an answer, and leases that were renewed a moment ago. No I/O; time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

PART = 6
"""A lease that was renewed within this part of its time is not renewed again."""
LONGEST = 5.0
"""Most seconds for which that holds."""

W = TypeVar("W")


@dataclass(slots=True)
class _Asked(Generic[W]):
    at: float
    waiters: list[W] = field(default_factory=list)
    revoked: bool = False
    """The lease was revoked meanwhile: an answer that was already on its way says nothing of it."""
    late: list[W] = field(default_factory=list)
    """Callers that asked after that. The renewal was sent again for them: the second answer is theirs."""


class Renewals(Generic[W]):
    """Renewals in the order of the calls, each with the calls that wait for it."""

    def __init__(self) -> None:
        self._asked: dict[int, _Asked[W]] = {}
        self._renewed: dict[int, tuple[float, float]] = {}
        """Time of each lease's renewal, and its duration; the previous generation is in `_older`."""
        self._older: dict[int, tuple[float, float]] = {}
        self._turned = 0.0

    def __len__(self) -> int:
        return len(self._asked)

    def left(self, lease: int, now: float) -> float | None:
        """Seconds left of a lease that was renewed a moment ago; None when it has to be renewed."""
        at, ttl = self._renewed.get(lease) or self._older.get(lease) or (0.0, 0.0)
        return ttl - (now - at) if now - at < min(ttl / PART, LONGEST) else None

    def ask(self, lease: int, waiter: W, now: float) -> bool:
        """Wait for a renewal. Returns whether it must be sent, because it is not under way yet."""
        asked = self._asked.get(lease)
        if asked is None:
            self._asked[lease] = _Asked(now, [waiter])
            return True
        if asked.revoked:
            asked.late.append(waiter)
            return len(asked.late) == 1
        asked.waiters.append(waiter)
        return False

    def answered(self, lease: int, ttl: float, now: float) -> list[W]:
        """etcd has renewed a lease, or no longer knows it (0). Returns the callers that waited for that."""
        self._turn(now)
        asked = self._asked.pop(lease, None)
        if ttl > 0 and not (asked is not None and asked.revoked):
            self._renewed[lease] = now, ttl
        if asked is None:
            return []
        if asked.late:
            self._asked[lease] = _Asked(now, asked.late)
        return asked.waiters

    def unanswered(self) -> list[int]:
        """The leases to be sent (again) over a new stream, each of which has one answer there."""
        for asked in self._asked.values():
            asked.waiters += asked.late
            asked.late, asked.revoked = [], False
        return list(self._asked)

    @property
    def oldest(self) -> float | None:
        """When the longest wait began."""
        return next(iter(self._asked.values())).at if self._asked else None

    def overdue(self, before: float) -> list[tuple[int, W]]:
        """Give up renewals that were requested by then. Returns the leases, and the callers that waited for them."""
        waiters: list[tuple[int, W]] = []
        while (oldest := self.oldest) is not None and oldest <= before:
            lease = next(iter(self._asked))
            asked = self._asked.pop(lease)
            waiters += ((lease, waiter) for waiter in (*asked.waiters, *asked.late))
        return waiters

    def forget(self, lease: int) -> None:
        """The lease was revoked: forget its last renewal."""
        self._renewed.pop(lease, None)
        self._older.pop(lease, None)
        if (asked := self._asked.get(lease)) is not None:
            asked.revoked = True

    def _turn(self, now: float) -> None:
        if now - self._turned >= LONGEST:
            self._older, self._renewed, self._turned = self._renewed, {}, now
