"""An upstream instance under control of a test: raw HTTP/1.1 on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Self

from tests.support.listening_ends import stop_listening


class Instance:
    """Answers every request with its name, or as told."""

    def __init__(self, name: str = "upstream", tls: ssl.SSLContext | None = None) -> None:
        """With `tls` it accepts only TLS."""
        self.name = name
        self._tls = tls
        self.healthy = True
        """Whether GET /health is answered 200 or 503."""
        self.hold: asyncio.Event | None = None
        """While set, requests other than probes wait for it."""
        self.waiting = 0
        """Requests that wait."""
        self.heads: list[bytes] = []
        """Heads of all requests other than probes."""
        self.probes = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.die()

    async def die(self) -> None:
        """Stop listening and break every connection."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await stop_listening(server)
        for writer in list(self._writers):
            writer.transport.abort()
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._answer(head))
                await writer.drain()
        self._writers.discard(writer)
        writer.close()

    async def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"GET /health "):
            self.probes += 1
            return _response(200 if self.healthy else 503, b"")
        self.heads.append(head)
        if self.hold is not None:
            self.waiting += 1
            await self.hold.wait()
            self.waiting -= 1
        return _response(200, self.name.encode())


def _response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Whatever\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)
