"""The access log: one JSON line on stdout for every request, written by a thread.

The request path only appends a finished line to a list. Full lists go to the thread through a queue; when the reader of
stdout falls behind, lines are dropped and counted, and traffic goes on.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import stat
import threading
from collections.abc import Iterator

BATCH = 256
"""Lines that are passed to the thread together; fewer when a second has passed."""
MAX_BACKLOG = 50_000
"""Lines that may wait for the thread; about 15 MiB."""
_CHUNK = 256 * 1024


class AccessLog:
    """Writes lines to a file descriptor in a thread. Only the event loop's thread may call `write` and `flush`."""

    def __init__(self, descriptor: int = 1, *, shared: bool = False) -> None:
        """`shared`: other processes write to the same descriptor, so each write must be atomic."""
        self._descriptor = descriptor
        # Writes to a pipe are atomic up to this size (POSIX, write()). The log goes to stderr, which may be the same.
        whole = stat.S_ISFIFO(os.fstat(descriptor).st_mode) and (shared or _same(descriptor, 2))
        self._chunk = select.PIPE_BUF if whole else _CHUNK
        self._lines: list[str] = []
        self._queue: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        # Each is written by one thread only; their difference is the backlog.
        self._queued = self._done = 0
        self._refused = self._failed = 0
        self._writer = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """Lines that were lost since the start."""
        return self._refused + self._failed

    def write(self, line: str) -> None:
        """Queue one line, which ends with a newline."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Pass the collected lines to the thread."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        if self._queued - self._done + len(lines) > MAX_BACKLOG:
            self._refused += len(lines)
        else:
            self._queued += len(lines)
            self._queue.put(lines)

    def close(self, within: float = 2.0) -> None:
        """Write the backlog, for at most `within` seconds."""
        self.flush()
        self._queue.put(None)
        self._writer.join(within)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            try:
                for piece in _pieces(lines, self._chunk):
                    self._write_all(piece)
            except OSError:
                self._failed += len(lines)
            self._done += len(lines)

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select((), (self._descriptor,), ())


def _same(descriptor: int, other: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.sameopenfile(descriptor, other)
    return False


def _pieces(lines: list[str], most: int) -> Iterator[bytes]:
    """The lines in pieces of at most `most` bytes, cut between lines; a longer line is a piece of its own."""
    everything = "".join(lines).encode()
    if len(everything) <= most:
        yield everything
        return
    piece: list[bytes] = []
    size = 0
    for line in lines:
        data = line.encode()
        if piece and size + len(data) > most:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(data)
        size += len(data)
    yield b"".join(piece)
