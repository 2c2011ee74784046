"""The channel between the supervisor and one worker: frames over a socket pair that both inherit.

A frame is 4 bytes of payload length (big endian), 1 byte of kind, and the payload. When one side dies, the other reads
the end of the stream. A worker sends a frame at least every second: see `supervisor.liveness`.
"""

from __future__ import annotations

import asyncio
import json
import struct
from enum import IntEnum, unique
from typing import Any

MAX_PAYLOAD = 64 * 1024 * 1024
"""Largest payload from the supervisor, in bytes."""
MAX_REPORT = 16 * 1024 * 1024
"""Largest payload from a worker, in bytes: statistics of 100,000 services."""
_HEADER = struct.Struct(">IB")


@unique
class Kind(IntEnum):
    """The kind of a frame. Below 10, and 20 to 29: from the supervisor to a worker; others: to the supervisor."""

    PART = 1
    """A part of a change, with more to follow: protobuf headgate.v1.Delta."""
    DELTA = 2
    """The last or only part of a change, which the worker now applies."""
    HEALTH = 3
    """JSON list of "<service>/<instance>": all instances that take no traffic; sent before a change that adds
    instances."""
    SERVE = 4
    """Start accepting connections; sent once, after the first change if there is one."""
    CERTIFICATES = 6
    """The node's certificates and keys (`certificates.NodeCertificates`), if there are any; sent before SERVE, and
    again when they change."""
    GRANTS = 7
    """Protobuf headgate.v1.LimitAnswers: the answers of owners of limits."""
    LOST = 8
    """The last request for leases of fleet limits will not be answered: send it again."""
    REDIS = 9
    """The address of Redis (`redis.options.RedisOptions`), if configured; sent before the first change."""
    SHARES = 20
    """JSON list of [limit, counts_by, starter, pace, until]: shares of this worker's predecessors in limits of the
    fleet (`headgate_api.leases.successor`); sent before the first change if there are any."""
    PORTS = 22
    """JSON list of ports: their bound sockets have been passed over the other socket pair (`worker.ports`), as one
    message; sent before the change that needs them."""
    CLOSE = 23
    """JSON list of ports: close them, and drain their connections."""
    REOPEN = 21
    """Open the file of the access log again: it has been rotated."""
    QUESTION = 24
    """Protobuf headgate.v1.Question: of an operator."""
    DRAIN = 5
    """Stop accepting, finish the requests in flight, exit."""

    APPLIED = 10
    """JSON {revision, digest}: the table is in use."""
    REJECTED = 11
    """JSON {revision, digest, problems: [[resource, field, detail]…]}: the previous table is still in use."""
    STATS = 12
    """JSON, once a second: see observe.stats. Also the worker's heartbeat: see supervisor.liveness."""
    REDIS_STATE = 17
    """JSON {since, reason}: Redis does not answer this worker since that time, Unix seconds; null while it does."""
    SERVING = 14
    """The answer to SERVE: the worker accepts connections."""
    NODE_ASKS = 15
    """Protobuf headgate.v1.LimitAsks: the worker's requests for leases to the supervisor, which owns the limits that
    the workers of one data plane share."""
    FLEET_ASKS = 16
    """The same, for limits that control planes own."""
    RESET = 18
    """JSON {revision, limits, shared, unreached}: the order of this revision to refill buckets has been obeyed, with
    the limits that it found (`gateway.resets.Outcome`)."""
    ANSWER = 32
    """Protobuf headgate.v1.Answer: to a QUESTION."""
    DROPPED = 19
    """The worker no longer spends any of the SHARES."""
    SPANS = 30
    """Spans of finished requests: their number, 4 bytes (big endian), and protobuf fields `spans` of OTLP's
    ScopeSpans."""
    LOG_RECORDS = 31
    """The same for log records: fields `log_records` of ScopeLogs."""
    LEAVING = 13
    """JSON {"<service>/<instance>": requests in flight} of all instances that take no new ones; sent before the APPLIED
    of the change that removes them, and after the last response of each."""


TELEMETRY = (Kind.SPANS, Kind.LOG_RECORDS)
"""Frames with what is exported to a collector of OpenTelemetry."""


class ChannelError(Exception):
    """The peer violated this protocol."""


class Channel:
    """One end of the channel."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int = MAX_PAYLOAD
    ) -> None:
        """`limit`: the largest payload accepted from the peer, in bytes."""
        self._limit = limit
        self._reader = reader
        self._writer = writer

    async def receive(self) -> tuple[Kind, bytes] | None:
        """The next frame; None at the end of the stream. Raises ChannelError for an invalid one."""
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
        """Queue a frame. Dropped when the channel is closing; `receive` reports the end."""
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
    """The value of a JSON payload. Raises ChannelError when it is not JSON."""
    try:
        return json.loads(payload)
    except ValueError:
        raise ChannelError("a frame that is not JSON") from None
