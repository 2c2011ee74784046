"""Looking at the gateway and operating it from Python.

    async with headgate.connect("127.0.0.1:50051", token=token) as gateway:
        for service in await gateway.registry.get_services(): ...
        print(gateway.router.circuit_breakers["orders"].state)

Questions are answered by the control plane at that moment. Circuit breakers are kept fresh by a watch, which survives
the loss of a control plane by moving on to the next.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from headgate import barrier, uncaught
from headgate.barrier import Wait
from headgate.circuit_watch import CircuitWatch
from headgate.circuits import CircuitBreaker
from headgate.errors import BucketNotFound, HeadgateError, ServiceNotFound
from headgate.keeper import Keeper, deregister
from headgate.models import Instance, LimitReset, RateLimit, RegistrationRequest, Route, Service
from headgate.target import Target, Token
from headgate.transport import NotFound, Transport
from headgate.wire import decode_limit, decode_reset, decode_routes, decode_service
from headgate_api.v1 import registry_pb2

uncaught.install()

RESET_TIMEOUT = 20.0
"""Seconds; the control plane waits some for data planes."""


class Registry:
    """The services and their instances."""

    def __init__(self, transport: Transport) -> None:
        """Made by `connect`."""
        self._transport = transport
        self._kept: dict[tuple[str, str], Keeper] = {}

    async def register_service(self, request: RegistrationRequest, *, wait: Wait = False) -> Instance:
        """Register an instance, and keep it registered until it is deregistered or the connection is closed.

        Where the service itself keeps it, too, it stays as long as either does.
        After that it leaves when its lease ends; `headgate.register` says goodbye by itself. One attempt: raises
        Unavailable, InvalidDefinition, Unauthenticated, Forbidden. With `wait` (True: 30 s) it returns once every
        connected data plane sends it requests, and raises Stragglers when that takes longer; it stays registered.
        """
        barrier.seconds(wait)
        keeper = Keeper(self._transport, request)
        await self._let_go(request.service_name, request.instance_id)
        await keeper.register(until=0)
        keeper.start()
        self._kept[request.service_name, request.instance_id] = keeper
        if wait:
            name, revision = (request.service_name, request.instance_id), keeper.revision or 0
            await barrier.await_routable(self._transport, *name, revision, wait)
        return keeper.instance

    async def deregister_service(self, service_name: str, instance_id: str, *, wait: Wait = False) -> None:
        """Take an instance out of the table. Not an error when it is gone already.

        It stays out, also while the service runs on, until somebody registers it anew: the service itself when it is
        started again, or `register_service`.
        With `wait` (True: 30 s) it returns once no connected data plane sends it new requests and those under way are
        done: then it can be stopped without a failed request. Raises Stragglers when that takes longer; it has been
        removed all the same.
        """
        await self._let_go(service_name, instance_id)
        await deregister(self._transport, service_name, instance_id, wait)

    async def drain_service(self, service_name: str, instance_id: str, *, wait: Wait = True) -> None:
        """Let an instance take no new requests, and wait (True: 30 s) for those under way; it stays registered.

        Registering it anew ends that. Raises Stragglers when it takes longer, NotRegistered.
        """
        await barrier.drain(self._transport, service_name, instance_id, wait)

    async def get_services(self) -> list[Service]:
        """Every service with its instances, sorted by name."""
        response = await self._transport.call(
            lambda stub: stub.ListServices, registry_pb2.ListServicesRequest()
        )
        return sorted(map(decode_service, response.services), key=lambda service: service.service_name)

    async def get_service(self, service_name: str) -> Service:
        """One service with its instances. Raises ServiceNotFound."""
        request = registry_pb2.GetServiceRequest(service_name=service_name)
        try:
            response = await self._transport.call(lambda stub: stub.GetService, request)
        except NotFound:
            raise ServiceNotFound(service_name) from None
        return decode_service(response.service)

    async def close(self) -> None:
        """Keep nothing alive any more."""
        for service_name, instance_id in list(self._kept):
            await self._let_go(service_name, instance_id)

    async def _let_go(self, service_name: str, instance_id: str) -> None:
        keeper = self._kept.pop((service_name, instance_id), None)
        if keeper is not None:
            await keeper.stop()


class Router:
    """The routes, the circuit breakers in front of the services, and the rate limits."""

    def __init__(self, transport: Transport, watcher: CircuitWatch) -> None:
        """Made by `connect`."""
        self._transport = transport
        self._watcher = watcher

    @property
    def circuit_breakers(self) -> dict[str, CircuitBreaker]:
        """The breaker of every service, by service name, as of the last message of the watch."""
        return self._watcher.breakers

    async def get_routes(self) -> dict[str, Route]:
        """Every route by its prefix, or exact path; where several share one, further ones are keyed `prefix (name)`."""
        response = await self._transport.call(lambda stub: stub.ListRoutes, registry_pb2.ListRoutesRequest())
        return decode_routes(response.routes)

    async def get_rate_limits(
        self,
        limit: str | None = None,
        *,
        key: str | None = None,
        node: str | None = None,
        most: int = 100,
    ) -> list[RateLimit]:
        """The limits as they are counted now, those that refused most first, with `most` buckets (up to 1,000) at most.

        limit: only this one. key: only buckets of this key, as it is shown, or of this value. node: only what this data
        plane counts. Needs gateway:read: services' tokens may not see who calls.
        """
        request = registry_pb2.ListRateLimitsRequest(
            limit=limit or "", key=key or "", node=node or "", most=most
        )
        response = await self._transport.call(lambda stub: stub.ListRateLimits, request)
        return [decode_limit(view) for view in response.limits]

    async def reset_rate_limit(self, key: str) -> LimitReset:
        """Fill up the buckets of a key on every data plane, at the owners of limits and in Redis.

        Returns when the data planes have obeyed, or after some seconds. Needs gateway:admin. Raises BucketNotFound when
        no bucket has the key.
        """
        request = registry_pb2.ResetRateLimitRequest(key=key)
        try:
            response = await self._transport.call(
                lambda stub: stub.ResetRateLimit, request, timeout=RESET_TIMEOUT
            )
        except NotFound:
            raise BucketNotFound(key) from None
        return decode_reset(response)


class Gateway:
    """A connection to the control plane: `registry` and `router`. Made by `headgate.connect`."""

    def __init__(self, target: Target, timeout: float) -> None:
        """See `connect`."""
        self._target = target
        self._timeout = timeout
        self._parts: tuple[Transport, CircuitWatch, Registry, Router] | None = None

    @property
    def registry(self) -> Registry:
        """The services and their instances."""
        return self._connected[2]

    @property
    def router(self) -> Router:
        """The routes and the circuit breakers."""
        return self._connected[3]

    @property
    def connected(self) -> bool:
        """Whether the watch is up, so that `router.circuit_breakers` is fresh."""
        return self._parts is not None and self._parts[1].connected

    async def __aenter__(self) -> Self:
        """Connect, and wait for the first view of the fleet. Raises Unavailable, Unauthenticated, Forbidden."""
        transport = Transport(self._target)
        watcher = CircuitWatch(transport, self._timeout)
        try:
            await watcher.start()
        except BaseException:
            await transport.close()
            raise
        self._parts = (transport, watcher, Registry(transport), Router(transport, watcher))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection. What was registered through it leaves when its lease ends."""
        if self._parts is None:
            return
        transport, watcher, registry, _ = self._parts
        self._parts = None
        try:
            await registry.close()
            await watcher.stop()
        finally:
            await transport.close()

    @property
    def _connected(self) -> tuple[Transport, CircuitWatch, Registry, Router]:
        if self._parts is None:
            raise HeadgateError("not connected: use `async with headgate.connect(...) as gateway:`")
        return self._parts


def connect(
    controlplane: str | None = None,
    *,
    token: Token | None = None,
    ca: str | os.PathLike[str] | None = None,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    insecure: bool | None = None,
    timeout: float = 5,
) -> Gateway:
    """Connect to the control plane for as long as an `async with` block runs.

    controlplane: `host:port`, or several separated by commas: the first that answers is used, and the next after it
        is lost. Default: HEADGATE_CONTROLPLANE, else 127.0.0.1:50051.
    token: bearer credential: the services' token or a user's access token, or a function that returns the present
        one (`headgate.token_file` reads it from a file). Default: HEADGATE_TOKEN, or what is in HEADGATE_TOKEN_FILE.
    ca, cert, key: PEM files of the authority that signed the control plane's certificate, and of our own certificate.
        Read again when they change. Without any, the connection is plain text. Default: HEADGATE_CA, HEADGATE_CERT,
        HEADGATE_KEY.
    insecure: send a token in plain text to another machine, too, which is refused otherwise. Default:
        HEADGATE_INSECURE, else False.
    timeout: seconds that one control plane has for its first answer.
    """
    return Gateway(
        Target.make(controlplane, token=token, ca=ca, cert=cert, key=key, insecure=insecure), timeout
    )
