"""Readiness of this node for traffic."""

from __future__ import annotations

import time
from collections.abc import Callable

from dataplane.health import Prober
from dataplane.supervisor.change import Changes
from dataplane.supervisor.workers import Workers

FIRST_PROBES = 5.0
"""Seconds that readiness waits for the first probes of the first table, at most: one instance may never answer."""


class Readiness:
    """A node is ready when every worker serves a table and none is draining.

    The control plane does not matter: a node that cannot reach it serves the configuration it has.
    """

    def __init__(
        self,
        changes: Changes,
        workers: Workers,
        prober: Prober,
        wanted: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wanted` is the number of workers that must serve."""
        self._changes = changes
        self._workers = workers
        self._prober = prober
        self._wanted = wanted
        self._clock = clock
        self._served_since: float | None = None
        self._probed = False

    def reason(self) -> str:
        """The reason the node is not ready; empty when it is."""
        if self._workers.draining:
            return "draining"
        if not self._changes.served.revision:
            return "no configuration yet"
        if (loaded := self._workers.loaded) < self._wanted:
            return f"{loaded} of {self._wanted} workers serve a configuration"
        if not self._first_probes_done():
            return "instances are being probed for the first time"
        return ""

    def _first_probes_done(self) -> bool:
        """Whether the workers know the result of every first probe, or FIRST_PROBES seconds have passed.

        Until its first probe passes, an instance takes no traffic.
        """
        if self._served_since is None:
            self._served_since = self._clock()
        if not self._probed:
            waited = self._clock() - self._served_since
            told = self._prober.first_round_done and self._workers.unavailable == self._prober.unavailable()
            self._probed = told or waited > FIRST_PROBES
        return self._probed
