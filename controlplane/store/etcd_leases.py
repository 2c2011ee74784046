"""Lease renewals of a whole process over one stream to one endpoint.

A stream per renewal costs five times as much. The stream is opened for the first renewal. When it breaks, or falls
silent while answers are due, the next endpoint is tried and what waits is sent again: renewing twice does no harm.
It goes to the leader, because another member asks the leader for one renewal after the other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import grpc
import grpc.aio

from controlplane.store.errors import AccessDenied, LeaseGone, StoreError, StoreUnavailable
from controlplane.store.etcd_client import EtcdClient, Opened
from controlplane.store.etcd_endpoint import cancelled
from controlplane.store.etcd_errors import from_rpc
from controlplane.store.etcd_wire import LEASE_KEEP_ALIVE
from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.renewals import Renewals

PAUSE = 0.05
"""Seconds between two streams."""
LOOK = 30.0
"""Seconds after which it is looked whether another member leads by now."""
GATHER = 0.05
"""Seconds in which renewals gather to be sent one right after the other. Sent one by one, 300 a second, they cost etcd
twice as much."""
TICKS = 20
"""Looks at what is overdue within the time-out."""


class LeaseStream:
    """Renews leases. Callers wait at most for the client's time-out."""

    def __init__(self, client: EtcdClient, look: float = LOOK) -> None:
        self.look = look
        self._client = client
        self._renewals: Renewals[asyncio.Future[float]] = Renewals()
        self._unsent: deque[int] = deque()
        self._asked = asyncio.Event()
        self._opened: Opened | None = None
        self._heard = 0.0
        """When this stream was opened, or last answered."""
        self._proven = False
        """Whether this stream has answered at all."""
        self._silent = False
        self._failures: list[str] = []
        """Of the endpoints that were tried in a row."""
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def renew(self, lease: int) -> float:
        """Renew a lease, unless that was done a moment ago; return the seconds until it ends.

        Raises LeaseGone, StoreUnavailable, AccessDenied.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if (left := self._renewals.left(lease, now)) is not None:
            return left
        if self._client.closed:
            raise StoreUnavailable("the store is closed")
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run(), name="etcd: leases")
        waiter: asyncio.Future[float] = loop.create_future()
        if self._renewals.ask(lease, waiter, now):
            self._unsent.append(lease)
            self._asked.set()
            if self._timer is None:
                self._timer = loop.call_later(self._client.timeout / TICKS, self._tick)
        ttl = await waiter
        if ttl <= 0:
            raise LeaseGone(lease)
        return ttl

    def forget(self, lease: int) -> None:
        """The lease was revoked."""
        self._renewals.forget(lease)

    async def close(self) -> None:
        """Give the stream up; who waits hears that the store is closed."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self._fail(StoreUnavailable("the store is closed"))

    # The stream

    async def _run(self) -> None:
        renewed_token = False
        while True:
            if not self._renewals:
                self._asked.clear()
                await self._asked.wait()
            self._proven = self._silent = False
            try:
                await self._stream()
            except AccessDenied as error:
                # An expired token; any refusal is tried once more with a new one.
                token = self._opened.token if self._opened else ""
                if (renewed_token and not self._proven) or not self._client.refuse(token):
                    self._fail(error)
                renewed_token = True
            except StoreUnavailable as error:
                self._broken(error)
            except StoreError as error:
                self._fail(error)
            else:
                raise AssertionError("a stream ends with an error")
            if self._proven:
                renewed_token = False
            self._opened = None
            await asyncio.sleep(PAUSE)

    async def _stream(self) -> None:
        opened = self._opened = await self._client.open(LEASE_KEEP_ALIVE)
        self._heard = asyncio.get_running_loop().time()
        self._unsent = deque(self._renewals.unanswered())
        self._asked.set()
        beside = (
            asyncio.create_task(self._write(opened.call), name="etcd: leases, writing"),
            asyncio.create_task(self._follow_leader(opened), name="etcd: leases, leader"),
        )
        try:
            await self._read(opened)
        finally:
            opened.call.cancel()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _write(self, call: Any) -> None:
        """Send what is asked for. When that fails, reading tells why."""
        while True:
            while self._unsent:
                await call.write(pb.LeaseKeepAliveRequest(id=self._unsent.popleft()))
            self._asked.clear()
            await self._asked.wait()
            await asyncio.sleep(GATHER)

    async def _follow_leader(self, opened: Opened) -> None:
        """End the stream when another member leads: the next one goes there."""
        while self._client.members > 1:
            await asyncio.sleep(self.look)
            if await self._client.leader(opened.token) not in (None, opened.address):
                opened.call.cancel()

    async def _read(self, opened: Opened) -> None:
        loop = asyncio.get_running_loop()
        try:
            while isinstance(answer := await opened.call.read(), pb.LeaseKeepAliveResponse):
                self._heard, self._proven = loop.time(), True
                self._failures.clear()
                for waiter in self._renewals.answered(answer.id, answer.ttl, self._heard):
                    if not waiter.done():
                        waiter.set_result(float(answer.ttl))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, opened.address) from error
        except asyncio.InvalidStateError:
            pass  # grpc.aio's word for "it ended meanwhile"
        except asyncio.CancelledError:
            if self._silent and isinstance(cancelled(opened.address), StoreUnavailable):
                raise StoreUnavailable(f"{opened.address}: no answer in time") from None
            raise cancelled(opened.address) from None
        raise StoreUnavailable(f"{opened.address}: the stream of lease renewals ended")

    # When it fails

    def _broken(self, error: StoreUnavailable) -> None:
        """Another endpoint is next. Once all have failed in a row, whoever waits hears of it."""
        if self._opened is not None:
            self._client.avoid(self._opened.address)
        if not self._proven:
            self._failures.append(error.detail)
        if len(self._failures) >= self._client.members:
            self._fail(StoreUnavailable("; ".join(self._failures)))
            self._failures.clear()

    def _tick(self) -> None:
        """End what is overdue, and a stream that is silent although answers are due."""
        loop, timeout = asyncio.get_running_loop(), self._client.timeout
        now = loop.time()
        if self._opened is not None and self._is_silent(now):
            self._silent = True
            self._opened.call.cancel()
        address = f"{self._opened.address}: " if self._opened else ""
        late = StoreUnavailable("; ".join(self._failures) or f"{address}no answer in time")
        self._end(self._renewals.overdue(now - timeout), late)
        self._timer = loop.call_later(timeout / TICKS, self._tick) if self._renewals else None

    def _is_silent(self, now: float) -> bool:
        oldest = self._renewals.oldest
        return (
            oldest is not None
            and now - max(oldest, self._heard) >= self._client.timeout / self._client.members
        )

    def _fail(self, error: StoreError) -> None:
        self._unsent.clear()
        self._end(self._renewals.overdue(float("inf")), error)

    @staticmethod
    def _end(waiters: list[asyncio.Future[float]], error: StoreError) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
