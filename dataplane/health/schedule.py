"""The order and time of the next probes. Pure: the time is an argument.

A number of slots bounds the probes in flight. An instance that never answers holds its slot until its time-out, so the
slots are shared by three rules that keep such instances from delaying the others:

1. A service starts another probe only while it holds fewer slots than are free (dynamic threshold: Choudhury and Hahne,
   1998). One service alone gets half of the slots, and some are left for every newcomer.
2. Instances whose last probe was slow share at most half of the slots.
3. Of the probes that are due, the first probes of instances go first, then quick ones, then slow ones; among these,
the service that holds the fewest slots, then the shortest time-out, then the longest wait decides.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

SLOW = 1.0
"""Seconds after which a probe counts as slow."""
_SPARE = 64
"""Outdated entries that a heap may hold beyond the number of its valid ones."""


class Rank(IntEnum):
    """The duration of an instance's last probe, in classes."""

    FIRST = 0
    """Not probed yet."""
    QUICK = 1
    SLOW = 2


@dataclass(slots=True, eq=False)
class Job:
    """The probes of one instance, one after the other."""

    service: str
    timeout: float
    rank: Rank = Rank.FIRST
    due: float = 0.0
    """Time from which the next probe may start."""
    started: float = 0.0
    version: int = field(default=0, repr=False)
    """Heap entries that carry another version are outdated."""


class _Entry(NamedTuple):
    """The head of one service's queue, in the order of rule 3."""

    held: int
    timeout: float
    due: float
    number: int
    service: str


_Queue = list[tuple[float, float, int, int, Job]]
"""Time-out, due, a number that makes entries differ, version, job."""


class Schedule:
    """The probes that are planned, due and in flight."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._planned: list[tuple[float, int, int, Job]] = []
        self._queues: dict[tuple[Rank, str], _Queue] = {}
        """Due jobs by rank and service."""
        self._heads: dict[Rank, list[_Entry]] = {rank: [] for rank in Rank}
        self._valid: dict[Rank, dict[str, _Entry]] = {rank: {} for rank in Rank}
        """The current entry in `_heads` of each service; others are outdated."""
        self._held: dict[str, int] = {}
        """Slots in use by service."""
        self._free = slots
        self._slow = 0
        self._number = 0

    @property
    def in_flight(self) -> int:
        """Slots in use."""
        return self._slots - self._free

    def plan(self, job: Job, at: float) -> None:
        """Let the next probe start at `at`, or as soon after it as the rules allow."""
        job.version += 1
        job.due = at
        heapq.heappush(self._planned, (at, self._next(), job.version, job))

    def drop(self, job: Job) -> None:
        """Cancel the planned probe. A probe in flight holds its slot until `end`."""
        job.version += 1

    def wake_at(self) -> float | None:
        """Time at which the next planned probe is due; None without any."""
        while self._planned and self._planned[0][2] != self._planned[0][3].version:
            heapq.heappop(self._planned)
        return self._planned[0][0] if self._planned else None

    def start(self, now: float) -> Job | None:
        """The next probe to start; it holds a slot from now on. None when none is due or may start."""
        self._collect_due(now)
        for rank in Rank:
            if rank is Rank.SLOW and self._slow >= self._slots // 2:
                break
            head = self._head(rank)
            if head is not None and head.held < self._free:
                return self._take(rank, head.service, now)
        return None

    def end(self, job: Job, now: float) -> None:
        """The probe that `start` returned has ended, or was cancelled."""
        self._slow -= job.rank is Rank.SLOW
        self._hold(job.service, -1)
        job.rank = Rank.SLOW if now - job.started > SLOW else Rank.QUICK

    def _collect_due(self, now: float) -> None:
        """Move due jobs from the plan to the queues."""
        while (at := self.wake_at()) is not None and at <= now:
            due, number, version, job = heapq.heappop(self._planned)
            queue = self._queues.setdefault((job.rank, job.service), [])
            heapq.heappush(queue, (job.timeout, due, number, version, job))
            if queue[0][2] == number:
                self._refresh(job.rank, job.service)

    def _take(self, rank: Rank, service: str, now: float) -> Job:
        job = heapq.heappop(self._queues[rank, service])[-1]
        job.started = now
        self._slow += rank is Rank.SLOW
        self._hold(service, 1)
        return job

    def _hold(self, service: str, change: int) -> None:
        held = self._held.get(service, 0) + change
        if held:
            self._held[service] = held
        else:
            del self._held[service]
        self._free -= change
        for rank in Rank:
            self._refresh(rank, service)

    def _head(self, rank: Rank) -> _Entry | None:
        """The entry of the next service; None without any."""
        heads, valid = self._heads[rank], self._valid[rank]
        while heads:
            entry = heads[0]
            if valid.get(entry.service) is not entry:
                heapq.heappop(heads)
            elif self._drop_outdated(rank, entry.service):
                self._refresh(rank, entry.service)
            else:
                return entry
        return None

    def _drop_outdated(self, rank: Rank, service: str) -> bool:
        """Remove dropped jobs from the head of a queue. True when there were any."""
        queue = self._queues[rank, service]
        before = len(queue)
        while queue and queue[0][3] != queue[0][4].version:
            heapq.heappop(queue)
        return len(queue) < before

    def _refresh(self, rank: Rank, service: str) -> None:
        """Update the entry for the head of this queue."""
        queue, valid, heads = self._queues.get((rank, service)), self._valid[rank], self._heads[rank]
        if not queue:
            self._queues.pop((rank, service), None)
            valid.pop(service, None)
            return
        timeout, due, number, _, _ = queue[0]
        entry = valid[service] = _Entry(self._held.get(service, 0), timeout, due, number, service)
        heapq.heappush(heads, entry)
        if len(heads) > 2 * len(valid) + _SPARE:
            heads[:] = valid.values()
            heapq.heapify(heads)

    def _next(self) -> int:
        self._number += 1
        return self._number
