"""The gRPC server: config stream, registry and health on one port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc

from controlplane.commands.commands import Commands
from controlplane.distribute.hub import Hub
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.identity import PeerSecret, RefusedCalls, ServiceAccounts, SharedTokens, TokenIssuer
from controlplane.rpc import config_stream, registry
from controlplane.rpc.config_stream import ConfigStream
from controlplane.rpc.credentials import RECHECK, Credentials
from controlplane.rpc.keep_alive_stream import Bounds, KeepAliveStreams
from controlplane.rpc.limit_routes import LimitRoutes
from controlplane.rpc.peer_stream import PeerStream
from controlplane.rpc.questions import Questions
from controlplane.rpc.registry import Registry
from controlplane.rpc.rules import Rules
from controlplane.rpc.tls import TlsFiles, server_credentials
from controlplane.rpc.wire.encoder import Unseal
from headgate_api.v1 import peers_pb2_grpc, registry_pb2_grpc

MOST_DATAPLANES = 2000
MOST_CALLS = 5000
"""Concurrent calls, including streams other than those of keep-alives."""

_MIB = 1024 * 1024
OPTIONS: Sequence[tuple[str, int]] = (
    # Two servers that share a port would each get some of the connections, without an error.
    ("grpc.so_reuseport", 0),
    # Snapshots for data planes that take them in one message are large; messages of clients are not.
    ("grpc.max_send_message_length", 256 * _MIB),
    ("grpc.max_receive_message_length", 16 * _MIB),
    # All three, or a frozen peer is noticed only after a minute.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Data planes ping every second, even without traffic. Below this interval, pings count as abuse and end the
    # connection.
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_concurrent_streams", 100),
    # Clients do not send much at once. Without this, gRPC answers each message that comes after a pause with a ping, to
    # measure the path: on thousands of streams with a message every few seconds, a quarter of the cost. Windows stay at
    # 64 KiB.
    ("grpc.http2.bdp_probe", 0),
)
_TLS_OPTIONS: Sequence[tuple[str, int]] = (
    # A connection can outlive its certificates; so it is replaced after an hour, with the current ones.
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
)


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line."""


class RpcServer:
    """A running server. `port` is the one it listens on, also when 0 was requested."""

    def __init__(self, server: grpc.aio.Server, port: int, parts: _Parts) -> None:
        self.port = port
        self._server = server
        self._parts = parts

    async def stop(self, grace: float = 1.0) -> None:
        """End every stream with a reason, then close; calls under way have `grace` seconds."""
        await self._parts.leave()
        await self._server.stop(grace)


async def serve(
    *,
    listen: str,
    hub: Hub,
    fleet: Fleet,
    commands: Commands,
    tokens: Callable[[], TokenIssuer | None],
    dataplane_tokens: SharedTokens,
    service_tokens: SharedTokens,
    tls: TlsFiles | None = None,
    rules: Rules | None = None,
    peer: tuple[PeerSecret, str] | None = None,
    limits: LimitRoutes | None = None,
    most_dataplanes: int = MOST_DATAPLANES,
    keep_alives: Bounds = Bounds(),  # noqa: B008 - frozen
    recheck: float = RECHECK,
    refused: RefusedCalls | None = None,
    accounts: ServiceAccounts | None = None,
    questions: Questions | None = None,
    unseal: Unseal = str,
) -> RpcServer:
    """Listen on `listen` (host:port) and serve until stopped.

    `tokens` may give None until the signing keys have been read. Every `recheck` seconds the credentials of open
    streams are checked again. Other control planes may follow with `peer`: the secret that all share, and the name of
    this one. `refused` counts calls with a bad credential; `limits` takes asks about limits of the fleet; `accounts`
    verifies the tokens of pods, if they are accepted; `questions` has those of operators; `unseal` decrypts the private
    keys of certificates. Raises CannotListen and TlsError.
    """
    watcher = hub.watcher
    credentials = Credentials(dataplane_tokens, service_tokens, tokens, watcher, commands, refused, accounts)
    owner_of = limits.owner_of if limits is not None else _nobody
    services = Registry(
        commands, watcher, fleet, credentials, rules=rules, recheck=recheck, owner_of=owner_of
    )
    keeping = KeepAliveStreams(commands, credentials, bounds=keep_alives, recheck=recheck)
    peers = None
    if peer is not None:
        peers = PeerStream(fleet, *peer, credentials.refused, limits=limits, questions=questions)
    parts = _Parts(hub, services, keeping, watcher, peers)
    options = [*OPTIONS, *(_TLS_OPTIONS if tls else ())]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MOST_CALLS + keep_alives.streams)
    stream = ConfigStream(
        hub,
        fleet,
        credentials,
        most=most_dataplanes,
        recheck=recheck,
        limits=limits,
        questions=questions,
        unseal=unseal,
    )
    server.add_generic_rpc_handlers((stream.handler(),))
    # Not a subclass of the generated servicer, whose types do not allow a coroutine that writes a stream.
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(cast(Any, parts.registry), server)
    cast(Any, server).add_registered_method_handlers(registry.SERVICE, keeping.handlers())
    if peers is not None:
        peers_pb2_grpc.add_PeerServiceServicer_to_server(cast(Any, peers), server)
    health_pb2_grpc.add_HealthServicer_to_server(parts.health, server)
    port = await _listen(server, listen, tls)
    await server.start()
    await parts.arrive()
    return RpcServer(server, port, parts)


def _nobody(limit: str) -> str:
    return ""


class _Parts:
    """The services of the server; they notify their callers when it starts and stops."""

    def __init__(
        self,
        hub: Hub,
        registry: Registry,
        keeping: KeepAliveStreams,
        watcher: Watcher,
        peers: PeerStream | None,
    ) -> None:
        self.hub = hub
        self.peers = peers
        self.registry = registry
        self.keeping = keeping
        self.health = cast(Any, grpc_health).aio.HealthServicer()  # unknown to the stubs
        self._watcher = watcher
        self._tasks: list[asyncio.Task[None]] = []

    async def arrive(self) -> None:
        """Say NOT_SERVING, and SERVING as soon as there is something to serve."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._tasks = [
            asyncio.create_task(self._become_ready(), name="grpc health"),
            asyncio.create_task(self.keeping.look_after(), name="keep-alive streams"),
        ]

    async def leave(self) -> None:
        """Say NOT_SERVING and end all streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.health.enter_graceful_shutdown()
        if self.peers is not None:
            self.peers.stop()
        self.hub.stop()
        self.registry.stop()
        self.keeping.stop()

    async def _become_ready(self) -> None:
        await self._watcher.caught_up.wait()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def _say(self, status: int) -> None:
        for service in ("", config_stream.SERVICE, registry.SERVICE):
            await self.health.set(service, status)


async def _listen(server: grpc.aio.Server, listen: str, tls: TlsFiles | None) -> int:
    await _try_to_bind(listen)
    try:
        if tls is None:
            return server.add_insecure_port(listen)
        return server.add_secure_port(listen, server_credentials(tls))
    except RuntimeError:
        raise CannotListen(f"cannot listen on {listen}") from None


async def _try_to_bind(listen: str) -> None:
    """Find the reason with our own socket: gRPC only writes it to stderr, in its own words."""
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise CannotListen(f"{listen} is not host:port")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(found[0][0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[0][4])
            probe.listen(1)
    except OSError as error:
        raise CannotListen(f"cannot listen on {listen}: {error.strerror}") from None
    except UnicodeError:
        raise CannotListen(f"{listen} is not host:port") from None
