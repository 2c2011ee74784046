"""Write buffer of a connection: bytes are collected during one turn of the event loop and written together at its end.

A write is a system call that runs the peer's side of TCP too and, if the peer sleeps, wakes it. Many connections have
data to send in one turn of a busy worker; when they are written in a row, the first write wakes the peer for all
(docs/explanation/performance.md has the gain). A turn ends before the loop waits again, so that no write is delayed
by a wait.

Every write to a connection, and its end, goes through its `Outgoing`, so that bytes stay in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

JOINED: Final = 16_384
"""Most bytes that are buffered and joined. Beyond it, an immediate write costs less than the copy."""


class Turn:
    """The connections with buffered data in this turn of the event loop."""

    __slots__ = ("_waiting", "soon")

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        self.soon = soon
        """Schedules a callback for the end of the turn."""
        self._waiting: list[Outgoing] = []

    def add(self, outgoing: Outgoing) -> None:
        """Flush this connection when the turn ends."""
        if not self._waiting:
            self.soon(self.end)
        self._waiting.append(outgoing)

    def end(self) -> None:
        """Flush all. A connection whose write fails is aborted; the others are not affected."""
        waiting, self._waiting = self._waiting, []
        for outgoing in waiting:
            try:
                outgoing.flush()
            except Exception:
                logger.exception("writing to a connection failed unexpectedly")
                outgoing.abort()


class Outgoing:
    """The write buffer of one connection, in front of its transport."""

    __slots__ = ("_pieces", "_size", "_transport", "_turn")

    def __init__(self, transport: asyncio.Transport, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Write these bytes, now or at the end of the turn."""
        size = self._size + len(data)
        if size > JOINED:
            self.flush()
            self._transport.write(data)
            return
        self._size = size
        if not self._pieces:
            self._turn.add(self)
        self._pieces.append(data)

    def writelines(self, pieces: list[bytes], size: int) -> None:
        """Write these pieces. `size`: the bytes of body among them; the other pieces are small."""
        size += self._size
        if size > JOINED:
            self.flush()
            self._transport.writelines(pieces)
            return
        self._size = size
        if not self._pieces:
            self._turn.add(self)
        self._pieces += pieces

    def flush(self) -> None:
        """Pass the buffered bytes to the transport."""
        pieces = self._pieces
        if pieces:
            self._transport.write(b"".join(pieces))
            pieces.clear()
            self._size = 0

    def drop(self) -> None:
        """Discard the buffered bytes: the connection is lost."""
        self._pieces.clear()
        self._size = 0

    def write_eof(self) -> None:
        """Flush, and half-close the connection."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Flush, and close the connection when everything has been sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once, and discard the buffered bytes."""
        self.drop()
        self._transport.abort()
