"""The channel between the supervisor and one worker: frames over a socket pair that both inherit.

A frame is 4 bytes of length (big endian, of the payload), 1 byte of kind, and the payload. When one side dies the
other reads the end of the stream: that is how a worker learns that it is alone.
"""

from __future__ import annotations

import asyncio
import json
import struct
from enum import IntEnum
from typing import Any

MAX_PAYLOAD = 64 * 1024 * 1024
_HEADER = struct.Struct(">IB")


class Kind(IntEnum):
    """What a frame says. From the supervisor down:"""

    PART = 1
    """A piece of a change, more follow: protobuf headgate.v1.Delta."""
    DELTA = 2
    """The last or only piece of a change, which is to be applied now."""
    HEALTH = 3
    """JSON list of "<service>/<instance>" that take no traffic; sent before a change that brings new ones."""
    SERVE = 4
    """Start accepting connections; sent once, after the first change if there is one."""
    IDENTITY = 6
    """The node's certificates and keys (`certificates.Identity`); sent before SERVE where there are any, and again
    when they change."""
    DRAIN = 5
    """Stop accepting, finish what is in flight, exit."""

    APPLIED = 10
    """From the worker up: JSON {revision, digest}: the table is in use."""
    REJECTED = 11
    """JSON {revision, digest, problems: [[resource, field, detail]…]}: the table before is still in use."""
    STATS = 12
    """JSON, every second: see observe.stats."""
    SERVING = 14
    """It accepts connections: the answer to SERVE."""
    LEAVING = 13
    """JSON {"<service>/<instance>": requests under way} of all that take no new ones, where there are any; sent before
    the APPLIED that makes it so, and whenever one has answered its last."""


class ChannelError(Exception):
    """The other side does not speak this protocol."""


class Channel:
    """One end of the channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> tuple[Kind, bytes] | None:
        """The next frame; None at the end of the stream. Raises ChannelError for nonsense."""
        try:
            length, kind = _HEADER.unpack(await self._reader.readexactly(_HEADER.size))
            if length > MAX_PAYLOAD:
                raise ChannelError(f"a frame of {length} bytes")
            return Kind(kind), await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except ValueError:
            raise ChannelError("a frame of unknown kind") from None

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Queue a frame. One that can no longer be delivered is dropped: `receive` tells that the peer is gone."""
        if not self._writer.is_closing():
            self._writer.write(_HEADER.pack(len(payload), kind) + payload)

    def send_json(self, kind: Kind, value: object) -> None:
        """Queue a frame that carries JSON."""
        self.send(kind, json.dumps(value, separators=(",", ":")).encode())

    @property
    def backlog(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

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
