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
import ssl
from binascii import hexlify
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from time import monotonic, time
from typing import Final, Protocol

from dataplane.gateway.policy.breaker import Outcome
from dataplane.gateway.policy.retry import CONNECT
from dataplane.proxy.acceptor import Acceptor
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.client import Downstream
from dataplane.proxy.descriptors import EXHAUSTED
from dataplane.proxy.errors import Exhausted, TimedOut, Unavailable
from dataplane.proxy.exchange import Decider, Exchange
from dataplane.proxy.half_closed import HalfClosed
from dataplane.proxy.http1.head_cache import Remembered
from dataplane.proxy.http1.request import Request
from dataplane.proxy.http1.response import Answer
from dataplane.proxy.pool import Connection, Endpoint, Pool
from dataplane.proxy.tls import ClientContexts
from dataplane.proxy.trust import Peer, TrustedProxies
from dataplane.proxy.upstream import Upstream
from dataplane.proxy.writer import Turn

logger = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between looks at the deadlines: time-outs come up to this much late."""

_GOLDEN: Final = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio, odd: steps of it, modulo 2**64, spread as evenly as any (a Weyl sequence)."""
_MASK: Final = 2**64 - 1


class ClientConnection(Protocol):
    """A client's connection, whatever is spoken on it."""

    deadline: float
    """Monotonic time at which `expire` is called."""
    transport: asyncio.Transport
    peer: Peer

    def expire(self) -> None:
        """The deadline has passed: set another one, or end."""

    def drain(self) -> None:
        """Take nothing new, and end when nothing is under way."""


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
        self.contexts = ClientContexts()
        """For connections to instances over TLS."""
        self.turn = Turn(self.soon)
        self.heads: Remembered[Request] = Remembered()
        """What untrusted clients' requests said, by all that followed their targets."""
        self.answers: Remembered[Answer] = Remembered()
        """What responses said, by their heads."""
        self.connections: set[ClientConnection] = set()
        self.refused_connections = 0
        """Since the start."""
        self._by_address: dict[str, int] = {}
        """Connections of each address that is no trusted proxy; kept only where they are bounded."""
        self.half_closed = HalfClosed(self.bounds.half_close)
        self.unread: set[Downstream] = set()
        """Clients that nothing is read from while what they sent waits: not even that they leave."""
        self.draining = False
        self.date = b""
        """The Date field of this second (`names.begin` tells the form)."""
        self._pool = pool
        self._servers: list[asyncio.AbstractServer | Acceptor] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ids = os.urandom(8).hex().encode()
        self._last_id = int.from_bytes(os.urandom(8))
        self._empty = asyncio.Event()
        self._limited: dict[Exchange, float] = {}
        """Exchanges whose whole time is limited, and when it is up."""
        self._date_second = 0

    async def start(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        """Accept connections on a bound socket, of TLS with a context; may be called for several.

        `proxies` must say with the PROXY protocol whom they speak for.
        """
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._tick()
        if proxies is not None:
            bounds = self.bounds
            begin = partial(self._begin, tls)
            self._servers.append(
                Acceptor(listener, proxies, begin, bounds.handshake_timeout, bounds.connections)
            )
            return
        if tls is None:
            made = await loop.create_server(lambda: Downstream(self), sock=listener, backlog=4096)
        else:
            made = await loop.create_server(
                lambda: Downstream(self, "https"),
                sock=listener,
                backlog=4096,
                ssl=tls,
                ssl_handshake_timeout=self.bounds.handshake_timeout,
                ssl_shutdown_timeout=self.bounds.linger_timeout,
            )
        self._servers.append(made)

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

    def admit(self, connection: Downstream) -> bool:
        """Count a new client connection; False if there are too many, of all or of its address."""
        bounds, peer = self.bounds, connection.peer
        if len(self.connections) >= bounds.connections:
            self.refused_connections += 1
            return False
        if bounds.connections_per_address and not peer.trusted:
            count = self._by_address.get(peer.address, 0)
            if count >= bounds.connections_per_address:
                self.refused_connections += 1
                return False
            self._by_address[peer.address] = count + 1
        self.connections.add(connection)
        return True

    def gone(self, connection: ClientConnection) -> None:
        """A client connection has ended; it may be one that was not admitted."""
        self.unread.discard(connection)
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        peer = connection.peer
        if self.bounds.connections_per_address and not peer.trusted:
            self._by_address[peer.address] -= 1
            if not self._by_address[peer.address]:
                del self._by_address[peer.address]
        if not self.connections:
            self._empty.set()

    def tunnelled(self, exchange: Exchange, tunnel: ClientConnection) -> None:
        """A tunnel stands in for the client's connection from now on, and takes as long as it takes."""
        self.connections.remove(exchange.client)
        self.connections.add(tunnel)
        self._limited.pop(exchange, None)

    def soon(self, callback: Callable[[], None]) -> None:
        """Have this called when the event loop has handled what it found to do."""
        asyncio.get_running_loop().call_soon(callback)

    def request_id(self) -> bytes:
        """32 hex digits, unique: a random half for this worker, and one that takes every value once, evenly spread.

        So a trace that has it as its id is sampled like one with a random id.
        """
        self._last_id = count = (self._last_id + _GOLDEN) & _MASK
        return self._ids + hexlify(count.to_bytes(8))

    def dial(self, exchange: Exchange) -> None:
        """Connect to the exchange's endpoint, or another that accepts, and send it there."""
        task = asyncio.get_running_loop().create_task(self._dial(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._dialled)

    def try_again(self, exchange: Exchange, cause: str) -> bool:
        """Send an exchange that has lost its connection to another instance, perhaps after a back-off, if it may be.

        The one kind of exchange that gets a timer; all others have their client's deadline.
        """
        wait = self.decider.retry(exchange, cause)
        if wait is None:
            return False
        if exchange.replay:
            exchange.body, exchange.replay = exchange.replay + exchange.body, []
        exchange.client.deadline = monotonic() + wait + 1.0
        exchange.client.settle_reading()
        if wait:
            self.back_off(exchange, wait)
        else:
            self.resume(exchange)
        return True

    def back_off(self, exchange: Exchange, seconds: float) -> None:
        """Resume the exchange after a while."""
        asyncio.get_running_loop().call_later(seconds, self.resume, exchange)

    def resume(self, exchange: Exchange) -> None:
        """Send an exchange to the endpoint it has now, unless it has ended."""
        endpoint = exchange.endpoint
        if exchange.ended or endpoint is None:
            return
        if endpoint.idle:
            self._send(exchange, endpoint.idle.pop())
        else:
            self.dial(exchange)

    def limit(self, exchange: Exchange, end: float) -> None:
        """Have the exchange end by monotonic time `end`."""
        self._limited[exchange] = end

    def look(self, now: float) -> None:
        """End what has waited for too long."""
        for connection in [c for c in self.connections if c.deadline <= now]:
            connection.expire()
        if self._limited:
            self._end_overdue(now)
        if self.unread:
            for client in list(self.unread):
                client.look_at_peer(now)
        if self.half_closed:
            for exchange in self.half_closed.gone(now):
                exchange.client.left()

    def connected(self, exchange: Exchange, upstream: Upstream) -> None:
        """A connection for the exchange has been made."""
        if exchange.ended:
            # The client left meanwhile: the connection may serve somebody else.
            upstream.keep(monotonic())
        else:
            self._send(exchange, upstream)

    def unconnected(self, exchange: Exchange, refusal: object) -> None:
        """No connection for the exchange could be made: another instance may accept."""
        if not exchange.ended and not self.try_again(exchange, CONNECT):
            self._fail(exchange, refusal, Outcome.FAILURE)

    # --- inside

    def _begin(self, tls: ssl.SSLContext | None, accepted: socket.socket, source: str | None) -> None:
        """An accepted socket becomes a connection of the client at `source`."""
        task = asyncio.get_running_loop().create_task(self._adopt(tls, accepted, source))
        self._tasks.add(task)
        task.add_done_callback(self._begun)

    async def _adopt(self, tls: ssl.SSLContext | None, accepted: socket.socket, source: str | None) -> None:
        loop = asyncio.get_running_loop()
        scheme = "http" if tls is None else "https"
        try:
            if tls is None:
                await loop.connect_accepted_socket(lambda: Downstream(self, scheme, source), accepted)
                return
            await loop.connect_accepted_socket(
                lambda: Downstream(self, scheme, source),
                accepted,
                ssl=tls,
                ssl_handshake_timeout=self.bounds.handshake_timeout,
                ssl_shutdown_timeout=self.bounds.linger_timeout,
            )
        except OSError:
            # A handshake that failed, or a client that is gone: nobody is left to tell.
            accepted.close()

    def _begun(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("taking up a connection failed unexpectedly", exc_info=error)

    async def _left(self) -> None:
        """Wait until no client connection is left."""
        self._empty.clear()
        if self.connections:
            await self._empty.wait()

    async def _dial(self, exchange: Exchange) -> None:
        service, endpoint = exchange.service, exchange.endpoint
        assert service is not None and endpoint is not None
        exchange.client.deadline = monotonic() + service.timeouts.connect + 1.0
        refusal: TimedOut | Unavailable
        try:
            async with asyncio.timeout(service.timeouts.connect):
                upstream = await self._connect(endpoint)
        except TimeoutError:
            refusal = TimedOut(f"no connection to {endpoint.id} in time")
        except OSError as error:
            if error.errno in EXHAUSTED:
                # Ours to mend, not the instance's, and not another's.
                self._pool.shed()
                self._fail(exchange, Exhausted(), Outcome.ABANDONED)
                return
            refusal = Unavailable(f"no connection to {endpoint.id}: {error.strerror or error}")
        else:
            if not upstream.transport.is_closing():
                self.connected(exchange, upstream)
                return
            refusal = Unavailable(f"{endpoint.id} closed the connection at once")
        self.unconnected(exchange, refusal)

    def _fail(self, exchange: Exchange, refusal: object, outcome: Outcome) -> None:
        if not exchange.ended:
            exchange.client.failed(exchange, refusal, outcome)

    async def _connect(self, endpoint: Endpoint) -> Upstream:
        loop = asyncio.get_running_loop()
        host, port, tls = endpoint.instance.host, endpoint.instance.port, endpoint.tls
        if tls is None:
            _, upstream = await loop.create_connection(lambda: Upstream(endpoint, self), host, port)
            return upstream
        _, upstream = await loop.create_connection(
            lambda: Upstream(endpoint, self),
            host,
            port,
            ssl=await self.contexts.get(tls.ca),
            server_hostname=tls.server_name or host,
            ssl_shutdown_timeout=self.bounds.linger_timeout,
        )
        return upstream

    def _send(self, exchange: Exchange, upstream: Connection) -> None:
        now = monotonic()
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
        self.look(now)
        second = int(time())
        if second != self._date_second:
            self._date_second = second
            self.date = f"\r\ndate: {formatdate(usegmt=True)}".encode()
            self._pool.sweep(now)

    def _end_overdue(self, now: float) -> None:
        for exchange, end in list(self._limited.items()):
            if exchange.ended or end <= now:
                del self._limited[exchange]
            if not exchange.ended and end <= now:
                exchange.client.overdue(exchange)
