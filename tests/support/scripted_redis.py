"""A server with the protocol of Redis and scripted answers, for cases that a real Redis cannot produce on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import hiredis

from tests.support.listening_ends import stop_listening

Words = list[bytes]
TAKEN = b"*4\r\n:0\r\n:4\r\n:60000000\r\n:7\r\n"
"""The reply to a call that takes tokens, also to the first call of a new connection."""


class ScriptedRedis:
    """Answers a command with the result of `script`; None: no answer."""

    def __init__(self, script: Callable[[Words], bytes | None]) -> None:
        self.script = script
        self.port = 0
        self.connections = 0
        self.heard: list[Words] = []
        """Every command, the oldest first."""
        self._writers: list[asyncio.StreamWriter] = []

    def close(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.CancelledError):
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        commands = hiredis.Reader(notEnoughData=self)
        while data := await reader.read(65_536):
            commands.feed(data)
            said = b""
            while (words := commands.gets()) is not self:
                assert isinstance(words, list)
                self.heard.append(words)
                said += self.script(words) or b""
            writer.write(said)


def usual(words: Words) -> bytes | None:
    """The answers of a healthy Redis."""
    if words[0] == b"EVALSHA":
        return TAKEN
    return b"+PONG\r\n" if words[0] == b"PING" else b"+OK\r\n"


@asynccontextmanager
async def scripted(script: Callable[[Words], bytes | None] = usual) -> AsyncIterator[ScriptedRedis]:
    """One that listens."""
    redis = ScriptedRedis(script)
    server = await asyncio.start_server(redis.serve, "127.0.0.1", 0)
    redis.port = server.sockets[0].getsockname()[1]
    try:
        yield redis
    finally:
        await stop_listening(server)
        redis.close()
        await server.wait_closed()
