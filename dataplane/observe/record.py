"""Counts a worker's requests as plain integers, and writes the access log's line for each.

`Recorder.finished` runs for every request, so its cost is counted in nanoseconds. The worker sends the counters once a
second; the supervisor sums them (module `stats`) and exports them to Prometheus.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from dataplane.observe.access import AccessLog
from dataplane.observe.stats import LATENCY_BOUNDS, STATUS_CLASSES
from dataplane.proxy.exchange import Exchange

UPSTREAM_ERRORS = frozenset({"unavailable", "bad_response", "timed_out"})
"""Decisions that an instance caused."""
_NO_COUNTS = [0] * len(STATUS_CLASSES)
_NO_LATENCY = [0.0] * (len(LATENCY_BOUNDS) + 2)


class Recorder:
    """Counts and logs every exchange of one worker."""

    def __init__(self, log: AccessLog | None) -> None:
        self._log = log
        self._requests: dict[str, list[int]] = {}
        self._latency: dict[str, list[float]] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._upstream_errors: dict[tuple[str, str], int] = {}
        self._retries: dict[str, int] = {}
        self._shadowed: dict[str, int] = {}
        self._dropped = 0
        self._millisecond = 0
        self._time = ""
        self._offset = time.time() - time.monotonic()

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
        if exchange.attempts > 1:
            retries = self._retries.get(service, 0)
            self._retries[service] = retries + exchange.attempts - 1
        if exchange.decision != "forwarded":
            self._refused(name, service, exchange.decision)
        if exchange.shadowed:
            for limit in exchange.shadowed:
                self._shadowed[limit] = self._shadowed.get(limit, 0) + 1
        if self._log is not None:
            self._log.write(self.line(exchange, name, service, seconds))

    def line(self, exchange: Exchange, route: str, service: str, seconds: float) -> str:
        """The exchange as one line of JSON.

        Names from the configuration, addresses, methods, hosts and request ids have no characters that JSON escapes;
        paths and subjects may. Queries are left out because they may hold secrets.
        """
        millisecond = int((exchange.ended + self._offset) * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._time = _iso(millisecond)
        request, endpoint = exchange.request, exchange.endpoint
        method, host, path, trace = "", "", '""', ""
        reason = f',"reason":{quoted(exchange.reason)}' if exchange.reason else ""
        if exchange.shadowed:
            reason += f',"shadowed":"{" ".join(exchange.shadowed)}"'
        if request is not None:
            method, host, path = request.method, request.host, quoted(request.sent_path or request.path)
            if request.provenance is not None and request.provenance.context is not None:
                trace = f',"trace_id":"{request.provenance.context.trace_id.decode("ascii")}"'
        return (
            f'{{"time":"{self._time}","request_id":"{exchange.request_id.decode("ascii")}"'
            f',"client":"{exchange.address}","method":"{method}","host":"{host}","path":{path}'
            f',"status":{exchange.status},"decision":"{exchange.decision}"{reason},"revision":{exchange.revision}'
            f',"route":"{route}","service":"{service}"'
            f',"instance":"{endpoint.id if endpoint is not None else ""}"'
            f',"subject":{quoted(exchange.identity.subject)}'
            f',"attempts":{exchange.attempts},"duration_us":{int(seconds * 1e6)}'
            f',"received":{exchange.received},"sent":{exchange.sent}{trace}}}\n'
        )

    def report(self) -> dict[str, Any]:
        """The counters since the last report, as JSON values. Also flushes the access log.

        Call it about once a second.
        """
        self._offset = time.time() - time.monotonic()
        before, self._dropped = self._dropped, self._flush()
        report = {
            "requests": self._requests,
            "latency": self._latency,
            "refusals": [(*key, count) for key, count in self._refusals.items()],
            "upstream_errors": [(*key, count) for key, count in self._upstream_errors.items()],
            "retries": self._retries,
            "shadowed": self._shadowed,
            "access_log_drops": self._dropped - before,
        }
        self._requests, self._latency, self._refusals, self._upstream_errors = {}, {}, {}, {}
        self._retries, self._shadowed = {}, {}
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


def _iso(millisecond: int) -> str:
    """A Unix time in milliseconds, in ISO 8601. Computed once for all requests of a millisecond."""
    second, rest = divmod(millisecond, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:03d}Z"
