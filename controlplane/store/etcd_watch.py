"""One watch over one stream to one endpoint, from its creation until it breaks; resuming is EtcdStore's part."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from controlplane.store.errors import StoreUnavailable
from controlplane.store.etcd_batches import Assembly
from controlplane.store.etcd_endpoint import StreamCall, cancelled
from controlplane.store.etcd_errors import from_rpc
from controlplane.store.etcd_wire import watch_request
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.protocol import Batch

LOOKS = 10
"""Number of checks for an answer within the patience. When our own event loop is held up for longer than the patience,
etcd may have answered unheard: that counts as one check."""


class WatchStream:
    """Reads one watch. `patience`: seconds of silence before a progress request, and again before the watch counts as
    dead."""

    def __init__(self, call: StreamCall, address: str, patience: float) -> None:
        self._call = call
        self.address = address
        self._patience = patience
        self._assembly = Assembly(0)
        self._reading: asyncio.Task[Any] | None = None

    async def create(self, prefix: str, after: int) -> None:
        """Request the watch and wait until etcd has accepted it; raises the errors of Assembly.add."""
        self._assembly = Assembly(after)
        await self._send(watch_request(prefix, after))
        while self._assembly.created_at is None:
            self._assembly.add(await self._receive() or self._silent())

    @property
    def created_at(self) -> int:
        """The revision of the store, as known to this member, when it accepted the watch."""
        return self._assembly.created_at or 0

    @property
    def cluster(self) -> int:
        """The identity of the cluster that accepted the watch."""
        return self._assembly.cluster

    async def next(self) -> list[Batch]:
        """The next batches; none after a mere progress notice. StoreUnavailable after silence."""
        response = await self._receive()
        if response is None:
            await self._send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
            response = await self._receive() or self._silent()
        return self._assembly.add(response)

    async def close(self) -> None:
        """End the stream."""
        self._call.cancel()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _send(self, request: pb.WatchRequest) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._call.write(request)
        except TimeoutError:
            self._silent()
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.address) from error
        except asyncio.InvalidStateError:
            pass  # it has ended: the next read raises the reason
        except asyncio.CancelledError:
            raise cancelled(self.address) from None

    async def _receive(self) -> pb.WatchResponse | None:
        """The next response, None after `patience` seconds without one."""
        # Cancelling a read would cancel the stream, so a read outlives the wait for it.
        if self._reading is None:
            self._reading = asyncio.create_task(self._call.read())
        for _ in range(LOOKS):
            done, _ = await asyncio.wait({self._reading}, timeout=self._patience / LOOKS)
            if done:
                reading, self._reading = self._reading, None
                return self._read(reading)
        return None

    def _read(self, reading: asyncio.Task[Any]) -> pb.WatchResponse:
        if not reading.cancelled():
            error = reading.exception()
            if isinstance(error, grpc.aio.AioRpcError):
                raise from_rpc(error, self.address) from error
            if error is None and isinstance(response := reading.result(), pb.WatchResponse):
                return response
        raise StoreUnavailable(f"{self.address}: the watch stream ended")

    def _silent(self) -> pb.WatchResponse:
        raise StoreUnavailable(f"{self.address}: the watch sends no messages")
