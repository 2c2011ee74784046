"""Accepts connections where some peers must say first whom they speak for (PROXY protocol).

The event loop's own server reads as much as it gets; here nothing may be read past the header, because TLS may begin
right after it. So sockets are accepted and read by hand until the header is whole, and only then become connections.
Where no peer is configured for it none of this runs.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from time import monotonic

from dataplane.proxy.proxy_protocol import BadHeader, HeaderReader
from dataplane.proxy.trust import TrustedProxies

AT_ONCE = 64
"""Most connections accepted in one go, so that others get their turn."""
PAUSE = 0.5
"""Seconds without accepting after the system had no room for another connection."""
COMPLAIN_EVERY = 10.0
"""Seconds between two complaints about peers that send no header."""

_log = logging.getLogger(__name__)

Begin = Callable[[socket.socket, str | None], None]
"""Takes over a socket; and the address it speaks for, None where that is its own."""


class Acceptor:
    """Listens on one socket."""

    def __init__(
        self, listener: socket.socket, peers: TrustedProxies, begin: Begin, timeout: float, most: int
    ) -> None:
        """`timeout` seconds for a header; at most `most` are waited for at once."""
        self._listener = listener
        self._peers = peers
        self._begin = begin
        self._timeout = timeout
        self._most = most
        self._waiting: set[_Greeting] = set()
        self._complained = -COMPLAIN_EVERY
        self._paused: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.listen(4096)
        self._listen()

    def close(self) -> None:
        """Accept nothing more; whoever has not said whom it speaks for is turned away."""
        if self._paused is not None:
            self._paused.cancel()
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        for greeting in list(self._waiting):
            greeting.end()

    def greeted(self, greeting: _Greeting, source: str | None) -> None:
        """A header is whole."""
        self._waiting.discard(greeting)
        self._begin(greeting.socket, source)

    def failed(self, greeting: _Greeting, why: str) -> None:
        """A header never came, or was none."""
        self._waiting.discard(greeting)
        now = monotonic()
        if why and now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            _log.warning("connection of a peer in PROXY_PROTOCOL_FROM refused: %s", why)

    def _listen(self) -> None:
        self._paused = None
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                    return
                continue
            accepted.setblocking(False)
            if address[0] not in self._peers:
                self._begin(accepted, None)
            elif len(self._waiting) >= self._most:
                accepted.close()
            else:
                self._waiting.add(_Greeting(self, accepted, self._timeout))

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._paused = loop.call_later(PAUSE, self._listen)


class _Greeting:
    """A connection whose header has not come yet."""

    def __init__(self, acceptor: Acceptor, accepted: socket.socket, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        self.socket = accepted
        self._acceptor = acceptor
        self._header = HeaderReader()
        self._timer = loop.call_later(timeout, self._fail, "no PROXY header in time")
        loop.add_reader(accepted, self._read)

    def end(self) -> None:
        """Close it, whatever has come."""
        self._fail("")

    def _read(self) -> None:
        header = self._header
        try:
            while header.wanted:
                data = self.socket.recv(header.wanted)
                if not data:
                    self._fail("it closed the connection before its PROXY header was whole")
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
            self._acceptor.greeted(self, source if isinstance(source, str) else None)

    def _fail(self, why: str) -> None:
        self._leave()
        self.socket.close()
        self._acceptor.failed(self, why)

    def _leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self._timer.cancel()
