"""Logging of the control plane: one JSON object a line, on stderr.

Whatever is passed as `extra` becomes fields of the line, so that messages stay fixed and can be searched for:
`logger.info("admin request", extra={"status": 200, "revision": 41})`.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from controlplane.log_writer import LogWriter

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
"""What every record has anyway; uvicorn adds color_message, the same text with terminal codes."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; values that JSON does not have are written as `str`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(level: str = "info") -> None:
    """Send every logger of the process to stderr as JSON lines, from this level on."""
    handler = LogWriter()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for before in root.handlers:
        if isinstance(before, LogWriter):
            before.close()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Uvicorn's command line gives its loggers handlers of their own, which would print lines that are not JSON.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        # Its messages at info level repeat ours.
        logger.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    # Every admin request has a log line already.
    logging.getLogger("uvicorn.access").disabled = True
    # The debug messages of asyncio and grpc are of no use here.
    for name in ("asyncio", "grpc"):
        logging.getLogger(name).setLevel(logging.WARNING)
