"""The load that runs in a pod counts what a client sees."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.support.kubernetes.workloads.load import Load
from tests.support.waiting import eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npod-1"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy"


@contextlib.asynccontextmanager
async def load_on(answers: list[bytes]) -> AsyncIterator[Load]:
    """Load on a server that gives these answers in turn, then OK. An empty one closes the connection."""
    waiting = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                answer = next(waiting, OK)
                writer.write(answer)
                if answer is not OK:
                    break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        load = Load("127.0.0.1", server.sockets[0].getsockname()[1], "/", rate=1000, connections=1)
        running = asyncio.create_task(load.run())
        try:
            yield load
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_counts_answers_by_pod() -> None:
    async with load_on([]) as load:
        await eventually(lambda: load.pods["pod-1"] > 300)
    assert not load.errors


async def test_counts_refusals_and_broken_connections_and_goes_on() -> None:
    async with load_on([BUSY, b"", OK]) as load:
        await eventually(lambda: load.pods["pod-1"] > 10)
    assert load.errors.total() == 2
    assert load.errors["http/1.1 503 service unavailable busy"] == 1
