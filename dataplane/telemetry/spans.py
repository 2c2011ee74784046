"""Writes the spans of a sampled request: a SERVER span, and within it a CLIENT span for the instance.

They are written when the request has ended, as one piece of bytes: fields `spans` of OTLP's ScopeSpans. The CLIENT span
has the id that the instance got in `traceparent`; all attempts share it, and a failed one is an event of it.
"""

from __future__ import annotations

import time
from binascii import unhexlify
from collections.abc import Callable
from struct import Struct
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.fields.trace import own_id
from dataplane.proxy.messages import Request
from dataplane.telemetry.attributes import (
    Value,
    client_constants,
    client_failure,
    failure,
    key_values,
    method_of,
    server_constants,
    template,
)
from dataplane.telemetry.otlp import TextAttribute, cut, sized
from dataplane.telemetry.request_fields import RequestFields, kind_of, valid

SPANS: Final = b"\x12"
"""The tag of ScopeSpans.spans."""
MOST_KINDS: Final = 4096
"""Kinds of spans that are remembered: they differ in route, instance, method, status and so on."""
_ATTRIBUTES: Final = b"\x4a"
_EVENTS: Final = b"\x5a"
_TRACE_STATE: Final = b"\x1a"
_IDS: Final = Struct("<2s16s2s8sBQBQ")
"""Trace, span, start, end; the fields 1, 2, 7 and 8 of Span."""
_IDS_AND_PARENT: Final = Struct("<2s16s2s8s2s8sBQBQ")
_HALVES: Final = Struct(">QQ")
_HALF: Final = Struct(">Q")
_FLAGS: Final = 0x101
"""Sampled, and it is known whether the parent is elsewhere."""
_REMOTE: Final = 0x200


class SpanIds:
    """The ids of a request's spans, as bytes."""

    __slots__ = ("client", "parent", "server", "state", "trace")

    def __init__(self, exchange: Exchange) -> None:
        own = unhexlify(own_id(exchange.request, exchange.request_id))
        first, second = _HALVES.unpack(own)
        self.trace = own
        self.client = own[8:]
        # Another id for each request, like the second half: the first half is the same for all of a worker.
        self.server = _HALF.pack(first ^ second or 1)
        self.parent = b""
        self.state = b""
        provenance = exchange.request.provenance if exchange.request is not None else None
        if provenance is not None and provenance.context is not None:
            context = provenance.context
            self.trace, self.parent = unhexlify(context.trace_id), unhexlify(context.parent)
            self.state = provenance.tracestate or b""


class SpanWriter:
    """Writes spans. The clock's offset must be set about once a second (`set_clock`)."""

    def __init__(self, redact: tuple[str, ...] = ()) -> None:
        """`redact` names further query parameters whose values are not shown."""
        self._fields = RequestFields(_ATTRIBUTES, redact)
        self._full = TextAttribute(_ATTRIBUTES, "url.full")
        self._server: dict[tuple[object, ...], bytes] = {}
        self._client: dict[tuple[object, ...], bytes] = {}
        self._offset = 0.0
        self.set_clock()

    def set_clock(self) -> None:
        """Follow the system's clock."""
        self._offset = time.time() - time.monotonic()

    def nanoseconds(self, at: float) -> int:
        """Unix time of a monotonic time."""
        return int((at + self._offset) * 1e9)

    def spans(self, exchange: Exchange, ids: SpanIds) -> tuple[bytes, int]:
        """The spans of an exchange that has ended, and how many they are."""
        server = sized(SPANS, self._server_span(exchange, ids))
        # Of a tunnel, only the time of its beginning is known.
        if exchange.endpoint is None or not (exchange.sent_at or exchange.streamed_at):
            return server, 1
        return server + sized(SPANS, self._client_span(exchange, ids)), 2

    def _server_span(self, exchange: Exchange, ids: SpanIds) -> bytes:
        key = (*kind_of(exchange), bool(ids.parent))
        constant = self._server.get(key)
        if constant is None:
            constant = self._remember(self._server, key, lambda: server_constant(exchange, bool(ids.parent)))
        start = self.nanoseconds(exchange.started or exchange.ended)
        end = self.nanoseconds(exchange.ended)
        if ids.parent:
            opening = _IDS_AND_PARENT.pack(
                b"\x0a\x10",
                ids.trace,
                b"\x12\x08",
                ids.server,
                b"\x22\x08",
                ids.parent,
                0x39,
                start,
                0x41,
                end,
            )
            if ids.state:
                opening += sized(_TRACE_STATE, valid(ids.state))
        else:
            opening = _IDS.pack(b"\x0a\x10", ids.trace, b"\x12\x08", ids.server, 0x39, start, 0x41, end)
        pieces = [opening, constant]
        self._fields.add(pieces, exchange)
        return b"".join(pieces)

    def _client_span(self, exchange: Exchange, ids: SpanIds) -> bytes:
        request, endpoint, plan = exchange.request, exchange.endpoint, exchange.plan
        assert request is not None and endpoint is not None and plan is not None
        key = (
            exchange.revision,
            exchange.status,
            exchange.decision,
            plan.service_name,
            endpoint.id,
            request.method,
            exchange.attempts,
            exchange.result,
        )
        constant = self._client.get(key)
        if constant is None:
            constant = self._remember(self._client, key, lambda: client_constant(exchange))
        # With several attempts, the time of the first request is not known: they begin with the decision.
        start = exchange.started if exchange.failures else exchange.sent_at or exchange.started
        opening = _IDS_AND_PARENT.pack(
            b"\x0a\x10",
            ids.trace,
            b"\x12\x08",
            ids.client,
            b"\x22\x08",
            ids.server,
            0x39,
            self.nanoseconds(start),
            0x41,
            self.nanoseconds(exchange.ended),
        )
        pieces = [opening, constant, self._full.write(self._url(exchange, request))]
        if ids.state:
            pieces.append(sized(_TRACE_STATE, valid(ids.state)))
        if exchange.failures:
            pieces += [sized(_EVENTS, event) for event in self._retries(exchange)]
        return b"".join(pieces)

    def _url(self, exchange: Exchange, request: Request) -> bytes:
        endpoint = exchange.endpoint
        assert endpoint is not None
        path = self._fields.path(request.target.partition(b"?")[0])
        scheme = b"https://" if endpoint.tls is not None else b"http://"
        url = scheme + endpoint.authority + (path if path.isascii() else valid(path))
        query = self._fields.query(request)
        return cut(url + b"?" + query if query else url)

    def _retries(self, exchange: Exchange) -> list[bytes]:
        """An event for each attempt that failed and was followed by another one."""
        return [
            Span.Event(
                time_unix_nano=self.nanoseconds(at),
                name="headgate.retry",
                attributes=key_values([("headgate.instance", endpoint.id), ("headgate.cause", cause)]),
            ).SerializeToString()
            for endpoint, (at, cause) in zip(exchange.tried, exchange.failures, strict=False)
        ]

    def _remember(
        self, kinds: dict[tuple[object, ...], bytes], key: tuple[object, ...], make: Callable[[], bytes]
    ) -> bytes:
        if len(kinds) >= MOST_KINDS:
            kinds.clear()
        constant = kinds[key] = make()
        return constant


def server_constant(exchange: Exchange, remote: bool) -> bytes:
    """The part of a SERVER span that many requests share. Only 5xx are errors of a server."""
    failed = exchange.status >= 500 or exchange.result is Result.FAILED
    return _constant(
        Span.SPAN_KIND_SERVER,
        " ".join(filter(None, (_method_name(exchange), template(exchange)))),
        server_constants(exchange),
        failure(exchange) if failed else "",
        _FLAGS | _REMOTE if remote else _FLAGS,
    )


def client_constant(exchange: Exchange) -> bytes:
    """The part of a CLIENT span that many requests share."""
    constants = client_constants(exchange)
    return _constant(
        Span.SPAN_KIND_CLIENT, _method_name(exchange), constants, client_failure(exchange), _FLAGS
    )


def _method_name(exchange: Exchange) -> str:
    """The method in a span's name: "HTTP" for one that the conventions do not know."""
    method = method_of(exchange.request)
    return "HTTP" if method == "_OTHER" else method


def _constant(
    kind: Span.SpanKind.ValueType, name: str, constants: list[tuple[str, Value]], error: str, flags: int
) -> bytes:
    span = Span(name=name, kind=kind, flags=flags, attributes=key_values(constants))
    if error:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR))
    return span.SerializeToString()
