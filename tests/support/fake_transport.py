"""A transport without a socket: it keeps the bytes that one side writes, and delivers those of the other side in
pieces.

It behaves like uvloop's where the engine relies on it: no bytes while reading is paused or after the end, the loss of a
connection is reported later and once, and pauses of writes are reported between other events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any


class FakeTransport(asyncio.Transport):
    """One end of a connection, with the engine's protocol on it; a test plays the other end."""

    def __init__(
        self, protocol: asyncio.Protocol, later: Callable[[Callable[[], None]], None], peer: str
    ) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        """All bytes that the engine has written."""
        self.inbox = bytearray()
        """Bytes from the other end that the engine has not read yet."""
        self.reading = True
        self.closing = False
        self.aborted = False
        self.half_closed = False
        """The engine has closed its sending side."""
        self.ended = False
        """connection_lost was called."""
        self.full = False
        """The other end does not read: the next write exceeds the buffer."""
        self.write_paused = False
        self._later = later
        self._peer = peer
        protocol.connection_made(self)

    # --- calls of the engine

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._peer, 1) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        assert not self.half_closed, "written after the end"
        if not self.closing:
            self.written += data
            if self.full and not self.write_paused:
                # As in uvloop: from within the write that exceeds the buffer.
                self.write_paused = True
                self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.half_closed = True

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        assert self.reading or self.closing, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading or self.closing, "resumed twice"
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading and not self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return int(self.write_paused)

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    # --- actions of the other end

    def deliver(self, size: int) -> None:
        """Deliver this number of bytes of the inbox, if the engine reads."""
        if self.is_reading() and self.inbox:
            data = bytes(self.inbox[:size])
            del self.inbox[:size]
            self.protocol.data_received(data)

    def eof(self) -> None:
        """The other end closes its sending side; if the protocol returns nothing, the transport is closed."""
        if self.is_reading() and not self.inbox and not self.protocol.eof_received():
            self._end(None)

    def reset(self) -> None:
        """The other end has disconnected."""
        self.inbox.clear()
        self._end(ConnectionResetError())

    def congest(self) -> None:
        """The other end stops or resumes reading."""
        self.full = not self.full
        if self.write_paused and not self.full and not self.closing:
            self.write_paused = False
            self.protocol.resume_writing()

    def _end(self, error: Exception | None) -> None:
        if not self.closing:
            self.closing = True
            self._later(lambda: self._lost(error))

    def _lost(self, error: Exception | None) -> None:
        assert not self.ended, "ended twice"
        self.ended = True
        self.protocol.connection_lost(error)
