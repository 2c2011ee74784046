"""The shares of a data plane's workers: what the successors of workers may spend that end while no owner answers.

To the owners, such a worker is silent as long as the messages of its run name it. So its name stays in the messages
until its successor has dropped the share (`successor`). A record on disk lets the next process of the data plane do the
same, as the same run. It exists only while no owner answers: terms do not change then. It must be gone before an answer
reaches a worker, and before a message leaves that does not name all its workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from headgate_api.leases.messages import LEASE, SKEW, Answer
from headgate_api.leases.successor import Share


class Row(NamedTuple):
    """The share that a worker, "<index>.<number>", has of one limit."""

    worker: str
    limit: str
    counts_by: str
    share: Share


class _Known(NamedTuple):
    """The last ask and answer of a worker about a limit."""

    run: int
    epoch: int = 0
    stamp: float = -math.inf


class Shares:
    """What the supervisor knows of its workers, and of those that ended."""

    def __init__(self, rows: Iterable[Row] = (), *, recorded: bool = False) -> None:
        """`rows`: the record of the process before, which is still on disk. `recorded`: whether there may be another
        record."""
        self._rows = {(row.worker, row.limit): row for row in rows}
        self._known: dict[tuple[str, str], _Known] = {}
        self._heard = -math.inf
        """When the last answer came."""
        self.former = dict.fromkeys(worker for worker, _ in self._rows)
        """Workers that ended, and whose shares may be in use."""
        self._recorded = recorded or bool(self._rows)
        """Whether there may be a record on disk: one that could not be removed, too."""
        self._current = bool(self._rows)
        """Whether the record has these rows."""
        self.outdated = False
        """Whether the record must be removed before any message passes."""

    def asked(self, worker: str, limit: str, run: int) -> None:
        """An ask is to leave. With a new run, the worker has no tokens of the former one."""
        known = self._known.get((worker, limit))
        if known is None or known.run != run:
            self._known[worker, limit] = _Known(run)
            self._forget([(worker, limit)])

    def answered(self, worker: str, limit: str, counts_by: str, answer: Answer, now: float) -> None:
        """An owner's answer is to reach a worker."""
        self._heard = now
        self.outdated = self._recorded
        known = self._known.get((worker, limit))
        if known is None or answer.stamp <= known.stamp:
            return
        self._known[worker, limit] = _Known(known.run, max(known.epoch, answer.epoch), answer.stamp)
        if answer.epoch >= known.epoch and answer.starter and answer.pace > 0:
            share = Share(answer.starter, answer.pace, answer.stamp + answer.lease)
            self._rows[worker, limit] = Row(worker, limit, counts_by, share)
        else:
            # After an answer of an earlier owner, it is not known which terms the worker follows.
            self._rows.pop((worker, limit), None)

    def ended(self, worker: str, now: float) -> None:
        """A worker's process has ended. While an owner answers, its successor needs no share."""
        places = [place for place in self._rows if place[0] == worker]
        if places and self.away(now):
            self.former[worker] = None
        else:
            self._forget(places)
        for place in [place for place in self._known if place[0] == worker]:
            del self._known[place]

    def left_to(self, index: int) -> list[Row]:
        """The shares for a new worker with this index: those of its predecessors, one for each limit."""
        found: dict[str, Row] = {}
        for worker in sorted(self._predecessors(index), key=_number):
            found |= {limit: row for (name, limit), row in self._rows.items() if name == worker}
        return list(found.values())

    def dropped(self, index: int) -> None:
        """The worker with this index has dropped the shares of its predecessors."""
        self._release(self._predecessors(index))

    def away(self, now: float) -> bool:
        """Whether no owner answers."""
        return now >= self._heard + LEASE * SKEW

    def due(self, now: float) -> list[Row]:
        """The record to write now; empty if none is due."""
        if self.former:
            lasting = {row.worker for row in self._rows.values() if now < row.share.until}
            self._release([worker for worker in self.former if worker not in lasting])
        if self._current or not self.away(now):
            return []
        if not self._rows:
            self.outdated = self._recorded
            return []
        self._current = self._recorded = True
        return list(self._rows.values())

    def written(self, *, done: bool) -> None:
        """The record was written, or could not be: then it is due again."""
        self._current = self._current and done

    def removed(self, *, gone: bool) -> None:
        """The record was removed, or could not be: then it is tried again with the next answer."""
        self._recorded, self._current, self.outdated = not gone, False, False

    def _predecessors(self, index: int) -> list[str]:
        return [worker for worker in self.former if worker.startswith(f"{index}.")]

    def _release(self, workers: Iterable[str]) -> None:
        for worker in workers:
            del self.former[worker]
            self._forget([place for place in self._rows if place[0] == worker])

    def _forget(self, places: Iterable[tuple[str, str]]) -> None:
        for place in places:
            if self._rows.pop(place, None) is not None:
                self.outdated = self._recorded


def _number(worker: str) -> int:
    return int(worker.partition(".")[2])
