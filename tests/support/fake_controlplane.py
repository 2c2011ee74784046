"""A control plane under control of a test: a real gRPC server that sends given messages and records received ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from demo.ports import free_port
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1 import limits_pb2, status_pb2
from headgate_api.v1.config_pb2_grpc import ConfigServiceServicer, add_ConfigServiceServicer_to_server

TOKEN = "data-plane-token-of-the-tests"
Lend = Callable[[limits_pb2.LimitAsks], limits_pb2.LimitAnswers]
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    # Data planes ping every few seconds; by default a server treats that as abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.max_send_message_length", -1),
)


class Connection:
    """One stream of one data plane."""

    def __init__(self, hello: pb.Hello) -> None:
        self.hello = hello
        self.acked: list[int] = []
        self.nacked: list[pb.Nack] = []
        self.health: status_pb2.HealthReport | None = None
        self.stats: status_pb2.StatsReport | None = None
        self.heard = 0
        """Health and statistics reports received."""
        self.outbox: asyncio.Queue[pb.StreamResponse | None] = asyncio.Queue()

    def statuses(self) -> dict[str, str]:
        """Instance id → status in lower case, as last reported."""
        if self.health is None:
            return {}
        name = status_pb2.InstanceStatus.Name
        return {
            one.instance_id: name(one.status).removeprefix("INSTANCE_STATUS_").lower()
            for one in self.health.instances
        }

    def hear(self, request: pb.StreamRequest) -> None:
        """Remember a message."""
        match request.WhichOneof("message"):
            case "ack":
                self.acked.append(request.ack.revision)
            case "nack":
                self.nacked.append(request.nack)
            case "health":
                self.health = request.health
                self.heard += 1
            case "stats":
                self.stats = request.stats
                self.heard += 1


class FakeControlPlane(ConfigServiceServicer):
    """Sends `snapshot` to each new stream, and every later value of it to all connected streams."""

    def __init__(self, token: str = TOKEN, credentials: grpc.ServerCredentials | None = None) -> None:
        self.port = free_port()
        self.connections: list[Connection] = []
        """All streams so far, the current one last."""
        self.refused = 0
        self.lend: Lend | None = None
        """Answers asks about limits."""
        self._token = token
        self._credentials = credentials
        self._snapshot: pb.Snapshot | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def latest(self) -> Connection:
        """The current stream; IndexError before the first one."""
        return self.connections[-1]

    async def start(self) -> None:
        """Listen, on the same port each time."""
        self._server = grpc.aio.server(options=_OPTIONS)
        add_ConfigServiceServicer_to_server(self, self._server)
        if self._credentials is None:
            self.port = self._server.add_insecure_port(self.address)
        else:
            self.port = self._server.add_secure_port(self.address, self._credentials)
        await self._server.start()

    async def stop(self) -> None:
        """End every stream and stop listening."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    def publish(self, snapshot: pb.Snapshot) -> None:
        """Send this to all streams, current and later ones."""
        self.keep(snapshot)
        self.send(pb.StreamResponse(snapshot=snapshot))

    def keep(self, snapshot: pb.Snapshot) -> None:
        """Send this to each stream that opens from now on."""
        self._snapshot = snapshot

    def send(self, response: pb.StreamResponse) -> None:
        """Send this to all connected streams."""
        for connection in self.connections:
            connection.outbox.put_nowait(response)

    def hang_up(self) -> None:
        """End every stream, and keep listening."""
        for connection in self.connections:
            connection.outbox.put_nowait(None)

    async def Stream(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.StreamResponse]:
        """The config stream."""
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {self._token}":
            self.refused += 1
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
        connection = Connection((await anext(aiter(request_iterator))).hello)
        if self._snapshot is not None:
            connection.outbox.put_nowait(pb.StreamResponse(snapshot=self._snapshot))
        self.connections.append(connection)
        listener = asyncio.create_task(_listen(connection, request_iterator, self.lend))
        try:
            while (response := await connection.outbox.get()) is not None:
                yield response
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


async def _listen(connection: Connection, requests: Any, lend: Lend | None) -> None:
    async for request in requests:
        connection.hear(request)
        if lend is not None and request.HasField("asks"):
            connection.outbox.put_nowait(pb.StreamResponse(answers=lend(request.asks)))


@asynccontextmanager
async def running(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[FakeControlPlane]:
    """A fake control plane on a free port."""
    fake = FakeControlPlane(credentials=credentials)
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
