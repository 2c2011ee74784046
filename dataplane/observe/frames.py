"""The statistics a worker sends once a second: the counters of its recorder, its breakers and its rate limits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.bucket_reports import BucketReport
from dataplane.gateway.policy.circuit import CircuitReport
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import BUILTIN
from dataplane.observe.record import Recorder

_log = logging.getLogger(__name__)


class StatsFrames:
    """Makes the frames that `stats.NodeStats` reads, and logs the transitions of the breakers."""

    def __init__(self, recorder: Recorder, breakers: Breakers, limiter: Limiter) -> None:
        self._recorder = recorder
        self._breakers = breakers
        self._limiter = limiter
        self._refused = 0
        self._admitted: dict[str, float] = {}

    def next(
        self,
        now: float,
        wall: float,
        connections: int,
        refused: int = 0,
        ejected: Sequence[str] = (),
        buckets: Sequence[BucketReport] | None = None,
        *,
        in_flight: int = 0,
        telemetry: Mapping[str, Any] | None = None,
        compressed: Sequence[tuple[str | int, ...]] = (),
        authorizations: Sequence[Sequence[object]] = (),
    ) -> dict[str, Any]:
        """The frame at monotonic time `now`, Unix time `wall`; `refused` connections since the start.

        `telemetry` has more fields of the frame (`telemetry.worker`).
        `compressed` is the report of `proxy.compression`, `authorizations` that of `gateway.authorizing`.
        `buckets` is the limiter's report; None: request it now.
        """
        self._log_transitions()
        before, self._refused = self._refused, refused
        if buckets is None:
            buckets = self._limiter.report(now)
        return {
            **self._recorder.report(),
            "circuits": [
                _circuit(report, wall - now)
                for report in self._breakers.changes(now)
                if not report.service.startswith(BUILTIN)
            ],
            "buckets": [[b.name, b.key, b.remaining, b.refused, b.place, b.held, b.away] for b in buckets],
            "admitted": self._news_of(self._limiter.admitted()),
            "limited": self._limited(),
            "away": self._limiter.away(now),
            "unanswered": self._limiter.unanswered(),
            "connections": connections,
            "in_flight": in_flight,
            "ejected": list(ejected),
            "connections_refused": refused - before,
            "compressed": list(compressed),
            "authorizations": list(authorizations),
            **(telemetry or {}),
        }

    def _limited(self) -> dict[str, int]:
        """Refusals since the last frame, by limit. The dictionary stays: checks know it."""
        refusals = self._limiter.refusals
        found = dict(refusals)
        refusals.clear()
        return found

    def _news_of(self, admitted: dict[str, float]) -> dict[str, float]:
        """Requests admitted since the last frame, by limit."""
        before, self._admitted = self._admitted, admitted
        return {
            name: round(count - before.get(name, 0.0), 3)
            for name, count in admitted.items()
            if count != before.get(name, 0.0)
        }

    def _log_transitions(self) -> None:
        for change in self._breakers.drain():
            extra = {"service": change.service, "circuit": change.new.value, "before": change.old.value}
            _log.warning(change.reason or "Circuit changed its state", extra=extra)


def _circuit(report: CircuitReport, offset: float) -> list[object]:
    """The fields of CircuitStats; `offset` turns monotonic time into Unix time."""
    changed = report.last_state_change
    return [
        report.service,
        report.state,
        0.0 if changed is None else changed + offset,
        report.total_requests,
        report.failed_requests,
        report.rejected_requests,
        report.recent_failures,
        report.reason,
    ]
