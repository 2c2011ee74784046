"""Reads the state of the gateway and operates it from Python.

    async with headgate.connect("127.0.0.1:50051", token=token) as gateway:
        for service in await gateway.registry.get_services(): ...
        print(gateway.router.circuit_breakers["orders"].state)

Each call is answered with the current state of the control plane. A watch keeps circuit breakers up to date; when a
control plane is lost, the watch continues at the next one.
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
"""Seconds; the control plane itself waits for data planes within this time."""


class Registry:
    """The services and their instances."""

    def __init__(self, transport: Transport) -> None:
        """Made by `connect`."""
        self._transport = transport
        self._kept: dict[tuple[str, str], Keeper] = {}

    async def register_service(self, request: RegistrationRequest, *, wait: Wait = False) -> Instance:
        """Register an instance, and keep it registered until it is deregistered or the connection is closed.

        If the service also keeps it registered, it stays until both have stopped. After that it is removed when its
        lease ends; `headgate.register` deregisters explicitly. One attempt: raises Unavailable, InvalidDefinition,
        Unauthenticated, Forbidden. With `wait` (seconds; True: 30) it returns once every connected data plane sends
        requests to the instance, and raises Stragglers if that takes longer; the instance stays registered.
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
        """Remove an instance. No error if it is already absent.

        It stays absent, also while the service keeps running, until it is registered again: by a restart of the
        service, or by `register_service`. With `wait` (seconds; True: 30) it returns once no connected data plane sends
        it new requests and those under way are done: then it can be stopped without a failed request. Raises Stragglers
        if that takes longer; the instance is removed anyway.
        """
        await self._let_go(service_name, instance_id)
        await deregister(self._transport, service_name, instance_id, wait)

    async def drain_service(self, service_name: str, instance_id: str, *, wait: Wait = True) -> None:
        """Stop new requests to an instance, and wait (seconds; True: 30) for those under way; it stays registered.

        A new registration ends the draining. Raises Stragglers if it takes longer, NotRegistered.
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
        """Stop all keep-alives."""
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
        """Every route by its prefix or exact path. If several share one, the others have the key `prefix (name)`."""
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
        """The current state of the limits, sorted by refusals, with `most` buckets (up to 1,000) at most.

        limit: only this limit.
        key: only buckets of this key, as it is shown, or of this value.
        node: only buckets of this data plane.

        Needs gateway:read, because buckets name callers: services' tokens may not read them.
        """
        request = registry_pb2.ListRateLimitsRequest(
            limit=limit or "", key=key or "", node=node or "", most=most
        )
        response = await self._transport.call(lambda stub: stub.ListRateLimits, request)
        return [decode_limit(view) for view in response.limits]

    async def reset_rate_limit(self, key: str) -> LimitReset:
        """Refill the buckets of a key on every data plane, at the owners of limits and in Redis.

        Returns when the data planes have carried out the order, or after some seconds. Needs gateway:admin. Raises
        BucketNotFound if no bucket has the key.
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
        """Close the connection. Instances that were registered through it are removed when their leases end."""
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
    token: bearer credential: the services' token or a user's access token, or a function that returns the current one
        (`headgate.token_file` reads it from a file, such as the projected token of a pod's service account). Default:
        HEADGATE_TOKEN, or the content of the file that HEADGATE_TOKEN_FILE names.
    ca, cert, key: PEM files of the authority that signed the control plane's certificate, and of our own certificate.
        Read again when they change. Without any, the connection is plain text. Default: HEADGATE_CA, HEADGATE_CERT,
        HEADGATE_KEY.
    insecure: allow a token to be sent in plain text to another machine, which is refused otherwise. Default:
        HEADGATE_INSECURE, else False.
    timeout: seconds to wait for the first answer of one control plane.
    """
    return Gateway(
        Target.make(controlplane, token=token, ca=ca, cert=cert, key=key, insecure=insecure), timeout
    )
