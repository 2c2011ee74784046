"""TLS on a connection to an instance.

An instance that answers early and closes resets the connection on which the body still comes in. The event loop tells
of the failed write first; what the kernel has of the response is then read all the same (RFC 9112 section 9.5), which
the event loop's own TLS has no way to do.

A connection that ends without close_notify is lost, and its end is no end of a body: anybody on the way could make one.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, cast

from dataplane.proxy.kernel import rest
from dataplane.proxy.secured import Secured

_REST: Final = 4
"""Reads, of 64 KiB at most, from a connection that has failed."""


class SecuredInstance(Secured):
    """One connection. Once its handshake is done, `ready` is, and what is above has begun."""

    __slots__ = ("ready",)

    def __init__(self, context: ssl.SSLContext, name: str, above: asyncio.Protocol) -> None:
        """The instance has to prove itself as `name`, a host name or an address."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        super().__init__(
            incoming, outgoing, context.wrap_bio(incoming, outgoing, server_hostname=name), above
        )
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with an OSError, as ssl.SSLError is one, if the handshake does."""

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


async def connect(
    above: asyncio.Protocol, address: str, port: int, context: ssl.SSLContext, name: str
) -> None:
    """Connect `above` over TLS to an instance that proves itself as `name`. Raises OSError."""
    _, made = await asyncio.get_running_loop().create_connection(
        lambda: cast(asyncio.Protocol, SecuredInstance(context, name, above)), address, port
    )
    secured = cast(SecuredInstance, made)
    try:
        await secured.ready
    except BaseException:
        secured.abort()
        raise
