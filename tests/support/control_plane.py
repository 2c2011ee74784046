"""The distributing half of a control plane in this process: store in memory, real gRPC on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from ipaddress import ip_network
from typing import Any, Self

import grpc
import grpc.aio

from controlplane.commands.commands import Commands
from controlplane.distribute.hub import Hub
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.identity import Hasher, KeyRing, RefusedCalls, SharedTokens, TokenIssuer
from controlplane.model.resources import Resource, User
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import encode, key_of
from controlplane.rpc import Questions, RpcServer, serve
from controlplane.rpc.rules import Rules
from controlplane.store import MemoryStore, Put
from headgate_api.v1 import config_pb2, config_pb2_grpc, registry_pb2_grpc
from tests.support.keys import open_keys
from tests.support.waiting import eventually, within

DATAPLANE_TOKEN = "the-data-planes-token"
SERVICE_TOKEN = "the-services-token"
ON_LOOPBACK = Rules(allow=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
"""Networks that may be registered if everything runs on one machine."""

OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),
    # Windows of fixed size, so that tests know when a sender has to wait.
    ("grpc.http2.bdp_probe", 0),
]


def make_ring() -> KeyRing:
    """A signing key; takes some tenths of a second."""
    store = MemoryStore(clock=lambda: 0.0)
    return asyncio.run(open_keys(store, "x" * 32, issuer="headgate", audience="headgate", now=0.0))


class ControlPlane:
    """Store, watcher, fleet, commands and the gRPC server, running within the block."""

    def __init__(self, ring: KeyRing | None = None, **options: Any) -> None:
        """`options` go to `serve`."""
        self.store = MemoryStore()
        self.watcher = Watcher(self.store, retry=(0.01, 0.05), probe=0.05)
        self.fleet = Fleet()
        self.hub = Hub(self.watcher, self.fleet)
        self.questions = Questions(self.fleet)
        self.commands = Commands(
            self.store, Hasher(time_cost=1, memory_cost=8, parallelism=1), time.time, self.watcher
        )
        self.tokens = TokenIssuer(ring, time.time) if ring else None
        self.refused = RefusedCalls()
        self._options = {
            "listen": "127.0.0.1:0",
            "dataplane_tokens": SharedTokens(DATAPLANE_TOKEN),
            "service_tokens": SharedTokens(SERVICE_TOKEN),
            "rules": ON_LOOPBACK,
            "refused": self.refused,
            "questions": self.questions,
            **options,
        }
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.server: RpcServer = await serve(
            hub=self.hub,
            fleet=self.fleet,
            commands=self.commands,
            tokens=lambda: self.tokens,
            **self._options,
        )
        self._stack.push_async_callback(self.server.stop, 0.5)
        await self._stack.enter_async_context(_running(self.watcher))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def address(self) -> str:
        """The address of the server."""
        return f"127.0.0.1:{self.server.port}"

    @contextlib.asynccontextmanager
    async def channel(
        self, credentials: grpc.ChannelCredentials | None = None
    ) -> AsyncIterator[grpc.aio.Channel]:
        """A connection of its own."""
        if credentials is None:
            channel = grpc.aio.insecure_channel(self.address, options=OPTIONS)
        else:
            channel = grpc.aio.secure_channel(self.address, credentials, options=OPTIONS)
        async with channel:
            yield channel

    async def put(self, *resources: Resource) -> int:
        """Write resources without checks; returns the revision once it is published."""
        return await self.published(
            await self.put_raw(*((one.KIND, one.name, encode(one)) for one in resources))
        )

    async def put_raw(self, *values: tuple[str, str, bytes]) -> int:
        """Write bytes, as with etcdctl; returns the revision."""
        return await self.store.commit({}, [Put(key_of(kind, name), value) for kind, name, value in values])

    async def published(self, revision: int) -> int:
        """Wait until this revision is published."""
        await eventually(lambda: self.watcher.current and self.watcher.current.revision >= revision)
        return revision

    @property
    def current(self) -> Snapshot:
        """The published snapshot."""
        assert self.watcher.current is not None
        return self.watcher.current

    async def user(self, username: str, *scopes: str, asked: str | None = None) -> str:
        """A user with these scopes; returns an access token."""
        user = User(username=username, scopes=scopes)
        await self.put(user)
        assert self.tokens is not None
        return self.tokens.issue(user, asked).access_token


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Metadata that carries the credential."""
    return (("authorization", f"Bearer {token}"),)


def registry(channel: grpc.aio.Channel) -> Any:
    """A stub of the registry."""
    return registry_pb2_grpc.RegistryServiceStub(channel)


class Node:
    """The config stream of a data plane: sends hello, receives messages, and answers as the test tells it."""

    def __init__(
        self, channel: grpc.aio.Channel, name: str = "gw-1", token: str | None = DATAPLANE_TOKEN
    ) -> None:
        stub: Any = config_pb2_grpc.ConfigServiceStub(channel)
        self.name = name
        self.call = stub.Stream(metadata=bearer(token) if token is not None else None)

    async def send(self, **message: Any) -> None:
        """One message, by the name of its field. Raises Ended if the control plane has ended the stream."""
        try:
            await self.call.write(config_pb2.StreamRequest(**message))
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            raise Ended(*await self.end()) from None

    async def hello(
        self, revision: int = 0, digest: str = "", version: str = "0.1.0", capabilities: Iterable[str] = ()
    ) -> None:
        hello = config_pb2.Hello(node=self.name, version=version, revision=revision, digest=digest)
        hello.capabilities.extend(capabilities)
        await self.send(hello=hello)

    async def receive(self) -> config_pb2.Snapshot:
        """The next snapshot. Raises Ended if the stream ends before."""
        try:
            response = await within(self.call.read(), 30)
        except grpc.aio.AioRpcError:
            response = None
        if not isinstance(response, config_pb2.StreamResponse):
            raise Ended(*await self.end())
        return response.snapshot

    async def ack(self, revision: int) -> None:
        await self.send(ack=config_pb2.Ack(revision=revision))

    async def nack(self, revision: int, *problems: config_pb2.Problem) -> None:
        await self.send(nack=config_pb2.Nack(revision=revision, problems=problems))

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """The end of the stream."""
        return await within(self.call.code(), 30), await self.call.details()


class Ended(Exception):
    """The control plane ended the stream."""

    def __init__(self, code: grpc.StatusCode, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@contextlib.asynccontextmanager
async def _running(watcher: Watcher) -> AsyncIterator[None]:
    task = asyncio.create_task(watcher.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
