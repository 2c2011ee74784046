"""Client connections: taken from bound sockets, and waited for when the worker drains."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

from dataplane.proxy.acceptor import Acceptor
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import Connections
from dataplane.proxy.secured import Secured
from dataplane.proxy.tls import Front
from dataplane.proxy.trust import Peer, TrustedProxies

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel may allow fewer (listen(2))."""

Make = Callable[[Peer], asyncio.Protocol]
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
        """`refusal` is what a client is told of which there are too many."""
        self.make = make
        self.connections = connections
        self.bounds = bounds
        self.trusted = trusted
        self.refusal = refusal
        self._acceptors: list[Acceptor] = []

    def start(
        self, listener: socket.socket, front: Front | None = None, proxies: TrustedProxies | None = None
    ) -> None:
        """Accept connections on a bound socket, of TLS with a front; may be called for several.

        `proxies` must say with the PROXY protocol whom they speak for.
        """
        listener.listen(BACKLOG)
        taker: _Plain = _Plain(self) if front is None else _Secure(self, front)
        timeout = self.bounds.handshake_timeout
        self._acceptors.append(Acceptor(listener, taker, self.connections, proxies, timeout))

    async def drain(self, timeout: float) -> None:
        """Accept nothing more, finish what is under way for at most `timeout` seconds, then close everything."""
        for acceptor in self._acceptors:
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
    """Makes connections of accepted sockets."""

    scheme = "http"

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def peer(self, address: str) -> Peer:
        return self._listener.trusted.peer(address, self.scheme)

    def refusal(self) -> bytes:
        return self._listener.refusal()

    def take(self, accepted: socket.socket, peer: Peer) -> None:
        try:
            adopt(accepted, self._protocol(peer))
        except OSError:
            accepted.close()
            self._listener.connections.left(peer)

    def _protocol(self, peer: Peer) -> asyncio.Protocol:
        return self._listener.make(peer)


class _Secure(_Plain):
    """The same for TLS."""

    scheme = "https"

    def __init__(self, listener: Listener, front: Front) -> None:
        super().__init__(listener)
        self._front = front

    def refusal(self) -> bytes:
        # It would take a handshake to say anything.
        return b""

    def _protocol(self, peer: Peer) -> asyncio.Protocol:
        listener, bounds = self._listener, self._listener.bounds
        above = listener.make(peer)
        # How long a client may take nothing or say nothing later is for the deadlines of its connection.
        made = Secured(self._front.context, above, peer, listener.connections, bounds.handshake_timeout)
        return cast(asyncio.Protocol, made)


def adopt(accepted: socket.socket, protocol: asyncio.Protocol) -> None:
    """Make a transport of an accepted socket. Raises OSError, and then the protocol never hears of it.

    The event loop offers this as a coroutine alone, which makes the transport at once and then waits for the call of
    `connection_made`. Nobody has to wait for that, and a task would cost as much as the transport.
    """
    loop = asyncio.get_running_loop()
    _go_on(loop.connect_accepted_socket(lambda: protocol, accepted))


def _go_on(starting: Coroutine[Any, Any, object], _: object = None) -> None:
    try:
        waiter = starting.send(None)
    except StopIteration:
        return
    waiter.add_done_callback(partial(_go_on, starting))
