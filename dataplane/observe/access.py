"""The access log: one line for every request, on stdout or in a file, written by a thread.

The request path only appends a finished line to a list. Full lists go to the thread through a queue; when the reader of
stdout falls behind, lines are dropped and counted, and traffic goes on. Several workers append to one file: each write
holds whole lines, and goes to the end (O_APPEND).
"""

from __future__ import annotations

import contextlib
import logging
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

_log = logging.getLogger(__name__)


class AccessLog:
    """Writes lines to a file descriptor in a thread. Only the event loop's thread may call `write` and `flush`."""

    def __init__(self, descriptor: int = 1, *, shared: bool = False, file: str = "") -> None:
        """Write to `file` if there is one, else to the descriptor. `shared`: other processes write to the same
        descriptor, so each write must be atomic. Raises OSError when the file cannot be opened."""
        self._file = file
        descriptor = self._descriptor = open_log(file) if file else descriptor
        # Writes to a pipe are atomic up to this size (POSIX, write()). The log goes to stderr, which may be the same.
        whole = stat.S_ISFIFO(os.fstat(descriptor).st_mode) and (shared or _same(descriptor, 2))
        self._chunk = select.PIPE_BUF if whole else _CHUNK
        self._lines: list[str] = []
        # None ends the thread; an empty list opens the file again.
        self._queue: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        # Each is written by one thread only; their difference is the backlog.
        self._queued = self._done = 0
        self._refused = self._failed = 0
        self._torn = self._failing = False
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

    def reopen(self) -> None:
        """Write to the file of the same name from now on: the one before has been renamed (log rotation)."""
        if self._file:
            self.flush()
            self._queue.put([])

    def close(self, within: float = 2.0) -> None:
        """Write the backlog, for at most `within` seconds."""
        self.flush()
        self._queue.put(None)
        self._writer.join(within)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            if not lines:
                self._open_again()
                continue
            try:
                for piece in _pieces(lines, self._chunk):
                    self._write_all(piece)
                self._failing = False
            except OSError as error:
                self._fail(len(lines), error)
            self._done += len(lines)

    def _fail(self, lost: int, error: OSError) -> None:
        self._failed += lost
        if not self._failing:
            self._failing = True
            _log.error("access log cannot be written", extra={"error": str(error)})

    def _open_again(self) -> None:
        """Without the new file, the one before is written to on."""
        try:
            descriptor = open_log(self._file)
        except OSError as error:
            _log.error("access log cannot be opened", extra={"error": str(error)})
            return
        before, self._descriptor = self._descriptor, descriptor
        self._torn = False
        os.close(before)

    def _write_all(self, data: bytes) -> None:
        """After a full disk has cut a line, the next one starts on a line of its own."""
        if self._torn:
            data = b"\n" + data
        while data:
            try:
                written = os.write(self._descriptor, data)
                self._torn = not data[:written].endswith(b"\n")
                data = data[written:]
            except BlockingIOError:
                select.select((), (self._descriptor,), ())


def open_log(file: str) -> int:
    """A descriptor that appends to the file, which only its owner and its group may read. Raises OSError.

    A named pipe that nobody reads is an error: without O_NONBLOCK, the opening of it would wait for a reader.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(file, flags, 0o640)
    os.set_blocking(descriptor, True)
    return descriptor


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
