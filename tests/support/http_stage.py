"""A set-up for the HTTP engine: a gateway on a real socket between raw clients and scripted upstreams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from dataplane.config.table import Item, ResourceSet, UnlinkedRoute, build
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.resources import (
    Circuit,
    Instance,
    Retries,
    Route,
    Service,
    Timeouts,
    UpstreamTls,
)
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connector import Connector
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.lookups import Lookups
from dataplane.proxy.pool import Endpoint, Pool
from dataplane.proxy.proxy import Proxy
from dataplane.proxy.tls import Front
from dataplane.proxy.trust import TrustedProxies
from tests.support.waiting import within

Script = Callable[["Conversation"], Awaitable[None]]
LIMIT = 2**20


class Conversation:
    """One connection at an upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: list[bytes]) -> None:
        self.reader = reader
        self.writer = writer
        self._log = log

    async def head(self) -> bytes:
        """The next request's head, with its empty line."""
        found = await self.reader.readuntil(b"\r\n\r\n")
        self._log.append(found)
        return found

    async def body(self, size: int) -> bytes:
        """This number of bytes after the head."""
        return await self.reader.readexactly(size)

    async def chunks(self) -> bytes:
        """A whole chunked body, decoded; trailers are an error."""
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def say(self, data: bytes) -> None:
        """Send these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> bool:
        """Wait until the other side disconnects; False if it sends something instead."""
        with contextlib.suppress(ConnectionError):
            return not await self.reader.read(1)
        return True

    def reset(self) -> None:
        """Leave without goodbye."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


class Upstream:
    """A server that runs the script on every connection."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.tls = tls
        self.heads: list[bytes] = []
        """All received request heads."""
        self.connections = 0
        self.open = 0
        self.port = 0
        self.path = ""
        """Of the Unix socket on which it listens; else empty."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._talks: set[Conversation] = set()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=LIMIT, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def start_at(self, path: str) -> None:
        """Listen on a Unix socket."""
        self._server = await asyncio.start_unix_server(self._serve, path, limit=LIMIT, ssl=self.tls)
        self.path = path

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        self._server.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """End every connection below TLS, as a network attacker could."""
        for talk in self._talks:
            with socket.socket(fileno=os.dup(talk.writer.get_extra_info("socket").fileno())) as raw:
                raw.shutdown(socket.SHUT_RDWR)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        talk = Conversation(reader, writer, self.heads)
        self._talks.add(talk)
        self.connections += 1
        self.open += 1
        try:
            await self.script(talk)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            self._talks.discard(talk)
            writer.close()


def answering(*answers: bytes) -> Script:
    """Answer one request after the other with these bytes, and all further ones with the last, over all connections."""
    left = list(answers)

    async def script(talk: Conversation) -> None:
        while True:
            await talk.head()
            await talk.say(left.pop(0) if len(left) > 1 else left[0])

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Watching:
    """An observer that keeps every exchange."""

    exchanges: list[Exchange] = field(default_factory=list)

    def finished(self, exchange: Exchange) -> None:
        """Keep it."""
        self.exchanges.append(exchange)

    @property
    def decisions(self) -> list[tuple[str, int]]:
        """The decision, and the sent status."""
        return [(exchange.decision, exchange.status) for exchange in self.exchanges]


class Client:
    """A raw client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.trailers: list[bytes] = []
        """Trailers of the last chunked answer, as lines."""

    async def say(self, data: bytes) -> None:
        """Send these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """The next response's head."""
        return await within(self.reader.readuntil(b"\r\n\r\n"), 30)

    async def answer(self) -> tuple[bytes, bytes]:
        """The next response: head and body, by its Content-Length or chunks."""
        head = await self.head()
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            return head, await self._chunks()
        length = 0
        if b"content-length: " in lower:
            length = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
        return head, await within(self.reader.readexactly(length), 30)

    async def rest(self) -> bytes:
        """Everything until the connection ends; a reset ends it too."""
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := await within(self.reader.read(65536), 30):
                got += piece
        return got

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await within(self.reader.readuntil(b"\r\n"), 30)).strip(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        self.trailers = []
        while line := (await within(self.reader.readuntil(b"\r\n"), 30))[:-2]:
            self.trailers.append(line)
        return body

    def close(self) -> None:
        """Leave."""
        self.writer.close()


class Stage:
    """The gateway, its clients and upstreams."""

    def __init__(self, gateway: Gateway, proxy: Proxy, pool: Pool, observer: Watching, port: int) -> None:
        self.gateway = gateway
        self.proxy = proxy
        self.pool = pool
        self.observer = observer
        self.port = port
        self._clients: list[Client] = []

    async def client(
        self, limit: int = LIMIT, tls: ssl.SSLContext | None = None, name: str | None = None
    ) -> Client:
        """A new client connection; over TLS with a context, asking for `name`."""
        server_hostname = name or "localhost" if tls is not None else None
        streams = await asyncio.open_connection(
            "127.0.0.1", self.port, limit=limit, ssl=tls, server_hostname=server_hostname
        )
        client = Client(*streams)
        self._clients.append(client)
        return client

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """One request on a new connection: the response's head and body."""
        client = await self.client()
        await client.say(request)
        try:
            return await client.answer()
        finally:
            client.close()

    async def until_closed(self, request: bytes) -> bytes:
        """All bytes until the gateway closes."""
        client = await self.client()
        await client.say(request)
        try:
            return await client.rest()
        finally:
            client.close()

    def endpoint(self, service: str = "s", instance: str = "0") -> Endpoint:
        """An instance for the gateway."""
        known = self.gateway.table.instances[service]
        return self.pool.endpoint(next(each for each in known if each.id == instance))

    def close_clients(self) -> None:
        """Leave with every client."""
        for client in self._clients:
            client.close()


@contextlib.asynccontextmanager
async def stage(
    *upstreams: Upstream | int,
    routes: Sequence[Route] | None = None,
    bounds: Bounds | None = None,
    timeouts: Timeouts | None = None,
    circuit: Circuit | None = None,
    trusted: Sequence[str] = (),
    tls: UpstreamTls | None = None,
    front: Front | None = None,
    proxies: Sequence[str] = (),
    retries: Retries | None = None,
    chance: Callable[[], float] = random.random,
    more: Sequence[Item] = (),
    send_via: bool = True,
    host: str = "127.0.0.1",
    lookups: Lookups | None = None,
    connector: Connector | None = None,
    max_in_flight: int = 0,
) -> AsyncIterator[Stage]:
    """A gateway in front of these upstreams (or ports), all instances of service "s", one public route "/".

    `tls` is how it speaks to them, `front` what clients are shown, both None in the clear. Peers within `proxies` must
    say whom they speak for (PROXY protocol). `more` are users and keys. `send_via` is the setting. `host` is
    that of all upstreams; if it is a name, `lookups` has to know it, and `connector` if it is a Unix socket.
    """
    service = Service(
        "s",
        timeouts=timeouts or Timeouts(),
        circuit=circuit or Circuit(failure_threshold=1000),
        retries=retries or Retries(),
        tls=tls,
        max_in_flight=max_in_flight,
    )
    ports: list[int] = []
    for upstream in upstreams:
        if isinstance(upstream, Upstream):
            if not upstream.port and not upstream.path:
                await upstream.start()
            ports.append(upstream.port)
        else:
            ports.append(upstream)
    instances = [Instance("s", str(n), host, port) for n, port in enumerate(ports)]
    chosen = (Route("all", "s", prefix="/", public=True),) if routes is None else routes
    resources = ResourceSet.of(service, *instances, *(UnlinkedRoute(route) for route in chosen), *more)
    believed = TrustedProxies(trusted)
    observer, pool = Watching(), Pool(bounds)
    gateway = Gateway(observer, pool, trusted=believed, chance=chance)
    gateway.swap(build(resources, 7), monotonic())
    proxy = Proxy(gateway, pool, bounds, believed, lookups, connector, send_via=send_via)
    listener = socket.create_server(("127.0.0.1", 0))
    await proxy.start(listener, front, TrustedProxies(proxies) if proxies else None)
    set_up = Stage(gateway, proxy, pool, observer, listener.getsockname()[1])
    try:
        yield set_up
    finally:
        set_up.close_clients()
        await proxy.drain(0.0)
        for upstream in upstreams:
            if isinstance(upstream, Upstream):
                await upstream.stop()
