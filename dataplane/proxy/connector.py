"""Opens connections to one address of an instance, for requests and probes alike."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from dataplane.proxy.address import UNIX
from dataplane.proxy.unix_sockets import UnixSockets

P = TypeVar("P", bound=asyncio.Protocol)


class Connector:
    """An address is an IP address, to which the port belongs, or a Unix socket (`unix:/path`)."""

    def __init__(self, sockets: UnixSockets | None = None) -> None:
        """`sockets` are the Unix sockets that are allowed; None: none."""
        self._sockets = sockets or UnixSockets()

    async def connect(self, made: Callable[[], P], address: str, port: int) -> P:
        """A connection with the protocol that `made` returns. Raises OSError."""
        loop = asyncio.get_running_loop()
        if address.startswith(UNIX):
            _, protocol = await loop.create_connection(made, sock=self._sockets.connect(address))
        else:
            _, protocol = await loop.create_connection(made, address, port)
        return protocol

    async def streams(
        self, address: str, port: int, context: ssl.SSLContext | None, name: str | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection as streams; over TLS with a context, verified for `name`. Raises OSError."""
        if address.startswith(UNIX):
            connection = self._sockets.connect(address)
            return await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name)
        return await asyncio.open_connection(address, port, ssl=context, server_hostname=name)
