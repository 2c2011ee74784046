"""One member of the etcd cluster: a channel to it, and single calls over that channel."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio

from controlplane.store.errors import StoreError, StoreUnavailable
from controlplane.store.etcd_credentials import CredentialFiles, Credentials
from controlplane.store.etcd_errors import from_rpc
from controlplane.store.etcd_wire import STATUS, Method, Request, Response

OPTIONS: Sequence[tuple[str, int]] = (
    # All three, or a frozen peer is noticed only after a minute. etcd refuses pings more often than every 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A member that returns is found within about a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # So is one that returns with another address, as a pod does: gRPC would not resolve its name again for 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # etcd may answer a watch that lags with a thousand revisions in one message.
    ("grpc.max_receive_message_length", -1),
    # Connections of our own: no proxy, no configuration by DNS, nothing shared with other channels.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
)
GRACE = 0.5
"""Seconds after which a deadline that gRPC has let pass is enforced: a stream whose channel closes while it is
being set up would wait for ever."""
_UNDECIDED = (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING)

Metadata: TypeAlias = tuple[tuple[str, str], ...]
StreamCall: TypeAlias = Any  # grpc.aio.StreamStreamCall, which the stubs leave without usable type arguments


class Endpoint:
    """A member by its address (host:port). Its channel is made at the first call, on the loop that calls."""

    def __init__(self, address: str, credentials: CredentialFiles) -> None:
        self.address = address
        self._credentials = credentials
        self._used: Credentials | None = None
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For connections that are not gRPC's."""
        return self._credentials.current().tls

    async def settle(self, within: float) -> None:
        """Make a connection. StoreUnavailable if there is none in time; then certainly nothing was sent."""
        try:
            async with asyncio.timeout(within):
                await self._renew()
                while (state := self.channel.get_state(try_to_connect=True)) in _UNDECIDED:
                    await self.channel.wait_for_state_change(state)
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    await self._learn_why(within)
        except TimeoutError:
            raise StoreUnavailable(f"{self.address}: no connection in time") from None
        except grpc.aio.UsageError:
            raise StoreUnavailable(f"{self.address}: the connection was closed") from None

    async def _renew(self) -> None:
        """Replace a channel that has no connection if certificates were renewed: it would present the old ones."""
        if self.channel.get_state() is grpc.ChannelConnectivity.READY:
            return
        if self._credentials.current() is not self._used and self._channel is not None:
            former, self._channel = self._channel, None
            await former.close(None)

    async def _learn_why(self, within: float) -> None:
        # gRPC reports the reason of a missing connection only to a call, so a harmless call is made. If it gets
        # through, or is refused by etcd itself, there is a connection again.
        try:
            await self.ask(STATUS, STATUS.request(), (), within)
        except StoreUnavailable as error:
            raise StoreUnavailable(error.detail) from error
        except StoreError:
            return

    async def ask(
        self,
        method: Method[Request, Response],
        request: Request,
        metadata: Metadata,
        timeout: float,
        lease: int = 0,
    ) -> Response:
        """One request, one answer. Raises store errors."""
        try:
            async with asyncio.timeout(timeout + GRACE):
                return await self._ask_unary(method, request, metadata, timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.address, lease) from error
        except TimeoutError:
            raise StoreUnavailable(f"{self.address}: no answer in time", unknown_outcome=True) from None
        except asyncio.CancelledError:
            raise cancelled(self.address) from None

    async def _ask_unary(
        self, method: Method[Request, Response], request: Request, metadata: Metadata, timeout: float
    ) -> Response:
        call = self.channel.unary_unary(
            method.path, method.request.SerializeToString, method.response.FromString
        )
        response: Response = await call(request, metadata=metadata, timeout=timeout, wait_for_ready=False)
        return response

    def open(
        self, method: Method[Request, Response], metadata: Metadata, timeout: float | None = None
    ) -> StreamCall:
        """A stream of this method; the caller maps its errors and cancels it."""
        call = self.channel.stream_stream(
            method.path, method.request.SerializeToString, method.response.FromString
        )
        return call(None, metadata=metadata, timeout=timeout, wait_for_ready=False)

    @property
    def channel(self) -> grpc.aio.Channel:
        if self._closed:
            raise StoreUnavailable(f"{self.address}: the connection was closed")
        if self._channel is None:
            self._used = self._credentials.current()
            if self._used.grpc is None:
                self._channel = grpc.aio.insecure_channel(self.address, OPTIONS)
            else:
                self._channel = grpc.aio.secure_channel(self.address, self._used.grpc, OPTIONS)
        return self._channel

    async def close(self) -> None:
        """Close the connection; calls under way end with StoreUnavailable."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)


def cancelled(address: str) -> BaseException:
    """The error to raise for a CancelledError of a call: closing a channel makes grpc.aio raise it in tasks that were
    not cancelled."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return asyncio.CancelledError()
    return StoreUnavailable(f"{address}: the call was cancelled", unknown_outcome=True)
