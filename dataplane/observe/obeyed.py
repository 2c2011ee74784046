"""Orders to refill the buckets of a key: the buckets that each worker of the node found, combined when all have
obeyed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataplane.config.reports import ResetStats

MOST = 32
"""Orders that are remembered."""


class _Order:
    """The state of one order."""

    def __init__(self) -> None:
        self.workers: set[int] = set()
        """Workers that have carried it out."""
        self.limits: set[str] = set()
        self.shared: set[str] = set()
        self.unreached: list[set[str]] = []
        """The outcome of each worker that asked Redis."""


class ObeyedResets:
    """Recent orders. A restarted worker reports for each of them that it found nothing."""

    def __init__(self) -> None:
        self.obeyed: tuple[ResetStats, ...] = ()
        """Orders that all workers have carried out."""
        self._orders: dict[int, _Order] = {}

    def take(self, worker: int, report: Mapping[str, Any], workers: int) -> bool:
        """Record the report of `worker`, one of `workers`. Returns whether it was the last one outstanding."""
        revision = int(report["revision"])
        order = self._orders.setdefault(revision, _Order())
        if worker in order.workers:
            return False
        order.workers.add(worker)
        order.limits.update(map(str, report["limits"]))
        order.shared.update(map(str, report["shared"]))
        order.unreached.append(set(map(str, report["unreached"])))
        while len(self._orders) > MOST:
            del self._orders[next(iter(self._orders))]
        if len(order.workers) != workers:
            return False
        # Redis carries an order out once, so one worker that reaches it is enough.
        unreached = set.intersection(*order.unreached)
        done = ResetStats(
            revision, *(tuple(sorted(each)) for each in (order.limits, order.shared, unreached))
        )
        self.obeyed = (*self.obeyed, done)[-MOST:]
        return True
