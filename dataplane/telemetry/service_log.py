"""The log of the service as log records of OTLP, beside the lines on stderr."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from dataplane.observe.logs import STANDARD
from dataplane.telemetry.access_records import RECORDS
from dataplane.telemetry.attributes import Value, key_values
from dataplane.telemetry.otlp import MOST_TEXT, sized

_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.SEVERITY_NUMBER_FATAL),
    (logging.ERROR, SeverityNumber.SEVERITY_NUMBER_ERROR),
    (logging.WARNING, SeverityNumber.SEVERITY_NUMBER_WARN),
    (logging.INFO, SeverityNumber.SEVERITY_NUMBER_INFO),
)
_MOST_TRACE: Final = 16 * 1024


class ServiceLog(logging.Handler):
    """Passes each log record on as the bytes of a field `log_records`. From any thread, so the receiver must not
    block."""

    def __init__(self, receive: Callable[[bytes], None], **fields: Value) -> None:
        """`fields` are attributes of all records."""
        super().__init__()
        self._receive = receive
        self._fields = {f"headgate.{name}": value for name, value in fields.items()}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, and pass it on. What cannot be written is left out."""
        try:
            self._receive(sized(RECORDS, self._written(record)))
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """The line on stderr stays; this log must not be a cause of more lines."""

    def _written(self, record: logging.LogRecord) -> bytes:
        attributes: dict[str, Value] = {"headgate.logger": record.name, **self._fields}
        for name, value in vars(record).items():
            if name not in STANDARD:
                attributes[f"headgate.{name}"] = (
                    value if isinstance(value, int | str) else str(value)[:MOST_TEXT]
                )
        if record.exc_info and record.exc_info[0] is not None:
            attributes["exception.type"] = record.exc_info[0].__qualname__
            attributes["exception.message"] = str(record.exc_info[1])[:MOST_TEXT]
            text = logging.Formatter().formatException(record.exc_info)
            attributes["exception.stacktrace"] = text[-_MOST_TRACE:]
        severity = next(
            (number for level, number in _SEVERITIES if record.levelno >= level),
            SeverityNumber.SEVERITY_NUMBER_DEBUG,
        )
        found = LogRecord(
            time_unix_nano=int(record.created * 1e9),
            observed_time_unix_nano=time.time_ns(),
            severity_number=severity,
            severity_text=record.levelname.lower(),
            attributes=key_values(attributes.items()),
        )
        found.body.string_value = record.getMessage()[:MOST_TEXT].encode("utf-8", "replace").decode()
        return found.SerializeToString()
