"""Whether traffic should come to this node."""

from __future__ import annotations

import time
from collections.abc import Callable

from dataplane.health import Prober
from dataplane.supervisor.change import Changes
from dataplane.supervisor.workers import Pool

FIRST_PROBES = 2.0
"""Seconds for which the first table waits for its first probes."""


class Readiness:
    """A node is ready when every worker serves a table and does not drain.

    Being ready says nothing of the control plane: a node without one serves what it has.
    """

    def __init__(
        self,
        changes: Changes,
        pool: Pool,
        prober: Prober,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes = changes
        self._pool = pool
        self._prober = prober
        self._workers = workers
        self._clock = clock
        self._served_since: float | None = None
        self._probed = False

    def reason(self) -> str:
        """Why traffic should go elsewhere; empty when it should come."""
        if self._pool.draining:
            return "draining"
        if not self._changes.served.revision:
            return "no configuration yet"
        if (loaded := self._pool.loaded) < self._workers:
            return f"{loaded} of {self._workers} workers serve a configuration"
        if not self._first_probes_are_in():
            return "instances are being probed for the first time"
        return ""

    def _first_probes_are_in(self) -> bool:
        """And known to the workers. Until then every instance is taken for one that is not healthy; but that is not
        waited for for ever.
        """
        if self._served_since is None:
            self._served_since = self._clock()
        if not self._probed:
            waited = self._clock() - self._served_since
            told = self._prober.first_round_done and self._pool.unavailable == self._prober.unavailable()
            self._probed = told or waited > FIRST_PROBES
        return self._probed
