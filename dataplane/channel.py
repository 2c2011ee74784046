"""The channel between the supervisor and one worker: frames over a socket pair that both inherit.

A frame is 4 bytes of payload length (big endian), 1 byte of kind, and the payload. When one side dies, the other reads
the end of the stream. A worker sends a frame at least every second: see `supervisor.liveness`.
"""

from __future__ import annotations

import asyncio
import json
import struct
from enum import IntEnum
from typing import Any

MAX_PAYLOAD = 64 * 1024 * 1024
"""Bytes of a frame from the supervisor."""
MAX_REPORT = 16 * 1024 * 1024
"""Bytes of a frame from a worker: statistics of 100,000 services."""
_HEADER = struct.Struct(">IB")


class Kind(IntEnum):
    """What a frame means. From the supervisor to a worker:"""

    PART = 1
    """A part of a change, more follow: protobuf headgate.v1.Delta."""
    DELTA = 2
    """The last or only part of a change, which the worker now applies."""
    HEALTH = 3
    """JSON list of every "<service>/<instance>" that takes no traffic; sent before a change that adds instances."""
    SERVE = 4
    """Start accepting connections; sent once, after the first change if there is one."""
    CERTIFICATES = 6
    """The node's certificates and keys (`certificates.NodeCertificates`), if there are any; sent before SERVE, and
    again when they change."""
    DRAIN = 5
    """Stop accepting, finish the requests in flight, exit."""

    APPLIED = 10
    """From a worker to the supervisor: JSON {revision, digest}: the table is in use."""
    REJECTED = 11
    """JSON {revision, digest, problems: [[resource, field, detail]…]}: the previous table is still in use."""
    STATS = 12
    """JSON, every second: see observe.stats. Its absence means that the worker's event loop does not run."""
    SERVING = 14
    """The answer to SERVE: the worker accepts connections."""
    LEAVING = 13
    """JSON {"<service>/<instance>": requests in flight} of all instances that take no new ones; sent before the APPLIED
    of the change that removes them, and whenever one has answered its last request."""


class ChannelError(Exception):
    """The peer violated this protocol."""


class Channel:
    """One end of the channel."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int = MAX_PAYLOAD
    ) -> None:
        """`limit`: bytes that a frame from the peer may have."""
        self._limit = limit
        self._reader = reader
        self._writer = writer

    async def receive(self) -> tuple[Kind, bytes] | None:
        """The next frame; None at the end of the stream. Raises ChannelError for nonsense."""
        try:
            length, kind = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            if length > self._limit:
                raise ChannelError(f"a frame of {length} bytes")
            return Kind(kind), await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except ValueError:
            raise ChannelError("a frame of unknown kind") from None

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue a frame; dropped when the peer is gone, which `receive` reports."""
        if not self._writer.is_closing():
            self._writer.write(_HEADER.pack(len(payload), kind) + payload)

    def send_json(self, kind: Kind, value: object) -> None:
        """Queue a frame that carries JSON."""
        self.send(kind, json.dumps(value, separators=(",", ":")).encode())

    @property
    def backlog(self) -> int:
        """Bytes queued that the kernel has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def abort(self) -> None:
        """Close this end at once, without flushing."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Flush and close this end."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return


def read_json(payload: bytes) -> Any:
    """The value of a frame that carries JSON; raises ChannelError for anything else."""
    try:
        return json.loads(payload)
    except ValueError:
        raise ChannelError("a frame that is not JSON") from None
