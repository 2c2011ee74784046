"""What is said on a connection: kept through one turn of the event loop, and written at its end in one piece.

A write is a system call that runs the peer's side of TCP too and, if the peer sleeps, wakes it. Many connections have
something to say in one turn of a busy worker; written one right after the other, the first of them wakes the peer for
all (docs/performance.md has what that brought). A turn ends before the loop waits again, so nothing waits for it.

Whatever is written to a connection, or ends it, goes through its `Outgoing`: so bytes stay in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

JOINED: Final = 16_384
"""Up to this many bytes are kept and joined; with more, a write at once costs less than the copy."""


class Turn:
    """The connections that have something to say in this turn of the event loop."""

    __slots__ = ("_waiting", "soon")

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        self.soon = soon
        """Has a callback called at the end of the turn."""
        self._waiting: list[Outgoing] = []

    def add(self, outgoing: Outgoing) -> None:
        """Write what this connection has to say when the turn ends."""
        if not self._waiting:
            self.soon(self.end)
        self._waiting.append(outgoing)

    def end(self) -> None:
        """Write everything; a connection that cannot be written to ends alone."""
        waiting, self._waiting = self._waiting, []
        for outgoing in waiting:
            try:
                outgoing.flush()
            except Exception:
                logger.exception("writing to a connection failed unexpectedly")
                outgoing.abort()


class Outgoing:
    """One connection's side of it, in front of its transport."""

    __slots__ = ("_pieces", "_size", "_transport", "_turn")

    def __init__(self, transport: asyncio.Transport, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Say this."""
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
        """Say all these; `size` is how many bytes of body are among them, which is all that can be many."""
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
        """Hand over to the transport what has been said so far."""
        pieces = self._pieces
        if pieces:
            self._transport.write(b"".join(pieces))
            pieces.clear()
            self._size = 0

    def drop(self) -> None:
        """Forget what has not been handed over: the connection is gone."""
        self._pieces.clear()
        self._size = 0

    def write_eof(self) -> None:
        """Nothing more will be said."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """End the connection when everything has been sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        self.drop()
        self._transport.abort()
