"""Opens connections to one address of an instance, for requests and probes alike."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, TypeVar

from dataplane.proxy.address import UNIX
from dataplane.proxy.unix_sockets import BacklogFull, UnixSockets

P = TypeVar("P", bound=asyncio.Protocol)

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1
"""Seconds between two attempts at a socket whose backlog is full. The caller bounds the time of all of them."""


class Connector:
    """An address is an IP address, to which the port belongs, or a Unix socket (`unix:/path`)."""

    def __init__(self, sockets: UnixSockets | None = None) -> None:
        """`sockets` are the Unix sockets that are allowed; None: none."""
        self._sockets = sockets or UnixSockets()

    async def connect(self, made: Callable[[], P], address: str, port: int) -> P:
        """A connection with the protocol that `made` returns. Raises OSError."""
        loop = asyncio.get_running_loop()
        if address.startswith(UNIX):
            _, protocol = await loop.create_connection(made, sock=await self._opened(address))
        else:
            _, protocol = await loop.create_connection(made, address, port)
        return protocol

    async def streams(
        self, address: str, port: int, context: ssl.SSLContext | None, name: str | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection as streams; over TLS with a context, verified for `name`. Raises OSError."""
        if address.startswith(UNIX):
            connection = await self._opened(address)
            return await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name)
        return await asyncio.open_connection(address, port, ssl=context, server_hostname=name)

    async def _opened(self, address: str) -> socket.socket:
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._sockets.connect(address)
            except BacklogFull:
                await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
