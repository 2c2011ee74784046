"""A TCP proxy that a test can cut, silence or close: faults of the network between two live peers."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tests.support.listening_ends import stop_listening


class Proxy:
    """Passes bytes from its own port on loopback to `port` and back."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.losing_answers = False
        """While true, requests arrive, but their answers are lost."""
        self.silent = False
        """While true, connections are accepted and nothing passes in either direction."""
        self.refusing = False
        """While true, connections break as soon as they are accepted."""
        self._passing = asyncio.Event()
        self._passing.set()
        self.delay = 0.0
        """Delay in seconds, in either direction."""

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def holding(self) -> bool:
        """While true, bytes are held back and delivered later, as with lost and resent packets."""
        return not self._passing.is_set()

    @holding.setter
    def holding(self, value: bool) -> None:
        if value:
            self._passing.clear()
        else:
            self._passing.set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.refusing:
                raise ConnectionRefusedError
            back, forth = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(forth)
        self._keep(self._pump(reader, forth, answers=False))
        self._keep(self._pump(back, writer, answers=True))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passing.wait()
                if not (self.silent or (answers and self.losing_answers)):
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)

    def _keep(self, pump: object) -> None:
        assert asyncio.iscoroutine(pump)
        task = asyncio.create_task(pump)
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        await stop_listening(self._server)
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._server.wait_closed()
