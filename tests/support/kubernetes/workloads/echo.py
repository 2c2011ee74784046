"""A service that registers itself: answers every request with the name of its pod, after a few milliseconds."""

from __future__ import annotations

import asyncio
import os

import headgate

WORK = 0.005
"""Seconds for each request, so that some are under way whenever the pod is told to end."""
PORT = int(os.environ["HEADGATE_PORT"])
NAME = os.environ["HEADGATE_INSTANCE"].encode()
registered = False


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(await answer(head.split(b" ", 2)[1]))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def answer(path: bytes) -> bytes:
    if path == b"/ready":
        return response(b"200 OK" if registered else b"503 Service Unavailable", b"")
    if path != b"/health":
        await asyncio.sleep(WORK)
    return response(b"200 OK", NAME)


def response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


def note(now: bool) -> None:
    global registered
    registered = now


async def main() -> None:
    server = await asyncio.start_server(serve, port=PORT, backlog=1000)
    definition = headgate.ServiceDefinition("echo", check_path="/health", check_interval=1, check_timeout=5)
    async with server, headgate.register(definition, on_change=note):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
