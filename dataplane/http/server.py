"""What the connections of one worker share: the gateway, the bounds, one clock tick, and new upstream connections.

Nothing on the request path starts a timer: every client connection has one deadline, and a tick looks for those that
have passed. Only an exchange that finds no pooled connection becomes a task, for as long as it takes to connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from email.utils import formatdate
from time import monotonic, time

from dataplane.http.bounds import Bounds
from dataplane.http.downstream import Downstream
from dataplane.http.exchange import Decider, Exchange
from dataplane.http.pool import Endpoint, Pool
from dataplane.http.refusals import TimedOut, Unavailable
from dataplane.http.trust import TrustedProxies
from dataplane.http.upstream import Upstream
from dataplane.policy.breaker import Outcome
from dataplane.policy.retry import may_try_another

logger = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between looks at the deadlines: time-outs come up to this much late."""


class Server:
    """Serves client connections until it is drained. Belongs to one event loop."""

    def __init__(
        self,
        decider: Decider,
        pool: Pool,
        bounds: Bounds | None = None,
        trusted: TrustedProxies | None = None,
    ) -> None:
        self.decider = decider
        self.bounds = bounds or Bounds()
        self.trusted = trusted or TrustedProxies()
        self.connections: set[Downstream] = set()
        self.draining = False
        self.date = b""
        """The Date field of this second (`names.begin` tells the form)."""
        self._pool = pool
        self._servers: list[asyncio.AbstractServer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ids = os.urandom(10).hex().encode()
        self._last_id = 0
        self._empty = asyncio.Event()
        self._date_second = 0

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket; may be called for several."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._tick()
        self._servers.append(await loop.create_server(lambda: Downstream(self), sock=listener, backlog=4096))

    async def drain(self, timeout: float) -> None:
        """Accept nothing more, finish what is under way for at most `timeout` seconds, then close everything."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._left()
        for connection in list(self.connections):
            connection.transport.abort()
        await self._left()
        self._pool.close()
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def gone(self, connection: Downstream) -> None:
        """A client connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    def request_id(self) -> bytes:
        """32 hex digits, unique: a random prefix for this worker and a count."""
        self._last_id += 1
        return b"%b%012x" % (self._ids, self._last_id)

    def dial(self, exchange: Exchange) -> None:
        """Connect to the exchange's endpoint, or another that accepts, and send it there."""
        task = asyncio.get_running_loop().create_task(self._dial(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._dialled)

    # --- inside

    async def _left(self) -> None:
        """Wait until no client connection is left."""
        self._empty.clear()
        if self.connections:
            await self._empty.wait()

    async def _dial(self, exchange: Exchange) -> None:
        service = exchange.service
        assert service is not None
        tried: list[Endpoint] = []
        refusal: object = None
        while not exchange.ended:
            endpoint = exchange.endpoint
            assert endpoint is not None
            tried.append(endpoint)
            exchange.client.deadline = monotonic() + service.timeouts.connect + 1.0
            try:
                async with asyncio.timeout(service.timeouts.connect):
                    upstream = await self._connect(endpoint)
            except TimeoutError:
                refusal = TimedOut(f"no connection to {endpoint.id} in time")
            except OSError as error:
                refusal = Unavailable(f"no connection to {endpoint.id}: {error.strerror or error}")
            else:
                if not upstream.transport.is_closing():
                    self._connected(exchange, upstream)
                    return
                refusal = Unavailable(f"{endpoint.id} closed the connection at once")
            if not may_try_another(len(tried), service) or not self.decider.another(exchange, tried):
                break
        if not exchange.ended:
            exchange.client.failed(exchange, refusal, Outcome.FAILURE)

    async def _connect(self, endpoint: Endpoint) -> Upstream:
        loop = asyncio.get_running_loop()
        instance = endpoint.instance
        _, upstream = await loop.create_connection(
            lambda: Upstream(endpoint, self), instance.host, instance.port
        )
        return upstream

    def _connected(self, exchange: Exchange, upstream: Upstream) -> None:
        now = monotonic()
        if exchange.ended:
            # The client left meanwhile: the connection may serve somebody else.
            upstream.keep(now)
            return
        client = exchange.client
        client.deadline = now + (exchange.response_timeout if exchange.complete else self.bounds.body_timeout)
        upstream.send(exchange, now)
        client.settle_reading()

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("connecting to an instance failed unexpectedly", exc_info=error)

    def _tick(self) -> None:
        now = monotonic()
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.expire()
        second = int(time())
        if second != self._date_second:
            self._date_second = second
            self.date = f"\r\ndate: {formatdate(usegmt=True)}".encode()
            self._pool.sweep(now)
