"""TLS on a connection to an instance.

An instance that responds early and closes resets the connection while the body is still being sent. The event loop
reports the failed write first; the response that the kernel has received is then still read (RFC 9112 section 9.5),
which the event loop's own TLS cannot do.

A connection that ends without close_notify is lost, and its end does not end a body: an attacker on the path could
forge it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from dataplane.proxy.socket_state import rest
from dataplane.proxy.tls_transport import TlsTransport

_REST: Final = 4
"""Reads, of 64 KiB at most, from a connection that has failed."""


class TlsUpstream(TlsTransport):
    """One connection. `ready` completes with the handshake, after the protocol above has started."""

    __slots__ = ("ready",)

    def __init__(self, context: ssl.SSLContext, name: str, above: asyncio.Protocol) -> None:
        """The certificate of the instance is verified for `name`, a host name or an address."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        super().__init__(
            incoming, outgoing, context.wrap_bio(incoming, outgoing, server_hostname=name), above
        )
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with an OSError (such as ssl.SSLError) when the handshake fails."""

    async def secure(self) -> None:
        """Wait for the handshake. Raises OSError, after which the connection is closed."""
        try:
            await self.ready
        except BaseException:
            self.abort()
            raise

    def _begin(self) -> None:
        self._shake()

    def _established(self) -> None:
        self._flush()
        self._above.connection_made(self)
        if not self.ready.done():
            self.ready.set_result(None)

    def _refused(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)

    def _lost_early(self, exc: Exception | None) -> None:
        self._refused(exc or ConnectionResetError("closed in the middle of the TLS handshake"))

    def _read_rest(self) -> None:
        for _ in range(_REST):
            data = b"" if self._over() else rest(self.transport)
            if not data:
                return
            self.data_received(data)
