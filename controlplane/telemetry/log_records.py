"""The control plane's log as records of OpenTelemetry, beside the lines on stderr."""

from __future__ import annotations

import logging
from typing import Final

from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord, SeverityNumber

from controlplane.logs import STANDARD
from controlplane.telemetry.texts import valid

_SEVERITY: Final = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}
OWN: Final = ("opentelemetry", "urllib3", "requests", "grpc")
"""Loggers of the export itself: their lines must not become telemetry."""
_CORRELATED: Final = ("trace_id", "span_id")
_NANO: Final = 1_000_000_000


class OtlpHandler(logging.Handler):
    """Gives records to a batch that another thread exports."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Never blocks: a full batch drops the record."""
        if record.name.partition(".")[0] in OWN:
            return
        attributes = {
            f"headgate.{name}": value if isinstance(value, bool | int | float) else valid(str(value))
            for name, value in vars(record).items()
            if name not in STANDARD and name not in _CORRELATED
        }
        if record.exc_info:
            attributes["exception.stacktrace"] = valid(self._formatter.formatException(record.exc_info))
        self._logger.emit(
            LogRecord(
                timestamp=int(record.created * _NANO),
                severity_number=_SEVERITY.get(record.levelno, SeverityNumber.INFO),
                severity_text=record.levelname,
                body=valid(record.getMessage()),
                attributes={"headgate.logger": record.name, **attributes},
            )
        )


def correlate(record: logging.LogRecord) -> bool:
    """A filter that adds the ids of the span under way to each line."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid and record.name.partition(".")[0] not in OWN:
        record.trace_id = trace.format_trace_id(context.trace_id)
        record.span_id = trace.format_span_id(context.span_id)
    return True
