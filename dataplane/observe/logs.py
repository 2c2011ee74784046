"""Logging of the data plane: one JSON object a line, on stderr.

Values passed as `extra` become fields of the line, so that messages are constant and can be searched for:
`logger.info("configuration applied", extra={"revision": 41})`. Requests have a log of their own: `observe.access`.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from dataplane.observe.log_writer import LogWriter

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
"""Attributes of every record; and uvicorn's color_message, the message with terminal codes."""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON. A value without a JSON form is written as its `str`."""

    def __init__(self, **fields: object) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._fields,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(level: str = "info", **fields: object) -> None:
    """Send every logger of the process to stderr as JSON lines that also carry `fields`, from this level on."""
    handler = LogWriter()
    handler.setFormatter(JsonFormatter(**fields))
    root = logging.getLogger()
    for before in root.handlers:
        if isinstance(before, LogWriter):
            before.close()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        # "Started server process" and the like are about the status server, not about the gateway.
        logger.setLevel(logging.WARNING)
    # Their debug messages are of no use to operators.
    for name in ("asyncio", "grpc"):
        logging.getLogger(name).setLevel(logging.WARNING)
