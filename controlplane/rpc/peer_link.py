"""Opens the stream of another control plane, and makes sure that it is one."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from controlplane.fleet.links import LinkLost
from controlplane.fleet.members import Member
from controlplane.fleet.peer_updates import PeerUpdate
from controlplane.identity import PeerSecret
from controlplane.rpc.peer_stream import SCHEME
from controlplane.rpc.wire import peer_messages
from headgate_api.v1 import peers_pb2 as pb
from headgate_api.v1.peers_pb2_grpc import PeerServiceStub

CONNECT_WITHIN = 2.0
"""Seconds to reach a control plane, before another attempt."""

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    # Detects a connection that loses all packets early; silence of the stream ends it in any case.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", peer_messages.LARGE + peer_messages.LARGEST_ENTRY),
    # A proxy from the environment is for outside addresses.
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class LinkTls:
    """Credentials for another control plane's encrypted port: PEM files, read for every attempt."""

    ca: Path | None = None
    """Authority of the control planes' certificates; None: the system's."""
    cert: Path | None = None
    """Client certificate, if the other side requires one; with `key`."""
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises OSError."""
        files = (path.read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        return grpc.ssl_channel_credentials(*files)


class PeerLink:
    """Implements `fleet.links.Connect`, as the control plane of this name."""

    def __init__(self, secret: PeerSecret, name: str, tls: LinkTls | None = None) -> None:
        self._secret = secret
        self._name = name
        self._tls = tls or LinkTls()

    async def __call__(self, name: str, member: Member) -> AsyncGenerator[PeerUpdate, None]:
        """The updates of the control plane `name`, until its stream ends. Raises LinkLost."""
        try:
            channel = channel_to(member, self._tls)
        except OSError as error:
            raise LinkLost(f"certificates cannot be read: {error.strerror}") from None
        async with channel:
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    await channel.channel_ready()
            except TimeoutError:
                raise LinkLost(f"no answer within {CONNECT_WITHIN:g} s") from None
            try:
                async for part in self._parts(channel, name):
                    yield part
            except grpc.aio.AioRpcError as error:
                raise LinkLost(f"{error.code().name}: {error.details()}") from None

    async def _parts(self, channel: grpc.aio.Channel, name: str) -> AsyncGenerator[PeerUpdate, None]:
        stub: Any = PeerServiceStub(channel)
        nonce = secrets.token_bytes(32)
        credential = self._secret.credential(self._name, name, time.time())
        call = stub.Follow(
            pb.FollowRequest(name=self._name, nonce=nonce),
            metadata=(("authorization", f"{SCHEME} {credential}"),),
        )
        proven = False
        async for response in call:
            if not proven and not compare_digest(response.proof, self._secret.proof(name, nonce)):
                raise LinkLost("it has another SECRET_KEY, or is another control plane")
            proven = True
            yield peer_messages.part(response)


def channel_to(member: Member, tls: LinkTls) -> grpc.aio.Channel:
    """A channel to another control plane. Raises OSError when certificates cannot be read."""
    if member.tls_name is None:
        return grpc.aio.insecure_channel(member.address, options=_OPTIONS)
    options = _OPTIONS
    if member.tls_name:
        options += (("grpc.ssl_target_name_override", member.tls_name),)
    return grpc.aio.secure_channel(member.address, tls.credentials(), options=options)
