"""The access log as log records of OTLP: the attributes of a SERVER span, and the trace of the request."""

from __future__ import annotations

import time
from struct import Struct
from typing import Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from dataplane.observe.record import UPSTREAM_ERRORS
from dataplane.proxy.exchange import Exchange
from dataplane.telemetry.attributes import key_values, method_of, server_constants, template
from dataplane.telemetry.otlp import NumberAttribute, TextAttribute, sized, utf8
from dataplane.telemetry.request_fields import Kind, RequestFields, kind_of
from dataplane.telemetry.spans import MOST_KINDS, SpanIds

RECORDS: Final = b"\x12"
"""The tag of ScopeLogs.log_records."""
_ATTRIBUTES: Final = b"\x32"
_OPENING: Final = Struct("<BQBQ2s16s2s8sBI")
"""Time, observed time, trace, span, flags; the fields 1, 11, 9, 10 and 8 of LogRecord."""


class RecordWriter:
    """Writes records. The clock's offset must be set about once a second (`set_clock`)."""

    def __init__(self, redact: tuple[str, ...] = ()) -> None:
        """`redact` names further query parameters whose values are not shown."""
        self._fields = RequestFields(_ATTRIBUTES, redact)
        self._subject = TextAttribute(_ATTRIBUTES, "user.id")
        self._duration = NumberAttribute(_ATTRIBUTES, "headgate.duration_us")
        self._received = NumberAttribute(_ATTRIBUTES, "http.request.body.size")
        self._sent = NumberAttribute(_ATTRIBUTES, "http.response.body.size")
        self._kinds: dict[Kind, bytes] = {}
        self._offset = 0.0
        self.set_clock()

    def set_clock(self) -> None:
        """Follow the system's clock."""
        self._offset = time.time() - time.monotonic()

    def record(self, exchange: Exchange, sampled: bool) -> bytes:
        """The record of an exchange that has ended; `sampled`: its trace is recorded."""
        kind = kind_of(exchange)
        constant = self._kinds.get(kind) or self._remember(kind, exchange)
        ids = SpanIds(exchange)
        at = int((exchange.ended + self._offset) * 1e9)
        opening = _OPENING.pack(
            0x09, at, 0x59, at, b"\x4a\x10", ids.trace, b"\x52\x08", ids.server, 0x45, sampled
        )
        seconds = exchange.ended - (exchange.started or exchange.ended)
        pieces = [
            opening,
            constant,
            self._duration.write(int(seconds * 1e6)),
            self._received.write(exchange.received),
            self._sent.write(exchange.sent),
        ]
        if exchange.identity.subject:
            pieces.append(self._subject.write(utf8(exchange.identity.subject)))
        self._fields.add(pieces, exchange)
        return sized(RECORDS, b"".join(pieces))

    def _remember(self, kind: Kind, exchange: Exchange) -> bytes:
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.clear()
        constant = self._kinds[kind] = _constant(exchange)
        return constant


def _constant(exchange: Exchange) -> bytes:
    """The part of a record that many requests share."""
    failed = exchange.status >= 500 or exchange.decision in UPSTREAM_ERRORS
    record = LogRecord(
        severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR
        if failed
        else SeverityNumber.SEVERITY_NUMBER_INFO,
        severity_text="error" if failed else "info",
        event_name="headgate.request",
        attributes=key_values(server_constants(exchange)),
    )
    words = method_of(exchange.request), template(exchange), str(exchange.status), exchange.decision
    record.body.string_value = " ".join(filter(None, words))
    return record.SerializeToString()
