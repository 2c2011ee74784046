"""Spans of OpenTelemetry."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from controlplane.telemetry.rollouts import OtelRollouts
from controlplane.telemetry.spans import Span, Spans, Value
from controlplane.telemetry.texts import valid

MOST_WRITTEN: Final = 1000
"""Changes of instances whose trace is remembered here until they are published."""
PROPAGATOR: Final = TraceContextTextMapPropagator()
_NEW: Final = Context()
"""A context without a parent."""


class OtelSpan(Span):
    """A span that is under way."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.trace_id = trace.format_trace_id(span.get_span_context().trace_id)

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes; empty texts say nothing."""
        told = {name: valid(value) if isinstance(value, str) else value for name, value in attributes.items()}
        self._span.set_attributes({name: value for name, value in told.items() if value != ""})

    def fail(self, reason: str) -> None:
        """The operation failed."""
        self._span.set_status(StatusCode.ERROR, valid(reason))


class OtelSpans(Spans):
    """Makes spans of one tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._written: OrderedDict[int, str] = OrderedDict()
        self.rollouts = OtelRollouts(tracer, self._take_written)

    @contextmanager
    def request(
        self,
        method: str,
        route: str,
        headers: Mapping[str, str],
        *,
        obeyed: bool,
        attributes: Mapping[str, Value],
    ) -> Iterator[Span]:
        """By the conventions for HTTP servers."""
        about = {"http.request.method": method, "http.route": route, **attributes}
        with self._server(f"{method} {route}", headers, about, obeyed=obeyed) as span:
            yield span

    @contextmanager
    def call(self, service: str, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """By the conventions for gRPC servers."""
        about = {"rpc.system.name": "grpc", "rpc.method": f"{service}/{method}"}
        with self._server(f"{service}/{method}", headers, about, obeyed=False) as span:
            yield span

    @contextmanager
    def _server(
        self, name: str, headers: Mapping[str, str], attributes: Mapping[str, Value], *, obeyed: bool
    ) -> Iterator[Span]:
        sent = {key: headers[key] for key in ("traceparent", "tracestate") if key in headers}
        caller = PROPAGATOR.extract(sent, _NEW) if sent else _NEW
        found = trace.get_current_span(caller).get_span_context()
        links = [Link(found)] if found.is_valid and not obeyed else []
        with self._tracer.start_as_current_span(
            name, caller if obeyed else _NEW, SpanKind.SERVER, attributes, links
        ) as span:
            yield OtelSpan(span)

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, Value], *, remote: bool = False) -> Iterator[Span]:
        """A child of the span under way."""
        if not trace.get_current_span().is_recording():
            yield Span()
            return
        kind = SpanKind.CLIENT if remote else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(name, kind=kind, attributes=attributes) as span:
            yield OtelSpan(span)

    def carried(self) -> str:
        """The `traceparent` of the span under way, if it is sampled."""
        if not trace.get_current_span().get_span_context().trace_flags.sampled:
            return ""
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        return carrier.get("traceparent", "")

    def wrote(self, revision: int) -> None:
        """Remember the span until the revision is published here: no change entry names it."""
        if traceparent := self.carried():
            self._written[revision] = traceparent
            while len(self._written) > MOST_WRITTEN:
                self._written.popitem(last=False)

    def _take_written(self, revision: int) -> list[tuple[int, str]]:
        """Those up to this revision."""
        found = [(one, trace) for one, trace in self._written.items() if one <= revision]
        for one, _ in found:
            del self._written[one]
        return found
