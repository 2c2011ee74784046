"""One gRPC channel to one control plane; every attempt opens a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio

CONNECT_TIMEOUT = 2.0
"""Seconds to reach a control plane before the next address is tried."""

_OPTIONS = (
    # A frozen peer or a black-holed connection is detected after the sum of the first two: 1.7 s. Without the third it
    # would take a minute longer. gRPC's C core answers pings, so a peer that is busy in Python passes.
    ("grpc.keepalive_time_ms", 1_000),
    ("grpc.keepalive_timeout_ms", 700),
    ("grpc.http2.ping_timeout_ms", 700),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # Otherwise gRPC would share the back-off of a failed channel with the next one.
    ("grpc.use_local_subchannel_pool", 1),
    # A snapshot of 20,000 routes takes about 5 MiB.
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    # A proxy of the environment is for the world outside; it would also be used for loopback.
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class ControlPlanes:
    """Addresses of the control planes, and the credentials for them. Without `ca`, connections are not encrypted."""

    addresses: tuple[str, ...]
    """host:port of every control plane; any of them will do."""
    token: str | None = field(repr=False)
    """Bearer token of the data planes; None when the client certificate authenticates the node."""
    ca: bytes | None = field(default=None, repr=False)
    """Authority of the control planes' certificates, PEM."""
    cert: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """gRPC metadata of the call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token is not None else ()


@asynccontextmanager
async def connected(
    control_planes: ControlPlanes, address: str, server_name: str = ""
) -> AsyncIterator[grpc.aio.Channel]:
    """A connected channel. Raises OSError when the address cannot be reached within CONNECT_TIMEOUT.

    `server_name` is the host that the certificate must name in place of the address.
    """
    async with _channel(control_planes, address, server_name) as channel:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await _ready(channel)
        except TimeoutError:
            raise TimeoutError(f"no answer within {CONNECT_TIMEOUT:g} s") from None
        yield channel


def _channel(control_planes: ControlPlanes, address: str, server_name: str) -> grpc.aio.Channel:
    if control_planes.ca is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(control_planes.ca, control_planes.key, control_planes.cert)
    named = (("grpc.ssl_target_name_override", server_name),) if server_name else ()
    return grpc.aio.secure_channel(address, credentials, options=(*_OPTIONS, *named))


async def _ready(channel: grpc.aio.Channel) -> None:
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
            raise ConnectionError("cannot connect")
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
