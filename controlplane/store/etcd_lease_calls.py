"""Transport of lease renewals to etcd: in batches over our own HTTP/2 connection, or one by one by grpc.aio.

By hand a renewal costs a few µs; by grpc.aio, which takes one message at a time, some 100 µs. But only gRPC reports why
etcd refuses, and it works where the other does not (its own trust store, proxies that rewrite HTTP/2). So the first is
tried, and the second whenever the first ended, or was silent, without a single answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Protocol, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from controlplane.store.errors import StoreUnavailable
from controlplane.store.etcd_endpoint import Metadata, StreamCall, cancelled
from controlplane.store.etcd_errors import from_rpc
from controlplane.store.etcd_wire import LEASE_KEEP_ALIVE
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.http2_call import Ended, Http2Call

Answers = Sequence[pb.LeaseKeepAliveResponse]

HELD_BACK = 1000
"""Received messages that were not taken yet, beyond which the connection is not read."""
MOST_UNWRITTEN = 16 * 1024 * 1024
"""Bytes that wait for the other side, beyond which the stream is ended; a million renewals. A peer that only sends
pings, or never grants a window, would use up all memory."""


class Unexplained(StoreUnavailable):
    """A stream without gRPC could not be opened, or ended. gRPC can give the reason."""


class LeaseCall(Protocol):
    """One stream of renewals."""

    async def write(self, leases: Sequence[int]) -> None:
        """Ask for renewals. When that fails, `read` raises the reason."""

    async def read(self) -> Answers:
        """The next answers. Raises StoreUnavailable, AccessDenied when there are no more."""

    def cancel(self) -> None:
        """End it; `read` raises StoreUnavailable."""


class GrpcCall:
    """By grpc.aio."""

    def __init__(self, call: StreamCall, address: str) -> None:
        self._call = call
        self._address = address

    async def write(self, leases: Sequence[int]) -> None:
        for lease in leases:
            await self._call.write(pb.LeaseKeepAliveRequest(id=lease))

    async def read(self) -> Answers:
        try:
            answer = await self._call.read()
            if isinstance(answer, pb.LeaseKeepAliveResponse):
                return (answer,)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self._address) from error
        except asyncio.InvalidStateError:
            pass  # grpc.aio's word for "it ended meanwhile"
        except asyncio.CancelledError:
            raise cancelled(self._address) from None
        raise StoreUnavailable(f"{self._address}: the stream of lease renewals ended")

    def cancel(self) -> None:
        self._call.cancel()


class HandCall(asyncio.Protocol):
    """By hand, over a connection of its own."""

    def __init__(self, address: str, call: Http2Call) -> None:
        self._address = address
        self._call = call
        self._transport: asyncio.Transport | None = None
        self._received: list[bytes] = []
        self._paused = False
        self._news = asyncio.Event()
        self._ended: StoreUnavailable | None = None

    @classmethod
    async def connect(cls, address: str, tls: ssl.SSLContext | None, metadata: Metadata) -> HandCall:
        """A stream on a new connection to host:port. Raises OSError."""
        method = LEASE_KEEP_ALIVE.path
        host, _, port = address.rpartition(":")
        _, made = await asyncio.get_running_loop().create_connection(
            lambda: cls(address, Http2Call(method, address, tls is not None, metadata)),
            host.strip("[]"),
            int(port),
            ssl=tls,
        )
        return made

    async def write(self, leases: Sequence[int]) -> None:
        self._call.send(pb.LeaseKeepAliveRequest(id=lease).SerializeToString() for lease in leases)
        self._flush()

    async def read(self) -> Answers:
        while not self._received:
            if self._ended is not None:
                raise self._ended
            self._news.clear()
            await self._news.wait()
        received, self._received = self._received, []
        if self._paused and self._transport is not None:
            self._transport.resume_reading()
        self._paused = False
        try:
            return [pb.LeaseKeepAliveResponse.FromString(message) for message in received]
        except DecodeError:
            raise Unexplained(f"{self._address}: the response is not a lease renewal") from None

    def cancel(self) -> None:
        self._end(StoreUnavailable(f"{self._address}: the stream of lease renewals was cancelled"))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of it.
        self._transport = cast(asyncio.Transport, transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            self._received += self._call.receive(data)
        except Ended as ended:
            self._end(Unexplained(f"{self._address}: {ended}"))
            return
        if len(self._received) > HELD_BACK and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._flush()
        self._news.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Unexplained(f"{self._address}: {error or 'the connection was closed'}"))

    def _flush(self) -> None:
        if self._transport is None:
            return
        if data := self._call.outgoing():
            self._transport.write(data)
        if self._transport.get_write_buffer_size() + self._call.unsent > MOST_UNWRITTEN:
            self._end(Unexplained(f"{self._address}: etcd does not read the stream of lease renewals"))

    def _end(self, why: StoreUnavailable) -> None:
        self._ended = self._ended or why
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._news.set()
