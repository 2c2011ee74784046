"""Writes the log in a thread, so that a log collector that stands still does not hold up the event loop.

A pipe that nobody reads is full after 64 KiB, and the next write to it waits. Only the thread may wait: lines gather
for it, beyond MAX_BACKLOG they are dropped, and once it can write again it says how many.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading

MAX_BACKLOG = 10_000
"""Lines that may wait for the thread; a few MiB."""
LAST_WORDS = 2.0
"""Most seconds for which the end of the process waits for the backlog."""


class LogWriter(logging.Handler):
    """Formats records at once and writes them later, in order."""

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        # Each is written by one side only; their difference is what has to be said.
        self._dropped = self._told = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line. The caller holds the handler's lock."""
        if self._lines.qsize() >= MAX_BACKLOG:
            self._dropped += 1
            return
        try:
            self._lines.put(self.format(record) + "\n")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until what was logged so far is written, for at most LAST_WORDS seconds."""
        if self._thread is not None:
            written = threading.Event()
            self._lines.put(written)
            written.wait(LAST_WORDS)

    def close(self) -> None:
        """End the thread once it has written the backlog."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread = None
        super().close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
                continue
            self._write(line)
            if dropped := self._dropped - self._told:
                self._told += dropped
                self._write(self._loss(dropped))

    def _loss(self, dropped: int) -> str:
        """A line about the lines that were dropped."""
        fields = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "dropped": dropped}
        record = logging.makeLogRecord({**fields, "msg": "log lines were dropped: nobody read them"})
        return self.format(record) + "\n"

    def _write(self, line: str) -> None:
        data = line.encode(errors="backslashreplace")
        try:
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:
                    select.select((), (self._descriptor,), ())
        except OSError:
            return  # nobody will ever read it
