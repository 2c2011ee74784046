"""Counts a worker's requests as plain integers, and writes the access log's line for each.

`Recorder.finished` runs for every request, so its cost is counted in nanoseconds. The worker sends the counters once a
second; the supervisor sums them (module `stats`) and exports them to Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from dataplane.observe.access import AccessLog
from dataplane.observe.lines import JsonLines, Lines
from dataplane.observe.stats import LATENCY_BOUNDS, STATUS_CLASSES
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.fields.trace import ALWAYS, own_id
from dataplane.proxy.pool import Endpoint

UPSTREAM_ERRORS = frozenset({"unavailable", "bad_response", "timed_out"})
"""Decisions that an instance caused."""
ANSWERS = frozenset({"responded", "redirected", "preflight"})
"""Decisions that are no refusals: the route answers by itself."""
_NO_COUNTS = [0] * len(STATUS_CLASSES)
_NO_LATENCY = [0.0] * (len(LATENCY_BOUNDS) + 2)


class Recorder:
    """Counts and logs every exchange of one worker."""

    def __init__(self, log: AccessLog | None, lines: Lines | None = None, sampled: bytes = ALWAYS) -> None:
        """`lines` writes the lines of the log; `sampled` is the threshold (`fields.trace.threshold`) below which good
        requests are logged. All others always are."""
        self._log = log
        self._lines = lines or JsonLines()
        self._sampled = sampled
        self._requests: dict[str, list[int]] = {}
        self._latency: dict[str, list[float]] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._upstream_errors: dict[tuple[str, str], int] = {}
        self._retries: dict[str, int] = {}
        self._shadowed: dict[str, int] = {}
        self._endpoints: list[Endpoint] = []
        """Those with counts: they count by themselves, without a look-up for each request."""
        self._dropped = 0

    def finished(self, exchange: Exchange) -> None:
        """Count one exchange, and write its line."""
        plan = exchange.plan
        name, service = (plan.route_name, plan.service_name) if plan is not None else ("", "")
        counts = self._requests.get(name)
        if counts is None:
            counts = self._requests[name] = _NO_COUNTS.copy()
        counts[exchange.status // 100] += 1
        # An exchange whose client left before its turn was never started.
        seconds = exchange.ended - (exchange.started or exchange.ended)
        if exchange.sent_at:
            latency = self._latency.get(service)
            if latency is None:
                latency = self._latency[service] = _NO_LATENCY.copy()
            latency[bisect_left(LATENCY_BOUNDS, seconds)] += 1
            latency[-1] += seconds
        endpoint = exchange.endpoint
        if endpoint is not None:
            if not endpoint.served:
                self._endpoints.append(endpoint)
            endpoint.served += 1
            if exchange.status >= 500:
                endpoint.faults += 1
        if exchange.attempts > 1:
            retries = self._retries.get(service, 0)
            self._retries[service] = retries + exchange.attempts - 1
        if exchange.decision != "forwarded" and exchange.decision not in ANSWERS:
            self._refused(name, service, exchange.decision)
        if exchange.shadowed:
            for limit in exchange.shadowed:
                self._shadowed[limit] = self._shadowed.get(limit, 0) + 1
        if self._log is not None and (self._sampled is ALWAYS or is_logged(exchange, self._sampled)):
            self._log.write(self._lines.line(exchange, name, service, seconds))

    def report(self) -> dict[str, Any]:
        """The counters since the last report, as JSON values. Also flushes the access log.

        Call it about once a second.
        """
        self._lines.set_clock()
        before, self._dropped = self._dropped, self._flush()
        report = {
            "requests": self._requests,
            "latency": self._latency,
            "refusals": [(*key, count) for key, count in self._refusals.items()],
            "upstream_errors": [(*key, count) for key, count in self._upstream_errors.items()],
            "retries": self._retries,
            "shadowed": self._shadowed,
            "instances": [_taken(endpoint) for endpoint in self._endpoints],
            "access_log_drops": self._dropped - before,
        }
        self._requests, self._latency, self._refusals, self._upstream_errors = {}, {}, {}, {}
        self._retries, self._shadowed, self._endpoints = {}, {}, []
        return report

    def _flush(self) -> int:
        """Flush the access log. Returns the lines dropped since the start."""
        if self._log is None:
            return 0
        self._log.flush()
        return self._log.dropped

    def _refused(self, route: str, service: str, decision: str) -> None:
        if decision in UPSTREAM_ERRORS:
            counts, key = self._upstream_errors, (service, decision)
        else:
            counts, key = self._refusals, (route, decision)
        counts[key] = counts.get(key, 0) + 1


def is_logged(exchange: Exchange, sampled: bytes) -> bool:
    """Whether the request is in the sample, or not a good one: refused, failed, retried, or refused in shadow."""
    refused = exchange.decision != "forwarded" and exchange.decision not in ANSWERS
    if refused or exchange.status >= 400 or exchange.attempts > 1:
        return True
    return bool(exchange.shadowed) or own_id(exchange.request, exchange.request_id)[16:] < sampled


def _taken(endpoint: Endpoint) -> tuple[str, str, int, int]:
    """Service, id and counts of an instance, which begin again at 0."""
    counts = endpoint.served, endpoint.faults
    endpoint.served = endpoint.faults = 0
    return endpoint.instance.service, endpoint.id, *counts
