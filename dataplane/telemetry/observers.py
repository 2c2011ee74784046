"""The observers of one worker: they write the spans, and the records of the access log, of finished requests.

They stand before the recorder only where something is exported, so that they cost nothing elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Protocol

from dataplane.gateway.policy.resources import BUILTIN
from dataplane.observe.http_series import SeriesKey
from dataplane.observe.record import is_logged
from dataplane.observe.stats import LATENCY_BOUNDS
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.fields.trace import ALWAYS, is_sampled
from dataplane.telemetry.access_records import RecordWriter
from dataplane.telemetry.attributes import scheme_of
from dataplane.telemetry.outbox import Outbox
from dataplane.telemetry.spans import SpanIds, SpanWriter


class Observer(Protocol):
    """Called with every exchange that ended."""

    def finished(self, exchange: Exchange) -> None:
        """Take note of it. On the request path."""


class Tracing:
    """Passes exchanges on to another observer, and writes the spans of those in the sample.

    The same ids, and so the same decision, are in the `traceparent` that the instance gets.
    """

    def __init__(self, inner: Observer, spans: SpanWriter, outbox: Outbox, sampled: bytes = ALWAYS) -> None:
        """`sampled` is the threshold (`fields.trace.threshold`) of traces that begin here."""
        self._inner = inner
        self._spans = spans
        self._outbox = outbox
        self._sampled = sampled
        self._seen: dict[tuple[str, int], tuple[Exchange, SpanIds]] = {}

    def finished(self, exchange: Exchange) -> None:
        """Pass it on, and write its spans if it is in the sample."""
        self._inner.finished(exchange)
        plan = exchange.plan
        if _is_sampled(exchange, self._sampled) and not _is_builtin(exchange):
            ids = SpanIds(exchange)
            self._outbox.add(*self._spans.spans(exchange, ids))
            if exchange.sent_at and plan is not None:
                bucket = bisect_left(LATENCY_BOUNDS, exchange.ended - exchange.started)
                self._seen[plan.service_name, bucket] = exchange, ids

    def exemplars(self) -> list[tuple[Any, ...]]:
        """Of each service and bucket of its latencies, the last request since the last call, as `Totals.add` reads
        it."""
        seen, self._seen = self._seen, {}
        return [
            (
                series_key(exchange),
                exchange.ended - exchange.started,
                ids.trace.hex(),
                ids.server.hex(),
                self._spans.nanoseconds(exchange.ended) / 1e9,
            )
            for exchange, ids in seen.values()
        ]


def series_key(exchange: Exchange) -> SeriesKey:
    """The series that the exchange is counted in."""
    plan, endpoint, request = exchange.plan, exchange.endpoint, exchange.request
    return SeriesKey(
        "" if plan is None else plan.route_name,
        "" if plan is None else plan.service_name,
        "" if endpoint is None else endpoint.id,
        "" if request is None else request.method,
        scheme_of(exchange),
        exchange.status,
        exchange.decision,
    )


class AccessRecords:
    """Passes exchanges on to another observer, and writes the log records of those that are to be logged."""

    def __init__(
        self,
        inner: Observer,
        records: RecordWriter,
        outbox: Outbox,
        logged: bytes = ALWAYS,
        sampled: bytes = ALWAYS,
    ) -> None:
        """`logged` is the threshold of good requests that are logged, `sampled` that of traces that begin here."""
        self._inner = inner
        self._records = records
        self._outbox = outbox
        self._logged = logged
        self._sampled = sampled

    def finished(self, exchange: Exchange) -> None:
        """Pass it on, and write its record."""
        self._inner.finished(exchange)
        if self._logged is ALWAYS or is_logged(exchange, self._logged):
            self._outbox.add(self._records.record(exchange, _is_sampled(exchange, self._sampled)), 1)


def _is_sampled(exchange: Exchange, sampled: bytes) -> bool:
    """Whether its traceparent says so upstream; `sampled` is the threshold for routes without one of their own."""
    plan = exchange.plan
    own = sampled if plan is None or plan.sampled is None else plan.sampled
    return is_sampled(exchange.request, exchange.request_id, own)


def _is_builtin(exchange: Exchange) -> bool:
    """Whether it is a request to the gateway's own status: load balancers send one every few seconds."""
    plan = exchange.plan
    return plan is not None and plan.route_name.startswith(BUILTIN)
