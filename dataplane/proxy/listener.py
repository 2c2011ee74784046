"""Client connections: accepted from bound sockets, counted, and waited for when the worker drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from dataplane.proxy.acceptor import Acceptor
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.trust import Peer, TrustedProxies

logger = logging.getLogger(__name__)


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


Make = Callable[[str, str | None], asyncio.Protocol]
"""Makes the protocol of a new connection: for "http" or "https", and the address that the peer speaks for."""


class Connections:
    """The client connections of one worker, within its bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.refused = 0
        """Connections beyond a bound since the start."""
        self._bounds = bounds
        self._open: set[ClientConnection] = set()
        self._by_address: dict[str, int] = {}
        """Connections of each address that is no trusted proxy; kept only where they are bounded."""
        self._none = asyncio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(self._open)

    def admit(self, connection: ClientConnection) -> bool:
        """Count a new connection; False if there are too many, of all or of its address."""
        bounds, peer = self._bounds, connection.peer
        if len(self._open) >= bounds.connections:
            self.refused += 1
            return False
        if bounds.connections_per_address and not peer.trusted:
            count = self._by_address.get(peer.address, 0)
            if count >= bounds.connections_per_address:
                self.refused += 1
                return False
            self._by_address[peer.address] = count + 1
        self._open.add(connection)
        return True

    def gone(self, connection: ClientConnection) -> None:
        """A connection has ended; it may be one that was not admitted."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        peer = connection.peer
        if self._bounds.connections_per_address and not peer.trusted:
            self._by_address[peer.address] -= 1
            if not self._by_address[peer.address]:
                del self._by_address[peer.address]
        if not self._open:
            self._none.set()

    def replace(self, before: ClientConnection, after: ClientConnection) -> None:
        """Another protocol is spoken on a connection from now on."""
        self._open.remove(before)
        self._open.add(after)

    async def all_gone(self) -> None:
        """Wait until none is left."""
        self._none.clear()
        if self._open:
            await self._none.wait()


class Listener:
    """Accepts connections on bound sockets until it drains."""

    def __init__(self, make: Make, connections: Connections, bounds: Bounds) -> None:
        self._make = make
        self._connections = connections
        self._bounds = bounds
        self._servers: list[asyncio.AbstractServer | Acceptor] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        """Accept connections on a bound socket, of TLS with a context; may be called for several.

        `proxies` must say with the PROXY protocol whom they speak for.
        """
        bounds, make = self._bounds, self._make
        if proxies is not None:
            begin = partial(self._begin, tls)
            self._servers.append(
                Acceptor(listener, proxies, begin, bounds.handshake_timeout, bounds.connections)
            )
            return
        loop = asyncio.get_running_loop()
        if tls is None:
            made = await loop.create_server(lambda: make("http", None), sock=listener, backlog=4096)
        else:
            made = await loop.create_server(
                lambda: make("https", None),
                sock=listener,
                backlog=4096,
                ssl=tls,
                ssl_handshake_timeout=bounds.handshake_timeout,
                ssl_shutdown_timeout=bounds.linger_timeout,
            )
        self._servers.append(made)

    async def drain(self, timeout: float) -> None:
        """Accept nothing more, finish what is under way for at most `timeout` seconds, then close everything."""
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._connections.all_gone()
        for connection in list(self._connections):
            connection.transport.abort()
        await self._connections.all_gone()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, tls: ssl.SSLContext | None, accepted: socket.socket, source: str | None) -> None:
        """An accepted socket becomes a connection of the client at `source`."""
        task = asyncio.get_running_loop().create_task(self._adopt(tls, accepted, source))
        self._tasks.add(task)
        task.add_done_callback(self._begun)

    async def _adopt(self, tls: ssl.SSLContext | None, accepted: socket.socket, source: str | None) -> None:
        loop, make = asyncio.get_running_loop(), self._make
        try:
            if tls is None:
                await loop.connect_accepted_socket(lambda: make("http", source), accepted)
                return
            await loop.connect_accepted_socket(
                lambda: make("https", source),
                accepted,
                ssl=tls,
                ssl_handshake_timeout=self._bounds.handshake_timeout,
                ssl_shutdown_timeout=self._bounds.linger_timeout,
            )
        except OSError:
            # A handshake that failed, or a client that is gone: nobody is left to tell.
            accepted.close()

    def _begun(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("taking up a connection failed unexpectedly", exc_info=error)
