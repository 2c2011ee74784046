"""One channel to each control plane, replaced when the certificates on disk are renewed.

gRPC reads certificates once, when a channel is created. So the files are checked before every call: after a change,
calls use new channels, while calls under way (a watch may last for days) end on the old ones.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from headgate.errors import HeadgateError
from headgate.target import Target
from headgate_api.v1 import registry_pb2_grpc

if TYPE_CHECKING:
    from headgate_api.v1.registry_pb2_grpc import RegistryServiceAsyncStub

log = logging.getLogger("headgate")

_OPTIONS: list[tuple[str, Any]] = [
    # A frozen peer is noticed only when all three are set.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    # The watch may be silent for long: pings must not wait for data.
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own back-off grows to two minutes; this package has its own.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A control plane may return with another address: gRPC would not resolve its name again for 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
    # The whole view of a big fleet in one message.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    # A proxy of the environment is for the world outside; it would also be used for loopback.
    ("grpc.enable_http_proxy", 0),
]


class _Link:
    """A channel, and the number of calls under way on it."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None) -> None:
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self.stub: RegistryServiceAsyncStub = registry_pb2_grpc.RegistryServiceStub(self.channel)
        self.users = 0


class Links:
    """The channels to the addresses of a target, in their order."""

    def __init__(self, target: Target) -> None:
        """Nothing is connected before the first use. Raises HeadgateError for unreadable certificates."""
        self._target = target
        self._seen = target.stamps()
        self._said = ""
        self._links = self._open()
        self._retired: set[_Link] = set()

    def __len__(self) -> int:
        return len(self._links)

    @contextlib.asynccontextmanager
    async def use(self, at: int) -> AsyncGenerator[RegistryServiceAsyncStub, None]:
        """The stub of one address, for one call."""
        await self._follow()
        link = self._links[at]
        link.users += 1
        try:
            yield link.stub
        finally:
            link.users -= 1
            await self._close_unused()

    async def close(self) -> None:
        """Close every channel; calls under way are cancelled."""
        for link in (*self._links, *self._retired):
            await link.channel.close(None)
        self._retired.clear()

    async def _follow(self) -> None:
        stamps = self._target.stamps()
        if stamps == self._seen:
            return
        try:
            links = self._open()
        except HeadgateError as error:
            # Possibly half renewed; checked again at the next change.
            if str(error) != self._said:
                log.warning("renewed certificates are of no use, the old ones stay: %s", error)
            self._said, self._seen = str(error), stamps
            return
        log.info("renewed certificates are in use")
        self._said, self._seen = "", stamps
        self._retired.update(self._links)
        self._links = links
        await self._close_unused()

    def _open(self) -> list[_Link]:
        credentials = self._target.credentials()
        return [_Link(address, credentials) for address in self._target.addresses]

    async def _close_unused(self) -> None:
        for link in [link for link in self._retired if not link.users]:
            self._retired.discard(link)
            await link.channel.close(None)
