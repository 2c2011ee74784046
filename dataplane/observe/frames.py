"""What a worker says of itself once a second: what its recorder counted, its breakers and its rate limits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dataplane.config.builtin import STATUS_SERVICE
from dataplane.config.reports import BucketStats, CircuitStats
from dataplane.gateway.policy.breaker import Breakers, CircuitReport
from dataplane.gateway.policy.limiter import Limiter
from dataplane.observe.record import Recorder

_log = logging.getLogger(__name__)


class StatsFrames:
    """Makes the frames that `stats.NodeStats` reads; logs what the breakers did meanwhile."""

    def __init__(self, recorder: Recorder, breakers: Breakers, limiter: Limiter) -> None:
        self._recorder = recorder
        self._breakers = breakers
        self._limiter = limiter
        self._told: dict[str, CircuitReport] = {}
        self._refused = 0

    def next(
        self, now: float, wall: float, connections: int, refused: int = 0, ejected: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The frame at monotonic time `now`, Unix time `wall`; `refused` connections since the start."""
        self._log_transitions()
        before, self._refused = self._refused, refused
        buckets = self._limiter.report(now)
        return {
            **self._recorder.report(),
            "circuits": [asdict(_circuit(report, wall - now)) for report in self._changed(now)],
            "buckets": [asdict(BucketStats(b.name, b.key, b.remaining, b.refused)) for b in buckets],
            "connections": connections,
            "ejected": list(ejected),
            "connections_refused": refused - before,
        }

    def _changed(self, now: float) -> list[CircuitReport]:
        """The breakers of which there is something new to tell."""
        reports = {report.service: report for report in self._breakers.report(now)}
        reports.pop(STATUS_SERVICE, None)
        before, self._told = self._told, reports
        return [report for name, report in reports.items() if before.get(name) != report]

    def _log_transitions(self) -> None:
        for change in self._breakers.drain():
            extra = {"service": change.service, "circuit": change.new.value, "before": change.old.value}
            _log.warning(change.reason or "Circuit changed its state", extra=extra)


def _circuit(report: CircuitReport, offset: float) -> CircuitStats:
    """As the control plane is told: `offset` makes Unix time of monotonic time."""
    changed = report.last_state_change
    return CircuitStats(
        service=report.service,
        state=report.state,
        last_state_change=0.0 if changed is None else changed + offset,
        total_requests=report.total_requests,
        failed_requests=report.failed_requests,
        rejected_requests=report.rejected_requests,
        recent_failures=report.recent_failures,
        reason=report.reason,
    )
