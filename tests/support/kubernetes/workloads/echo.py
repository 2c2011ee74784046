"""A service that answers every request with the name of its pod, after a few milliseconds.

It registers itself if HEADGATE_CONTROLPLANE says where. Without asyncio's streams: the service must leave the
processors to the gateway.
"""

from __future__ import annotations

import asyncio
import os
import signal

import headgate

WORK = 0.005
"""Seconds for each request, so that some are under way whenever the pod is told to end."""
SLOW = 0.1
"""The same for paths that end with /slow."""
PORT = int(os.environ.get("HEADGATE_PORT", "9000"))
NAME = os.environ.get("HEADGATE_INSTANCE", "").encode()
registered = False


class Connection(asyncio.Protocol):
    """One request at a time, without a body, as the gateway sends them."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        path = self._received.split(b" ", 2)[1]
        self._received = b""
        status, seconds = answer(path)
        asyncio.get_running_loop().call_later(seconds, self._transport.write, response(status))


def answer(path: bytes) -> tuple[bytes, float]:
    """The status, and the seconds after which it is sent."""
    if path == b"/ready":
        return b"200 OK" if registered else b"503 Service Unavailable", 0.0
    if path == b"/health":
        return b"200 OK", 0.0
    return b"200 OK", SLOW if path.endswith(b"/slow") else WORK


def response(status: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
    return head % (status, len(NAME), NAME)


def note(now: bool) -> None:
    global registered
    registered = now


async def terminated() -> None:
    """Until SIGTERM, which the first process of a container ignores without a handler."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, port=PORT, backlog=1000)
    async with server:
        if "HEADGATE_CONTROLPLANE" not in os.environ:
            await terminated()
            return
        definition = headgate.ServiceDefinition(
            "echo", check_path="/health", check_interval=1, check_timeout=5
        )
        async with headgate.register(definition, on_change=note):
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
