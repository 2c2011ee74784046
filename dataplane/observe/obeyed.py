"""Orders to fill up the buckets of a key: what each worker of the node found, put together when all have obeyed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dataplane.config.reports import ResetStats

MOST = 32
"""Orders that are remembered."""


class _Order:
    """What is known of one order."""

    def __init__(self) -> None:
        self.workers: set[int] = set()
        """Those that have obeyed."""
        self.limits: set[str] = set()
        self.shared: set[str] = set()
        self.unreached: list[set[str]] = []
        """Of each worker that asked Redis."""


class ObeyedResets:
    """The orders of late. A worker that is started again says of each that it found nothing."""

    def __init__(self) -> None:
        self.obeyed: tuple[ResetStats, ...] = ()
        """Those that all workers have obeyed."""
        self._orders: dict[int, _Order] = {}

    def take(self, worker: int, report: Mapping[str, Any], workers: int) -> bool:
        """What this one of so many workers found. Whether all have obeyed the order now, and had not before."""
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
        # Redis obeys once, so that one worker that reaches it is enough.
        unreached = set.intersection(*order.unreached)
        done = ResetStats(
            revision, *(tuple(sorted(each)) for each in (order.limits, order.shared, unreached))
        )
        self.obeyed = (*self.obeyed, done)[-MOST:]
        return True
