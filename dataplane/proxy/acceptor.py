"""Accepts connections from a listening socket: counts them, and passes on those within the limits.

The event loop's own server accepts all waiting connections in one go, and closes all of them when no file descriptor
is left. Here a turn accepts a bounded number; without descriptors nothing is accepted for a moment, and clients wait
in the backlog. Some peers must send a PROXY header first: their sockets are read here up to the end of the header and
no further, because TLS may begin right after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol, cast

from dataplane.proxy.connections import Connections
from dataplane.proxy.descriptors import EXHAUSTED
from dataplane.proxy.proxy_protocol import BadHeader, HeaderReader
from dataplane.proxy.trust import Peer, TrustedProxies

AT_ONCE: Final = 64
"""Most connections accepted in one turn of the event loop, so that others get their turn."""
PAUSE: Final = 0.1
"""Seconds without accepting after the system had no room for another connection."""
COMPLAIN_EVERY: Final = 10.0
"""Seconds between two log lines of one kind."""
_UNREAD: Final = 65_536
"""Bytes of a refused client that are read: closing with more unread resets the connection, and loses the refusal."""

_log = logging.getLogger(__name__)


class Taker(Protocol):
    """Makes connections of accepted sockets."""

    def peer(self, address: str) -> Peer:
        """The client at this address."""

    def take(self, descriptor: int, peer: Peer) -> None:
        """Serve the client of this connection, which has been admitted, and close it in the end."""

    def refusal(self) -> bytes:
        """The response to a connection above the limit; empty if none can be sent."""


class Acceptor:
    """Accepts from one socket."""

    def __init__(
        self,
        listener: socket.socket,
        taker: Taker,
        connections: Connections,
        proxies: TrustedProxies | None = None,
        timeout: float = 10.0,
    ) -> None:
        """`proxies` must send a PROXY header, within `timeout` seconds. The socket must be listening."""
        self._listener = listener
        self._taker = taker
        self._connections = connections
        self._proxies = proxies
        self._timeout = timeout
        self._waiting: set[_Greeting] = set()
        self._complained: dict[str, float] = {}
        self._paused: asyncio.TimerHandle | None = None
        # The function called by `accept`: it returns only a file descriptor. The socket object that `accept` makes of
        # it costs more than the system call, and the event loop makes one of its own.
        self._next: Callable[[], tuple[int, Any]] = cast(Any, listener)._accept
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Stop accepting; connections that have not sent their PROXY header are closed."""
        if self._paused is not None:
            self._paused.cancel()
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        for greeting in list(self._waiting):
            greeting.end()

    def greeted(self, greeting: _Greeting, source: str) -> None:
        """A header is complete."""
        self._waiting.discard(greeting)
        peer = self._taker.peer(source)
        if self._connections.name(peer):
            self._taker.take(greeting.socket.detach(), peer)
        else:
            self._connections.left(None)
            _refuse(greeting.socket.detach(), self._taker.refusal())

    def failed(self, greeting: _Greeting, why: str) -> None:
        """No valid header arrived."""
        self._waiting.discard(greeting)
        self._connections.left(None)
        if why:
            self._complain("connection refused from a peer in PROXY_PROTOCOL_FROM: %s", why)

    def _listen(self) -> None:
        self._paused = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                descriptor, address = self._next()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(error)
                    return
                continue
            # The name of a peer on a Unix socket is empty, and not a tuple.
            host: str = address[0] if address else ""
            if self._proxies is not None and host in self._proxies:
                self._greet(descriptor, host)
            else:
                self._take(descriptor, host)

    def _take(self, descriptor: int, host: str) -> None:
        peer = self._taker.peer(host)
        if self._connections.admit(peer):
            self._taker.take(descriptor, peer)
        else:
            _refuse(descriptor, self._taker.refusal())

    def _greet(self, descriptor: int, host: str) -> None:
        """The client that the header names counts against the bound by address."""
        if self._connections.admit_unnamed():
            self._waiting.add(_Greeting(self, descriptor, host, self._timeout))
        else:
            os.close(descriptor)

    def _pause(self, error: OSError) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._paused = loop.call_later(PAUSE, self._listen)
        self._complain("connections cannot be accepted for a moment: %s", error.strerror or str(error))

    def _complain(self, message: str, why: str) -> None:
        now = monotonic()
        if now - self._complained.get(message, -COMPLAIN_EVERY) >= COMPLAIN_EVERY:
            self._complained[message] = now
            _log.warning(message, why)


def _refuse(descriptor: int, refusal: bytes) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=descriptor) as refused:
        if refusal:
            refused.setblocking(False)
            refused.send(refusal)
            refused.shutdown(socket.SHUT_WR)
            refused.recv(_UNREAD)


class _Greeting:
    """A connection whose header has not arrived yet."""

    def __init__(self, acceptor: Acceptor, descriptor: int, host: str, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self.socket = socket.socket(fileno=descriptor)
        self.socket.setblocking(False)
        self._host = host
        self._acceptor = acceptor
        self._header = HeaderReader()
        self._timer = loop.call_later(timeout, self._fail, "no PROXY header in time")
        loop.add_reader(self.socket, self._read)

    def end(self) -> None:
        """Close the connection."""
        self._fail("")

    def _read(self) -> None:
        header = self._header
        try:
            while header.wanted:
                data = self.socket.recv(header.wanted)
                if not data:
                    self._fail("the peer closed the connection before its PROXY header was complete")
                    return
                header.feed(data)
        except BlockingIOError:
            return
        except OSError:
            self._fail("")
        except BadHeader as bad:
            self._fail(str(bad))
        else:
            self._leave()
            source = header.source
            self._acceptor.greeted(self, source if isinstance(source, str) else self._host)

    def _fail(self, why: str) -> None:
        self._leave()
        self.socket.close()
        self._acceptor.failed(self, why)

    def _leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self._timer.cancel()
