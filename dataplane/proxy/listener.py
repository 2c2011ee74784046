"""Client connections: accepts them on bound sockets, and waits for them when the worker drains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

from dataplane.proxy.acceptor import Acceptor
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import ClientConnection, Connections
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.tls import Front
from dataplane.proxy.tls_downstream import TlsDownstream
from dataplane.proxy.tls_port import PortFront
from dataplane.proxy.trust import Peer, TrustedProxies

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel may allow fewer (listen(2))."""

Make = Callable[[Peer, Entrance], asyncio.Protocol]
"""Makes the protocol of a client's connection."""


class Listener:
    """Accepts connections on bound sockets until it drains."""

    def __init__(
        self,
        make: Make,
        connections: Connections,
        bounds: Bounds,
        trusted: TrustedProxies,
        refusal: Callable[[], bytes],
    ) -> None:
        """`refusal` makes the response to a connection above the limit."""
        self.make = make
        self.connections = connections
        self.bounds = bounds
        self.trusted = trusted
        self.refusal = refusal
        self._acceptors: list[tuple[Acceptor, Entrance]] = []

    def start(
        self,
        listener: socket.socket,
        entrance: Entrance,
        front: Front | PortFront | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        """Accept connections on a bound socket; with TLS if there is a `front`. May be called for several sockets.

        Connections from `proxies` must begin with a PROXY header.
        """
        listener.listen(BACKLOG)
        taker = _Plain(self, listener, entrance)
        if front is not None:
            taker = _Secure(self, listener, entrance, front)
        timeout = self.bounds.handshake_timeout
        self._acceptors.append((Acceptor(listener, taker, self.connections, proxies, timeout), entrance))

    def close(self, entrance: Entrance, timeout: float) -> None:
        """Close a port: accept no more, let exchanges finish for at most `timeout` seconds, then abort."""
        entrance.draining = True
        for acceptor, where in self._acceptors:
            if where is entrance:
                acceptor.close()
        self._acceptors = [one for one in self._acceptors if one[1] is not entrance]
        for connection in self._through(entrance):
            connection.drain()
        asyncio.get_running_loop().call_later(timeout, self._abort, entrance)

    def _abort(self, entrance: Entrance) -> None:
        for connection in self._through(entrance):
            connection.transport.abort()

    def _through(self, entrance: Entrance) -> list[ClientConnection]:
        return [connection for connection in self.connections if connection.entrance is entrance]

    async def drain(self, timeout: float) -> None:
        """Stop accepting, let exchanges finish for at most `timeout` seconds, then abort the remaining connections."""
        for acceptor, _ in self._acceptors:
            acceptor.close()
        connections = self.connections
        connections.draining = True
        for connection in list(connections):
            connection.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await connections.all_gone()
        for connection in list(connections):
            connection.transport.abort()
        await connections.all_gone()


class _Plain:
    """Makes protocols for accepted sockets."""

    scheme = "http"

    def __init__(self, listener: Listener, bound: socket.socket, entrance: Entrance) -> None:
        self._listener = listener
        self._family = int(bound.family)
        self._entrance = entrance

    def peer(self, address: str) -> Peer:
        return self._listener.trusted.peer(address, self.scheme)

    def refusal(self) -> bytes:
        return self._listener.refusal()

    def take(self, descriptor: int, peer: Peer) -> None:
        try:
            adopt(Accepted(descriptor, self._family), self._protocol(peer))
        except OSError:
            os.close(descriptor)
            self._listener.connections.left(peer)

    def _protocol(self, peer: Peer) -> asyncio.Protocol:
        return self._listener.make(peer, self._entrance)


class _Secure(_Plain):
    """The same for TLS."""

    scheme = "https"

    def __init__(
        self, listener: Listener, bound: socket.socket, entrance: Entrance, front: Front | PortFront
    ) -> None:
        super().__init__(listener, bound, entrance)
        self._front = front

    def refusal(self) -> bytes:
        # A response would need a handshake.
        return b""

    def _protocol(self, peer: Peer) -> asyncio.Protocol:
        listener, entrance = self._listener, self._entrance
        above = listener.make(peer, entrance)
        # After the handshake, the deadlines of the client's connection apply.
        timeout = listener.bounds.handshake_timeout
        made = TlsDownstream(self._front.context, above, peer, listener.connections, timeout, entrance)
        return cast(asyncio.Protocol, made)


class Accepted:
    """An accepted connection, with the part of the socket interface that the event loop needs to make a transport."""

    __slots__ = ("_descriptor", "family")

    type = int(socket.SOCK_STREAM)

    def __init__(self, descriptor: int, family: int) -> None:
        self._descriptor = descriptor
        self.family = family

    def fileno(self) -> int:
        """Its file descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Called by the transport, which has closed the descriptor."""


def adopt(accepted: Accepted, protocol: asyncio.Protocol) -> None:
    """Make a transport of an accepted connection. Raises OSError; the protocol is then not called.

    The event loop offers this only as a coroutine, which creates the transport immediately and then waits for the call
    of `connection_made`. That wait is not needed here, and a task would cost as much as the transport.
    """
    loop = asyncio.get_running_loop()
    starting = loop.connect_accepted_socket(lambda: protocol, cast(socket.socket, accepted))
    starting.send(None)
    # After `connection_made`, whose call is in the queue before this one.
    loop.call_soon(_end, starting)


def _end(starting: Coroutine[Any, Any, object]) -> None:
    with contextlib.suppress(StopIteration):
        starting.send(None)
