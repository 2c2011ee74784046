"""Finished spans and log records on their way from a worker to the supervisor, which exports them."""

from __future__ import annotations

from struct import Struct
from typing import Final, Protocol

from dataplane.channel import Kind

BATCH: Final = 64
"""Requests whose pieces are sent together; fewer when a second has passed."""
MAX_UNREAD: Final = 4 * 1024 * 1024
"""Bytes the supervisor may leave unread; what comes then is dropped and counted."""
_COUNT: Final = Struct(">I")


class Link(Protocol):
    """The worker's end of the channel."""

    @property
    def backlog(self) -> int:
        """Bytes queued that the kernel has not taken yet."""

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue a frame."""


class Outbox:
    """Collects the pieces of one signal. Never waits."""

    def __init__(self, link: Link, kind: Kind) -> None:
        self._link = link
        self._kind = kind
        self._pieces: list[bytes] = []
        self._count = 0
        self.dropped = 0
        """Spans or log records that were lost since the start."""

    def add(self, piece: bytes, count: int) -> None:
        """Queue whole fields of a message: `count` spans or log records."""
        self._pieces.append(piece)
        self._count += count
        if len(self._pieces) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Pass on what has been collected. Call it about once a second."""
        if not self._pieces:
            return
        if self._link.backlog > MAX_UNREAD:
            self.dropped += self._count
        else:
            self._link.send(self._kind, _COUNT.pack(self._count) + b"".join(self._pieces))
        self._pieces, self._count = [], 0


def read_frame(payload: bytes) -> tuple[int, bytes]:
    """The number of spans or log records in a frame, and their bytes. Raises ValueError."""
    if len(payload) < _COUNT.size:
        raise ValueError("a frame of telemetry without a count")
    return _COUNT.unpack_from(payload)[0], payload[_COUNT.size :]
