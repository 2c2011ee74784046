"""Logging of the data plane: one JSON object a line, on stderr.

Values passed as `extra` become fields of the line, so that messages are constant and can be searched for:
`logger.info("configuration applied", extra={"revision": 41})`. Requests have a log of their own: `observe.access`.

A thread writes them, so that no caller ever blocks: a pipe without a reader is full after 64 KiB, and the next write
to it waits. Then lines wait for the thread, those beyond MAX_BACKLOG are dropped, and once it can write again it says
how many.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from threading import Event

MAX_BACKLOG = 10_000
"""Lines that may wait for the thread; a few MiB."""
FLUSH_TIMEOUT = 2.0
"""Most seconds for which the end of the process waits for the backlog."""

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
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
        line.update((key, value) for key, value in vars(record).items() if key not in STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class LogWriter(QueueHandler):
    """Formats records immediately and writes them later, in order."""

    def __init__(self, descriptor: int = 2) -> None:
        # Not `Queue`: its lock is not reentrant, and the garbage collector may log within `put`.
        self._backlog: SimpleQueue[logging.LogRecord | Event | None] = SimpleQueue()
        super().__init__(self._backlog)
        self.dropped = 0
        self._ended = False
        self._listener = _Listener(self, descriptor)
        self._listener.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record, or drop it."""
        if self._backlog.qsize() < MAX_BACKLOG:
            super().emit(record)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Wait until what was logged so far is written, for at most FLUSH_TIMEOUT seconds."""
        if self._ended:
            # Python flushes closed handlers, too, when the process ends; nothing would be written any more.
            return
        written = Event()
        self._backlog.put(written)
        written.wait(FLUSH_TIMEOUT)

    def close(self) -> None:
        """End the thread once it has written the backlog; do not wait for it."""
        self._ended = True
        self._listener.enqueue_sentinel()
        super().close()


class _Listener(QueueListener):
    """The thread. It writes to the descriptor: a blocked write by `sys.stderr` would hold that file's lock."""

    def __init__(self, writer: LogWriter, descriptor: int) -> None:
        super().__init__(writer.queue)
        self._writer, self._descriptor = writer, descriptor
        self._reported = 0

    def handle(self, record: logging.LogRecord | Event) -> None:
        if isinstance(record, Event):
            record.set()
            return
        self._write(record)
        if dropped := self._writer.dropped - self._reported:
            self._reported += dropped
            fields = {
                "name": __name__,
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "dropped": dropped,
            }
            lost = logging.makeLogRecord({**fields, "msg": "log lines were dropped: the reader is too slow"})
            self._write(self._writer.prepare(lost))

    def _write(self, record: logging.LogRecord) -> None:
        data = f"{record.msg}\n".encode(errors="backslashreplace")
        with contextlib.suppress(OSError):  # there is no reader any more
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    select.select((), (self._descriptor,), ())


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
    # Their debug messages do not help operators.
    for name in ("asyncio", "grpc"):
        logging.getLogger(name).setLevel(logging.WARNING)
