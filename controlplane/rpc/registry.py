"""The registry: services register their instances here, and clients read the state of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from controlplane.commands.commands import Commands
from controlplane.commands.errors import NotFound
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.limit_resets import RESET_WITHIN, reset_view
from controlplane.fleet.limit_views import MOST, USUAL, Choice, rate_limits
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.progress import Progress
from controlplane.fleet.waiting import MOST_WAIT, Waiting
from controlplane.model.resources import RateLimit, Route
from controlplane.model.snapshot import Snapshot
from controlplane.rpc.credentials import RECHECK, Caller, Credentials, Right
from controlplane.rpc.errors import Code, Context, Refused, not_ready, rescued, unauthenticated
from controlplane.rpc.feed import CHECKED_WITHIN, GAP, Feed
from controlplane.rpc.interests import Interest
from controlplane.rpc.rules import Rules
from controlplane.rpc.wire import limit_messages, view_messages
from controlplane.rpc.wire.registration_messages import registration
from controlplane.signal import Signal
from controlplane.store import LeaseGone, StoreError
from headgate_api.v1 import registry_pb2 as pb

SERVICE = "headgate.v1.RegistryService"

HOLD = 15.0
"""Seconds that an instance stays draining after its wait, in case its process dies before it removes the instance."""

MOST_STRAGGLERS = 100
"""Data planes that an answer names."""

MOST_WATCHED = 1000
"""Services that a watch may name."""

SEEN_WITHIN = 1.0
"""Longest time in seconds that a change waits to be seen here; see `_seen`."""

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Handler = Callable[["Registry", Asked, Context], Awaitable[Answer]]
Method = Callable[["Registry", Asked, Caller], Awaitable[Answer]]


def needs(right: Right) -> Callable[[Method[Asked, Answer]], Handler[Asked, Answer]]:
    """Refuse callers of the method that lack this right, and turn its errors into statuses."""

    def guard(method: Method[Asked, Answer]) -> Handler[Asked, Answer]:
        @functools.wraps(method)
        async def call(self: Registry, request: Asked, context: Context) -> Answer:
            async with rescued(context, "registry", self._credentials.refused):
                caller = await self._credentials.require(right, context)
                if right is Right.REGISTER and (name := _service_of(request)):
                    self._credentials.check_service(caller, name)
                if right not in _TRACED or method.__name__ in _OFTEN:
                    return await method(self, request, caller)
                with self._commands.spans.call(SERVICE, method.__name__, _texts(context)):
                    return await method(self, request, caller)
            raise AssertionError("rescued ends the call")

        return call

    return guard


_TRACED = frozenset({Right.REGISTER, Right.CHANGE})
_OFTEN = frozenset({"KeepAlive", "AwaitRoutable"})
"""Calls that change nothing."""


def _texts(context: Context) -> dict[str, str]:
    """The metadata of a call."""
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


class Registry:
    """Serves RegistryService: changes through the commands, views from the watcher and the fleet."""

    def __init__(
        self,
        commands: Commands,
        watcher: Watcher,
        fleet: Fleet,
        credentials: Credentials,
        *,
        rules: Rules | None = None,
        wall: Callable[[], float] = time.time,
        most_watches: int = 500,
        recheck: float = RECHECK,
        owner_of: Callable[[str], str] = lambda limit: "",
    ) -> None:
        """`owner_of` gives the control plane that owns a limit of the fleet, empty for none. `wall` gives Unix
        seconds; at most `most_watches` are served at once.

        `recheck`: seconds between two checks of a watch's credential.
        """
        self._recheck = recheck
        self._owner_of = owner_of
        self._commands = commands
        self._rules = rules or Rules()
        self._watcher = watcher
        self._fleet = fleet
        self._credentials = credentials
        self._waiting = Waiting(watcher, fleet)
        self._feed = Feed(watcher, fleet)
        self._wall = wall
        self._most_watches = most_watches
        self._watches = 0
        self._stopping = False
        self._stopped = Signal()

    def stop(self) -> None:
        """End every watch."""
        self._stopping = True
        self._stopped.notify()

    @needs(Right.REGISTER)
    async def Register(self, request: pb.RegisterRequest, caller: Caller) -> pb.RegisterResponse:
        instance, service = registration(request)
        if caller.account is not None:
            # The service names the account: one that was deleted a moment ago must not come back without that.
            service = None
        self._rules.check(instance, service, caller, self._watcher.current)
        made = await self._commands.register(
            instance, service, request.ttl, only_if_absent=request.only_if_absent
        )
        try:
            await self._seen(made.revision)
        except asyncio.CancelledError:
            # The caller has gone, and does not know the lease with which to deregister.
            await self._withdraw(instance.service_name, instance.instance_id, made.lease)
            raise
        return pb.RegisterResponse(
            lease_id=made.lease,
            ttl=made.ttl,
            revision=made.revision,
            workers=made.workers,
            replaced=made.replaced,
        )

    @needs(Right.REGISTER)
    async def KeepAlive(self, request: pb.KeepAliveRequest, caller: Caller) -> pb.KeepAliveResponse:
        name = f"{request.service_name}/{request.instance_id}" if request.service_name else None
        if caller.bound and name is None:
            detail = "service_name, instance_id: are required with a credential for some services only"
            raise Refused(Code.INVALID_ARGUMENT, detail)
        if name is None:
            return pb.KeepAliveResponse(ttl=await self._commands.keep_alive(request.lease_id))
        kept = await self._commands.keep(name, request.lease_id)
        return pb.KeepAliveResponse(ttl=kept.ttl, removed=kept.removed, draining=kept.draining)

    async def KeepRegistered(self, requests: object, context: Context) -> None:
        """Served by `keep_alive_stream`, whose handler takes the place of this one."""
        raise NotImplementedError

    @needs(Right.REGISTER)
    async def Deregister(self, request: pb.DeregisterRequest, caller: Caller) -> pb.DeregisterResponse:
        name, since = (request.service_name, request.instance_id), 0
        seconds = _seconds(request.wait)
        if request.lease_id:
            revision, since = await self._commands.leave("/".join(name), request.lease_id)
            if not since:  # others hold it, or it was registered by another process
                await self._seen(revision, "/".join(name))
                return pb.DeregisterResponse(revision=revision)
        stragglers: list[pb.Straggler] = []
        if seconds:
            with contextlib.suppress(NotFound, LeaseGone):  # gone already
                since = await self._commands.drain(*name, hold=seconds + HOLD, since=since)
                stragglers = _stragglers(await self._waiting.drained(*name, since, seconds))
        revision = await self._commands.deregister(*name, lease=request.lease_id, since=since)
        await self._seen(revision, "/".join(name))
        return pb.DeregisterResponse(revision=revision, stragglers=stragglers)

    async def _withdraw(self, service_name: str, instance_id: str, lease: int) -> None:
        with contextlib.suppress(StoreError):
            _, since = await self._commands.leave(f"{service_name}/{instance_id}", lease)
            if since:
                await self._commands.deregister(service_name, instance_id, lease=lease, since=since)

    @needs(Right.REGISTER)
    async def Drain(self, request: pb.DrainRequest, caller: Caller) -> pb.DrainResponse:
        name, seconds = (request.service_name, request.instance_id), _seconds(request.wait)
        revision = await self._commands.drain(*name)
        stragglers = _stragglers(await self._waiting.drained(*name, revision, seconds))
        return pb.DrainResponse(revision=revision, stragglers=stragglers)

    @needs(Right.REGISTER)
    async def AwaitRoutable(
        self, request: pb.AwaitRoutableRequest, caller: Caller
    ) -> pb.AwaitRoutableResponse:
        seen = await self._waiting.routable(
            request.service_name, request.instance_id, request.revision, _seconds(request.wait)
        )
        return pb.AwaitRoutableResponse(stragglers=_stragglers(seen))

    @needs(Right.LOOK)
    async def ListServices(self, request: pb.ListServicesRequest, caller: Caller) -> pb.ListServicesResponse:
        return pb.ListServicesResponse(services=self._services(self._snapshot()))

    @needs(Right.LOOK)
    async def GetService(self, request: pb.GetServiceRequest, caller: Caller) -> pb.GetServiceResponse:
        view = self._fleet.views.service(self._snapshot(), request.service_name)
        if view is None:
            raise Refused(Code.NOT_FOUND, f"Service '{request.service_name[:64]}' not found in registry")
        state = self._watcher.discovery_state(request.service_name)
        return pb.GetServiceResponse(service=view_messages.service(view, state))

    @needs(Right.LOOK)
    async def ListRoutes(self, request: pb.ListRoutesRequest, caller: Caller) -> pb.ListRoutesResponse:
        return pb.ListRoutesResponse(routes=_routes(self._snapshot()))

    @needs(Right.LOOK)
    async def ListCircuits(self, request: pb.ListCircuitsRequest, caller: Caller) -> pb.ListCircuitsResponse:
        return pb.ListCircuitsResponse(circuits=self._circuits(self._snapshot()))

    @needs(Right.CHANGE)
    async def ResetCircuit(self, request: pb.ResetCircuitRequest, caller: Caller) -> pb.ResetCircuitResponse:
        return pb.ResetCircuitResponse(revision=await self._commands.reset_circuit(request.service_name))

    @needs(Right.INSPECT)
    async def ListRateLimits(
        self, request: pb.ListRateLimitsRequest, caller: Caller
    ) -> pb.ListRateLimitsResponse:
        if request.most > MOST:
            raise Refused(Code.INVALID_ARGUMENT, f"most: must be 1 to {MOST}, or 0 for {USUAL}")
        choice = Choice(
            request.limit or None, request.key or None, request.node or None, request.most or USUAL
        )
        self._fleet.look()
        limits, reports = self._snapshot().of(RateLimit), self._fleet.views.buckets()

        def answer() -> pb.ListRateLimitsResponse:
            found = rate_limits(limits, reports, self._owner_of, choice)
            return pb.ListRateLimitsResponse(limits=map(limit_messages.limit, found))

        return await self._commands.reads.run(answer)

    @needs(Right.CHANGE)
    async def ResetRateLimit(
        self, request: pb.ResetRateLimitRequest, caller: Caller
    ) -> pb.ResetRateLimitResponse:
        revision = await self._commands.reset_rate_limit(request.key)
        await self._waiting.obeyed(revision, RESET_WITHIN)
        seen = reset_view(revision, self._fleet.views.dataplanes())
        if seen.found_none:
            raise Refused(Code.NOT_FOUND, f"no bucket of any limit has the key {request.key[:64]!r}")
        return limit_messages.reset(seen)

    async def Watch(self, request: pb.WatchRequest, context: Context) -> None:
        async with rescued(context, "registry", self._credentials.refused):
            caller = await self._credentials.require(Right.LOOK, context)
            if self._watches >= self._most_watches:
                raise Refused(Code.RESOURCE_EXHAUSTED, f"no more than {self._most_watches} may watch at once")
            self._watches += 1
            try:
                await self._watch(request, caller, context)
            finally:
                self._watches -= 1

    async def _watch(self, request: pb.WatchRequest, caller: Caller, context: Context) -> None:
        if len(request.services) > MOST_WATCHED:
            raise Refused(
                Code.INVALID_ARGUMENT,
                f"services: must have at most {MOST_WATCHED} names, or none to watch all",
            )
        seen, feed, interest = -1, self._feed, Interest.of(request)
        wake, now = asyncio.Event(), time.monotonic
        checked = told = now()
        with feed.watched(interest), feed.changed.wakes(wake), self._stopped.wakes(wake):
            while not self._stopping:
                wake.clear()
                if caller.expires is not None and caller.expires <= self._wall():
                    raise unauthenticated()
                if now() - checked >= self._recheck:
                    caller = await self._credentials.require(Right.LOOK, context)
                    checked = now()
                number = feed.number
                # A watcher that gets everything each time is sent the times of probes only rarely.
                news = number if request.changes or now() - told >= CHECKED_WITHIN else feed.news
                if feed.ready(interest) and news > seen:
                    if (message := feed.message(seen, interest, changes=request.changes)) is not None:
                        await context.write(message)
                        told = now()
                    seen = number
                    await asyncio.sleep(GAP)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._recheck):
                        await wake.wait()
        raise Refused(Code.UNAVAILABLE, "the control plane is stopping")

    async def _seen(self, revision: int, gone: str = "") -> None:
        """Wait until the views hold a change, so that the caller that made it finds it in its next request.

        `gone`: an instance whose absence is as good; one that was found absent has no revision to wait for.
        """
        wake = asyncio.Event()
        with self._watcher.changed.wakes(wake), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEN_WITHIN):
                while not (self._shows(revision) or (gone and self._lacks(gone))):
                    wake.clear()
                    await wake.wait()

    def _shows(self, revision: int) -> bool:
        """Whether the views are of this revision or later, or do not change because the store's content is invalid."""
        current = self._watcher.current
        return bool(self._watcher.problems) or (current is not None and current.revision >= revision)

    def _lacks(self, instance: str) -> bool:
        current = self._watcher.current
        return current is not None and ("instance", instance) not in current.resources

    def _snapshot(self) -> Snapshot:
        if self._watcher.current is None:
            raise not_ready()
        return self._watcher.current

    def _services(self, snapshot: Snapshot) -> list[pb.ServiceView]:
        states = self._watcher.discovery_states()
        views = self._fleet.views.services(snapshot)
        return [view_messages.service(view, states.get(view.service.service_name)) for view in views]

    def _circuits(self, snapshot: Snapshot) -> list[pb.CircuitView]:
        return [view_messages.circuit(view) for view in self._fleet.views.circuits(snapshot)]


def _seconds(wait: float) -> float:
    if not 0 <= wait <= MOST_WAIT:
        raise Refused(Code.INVALID_ARGUMENT, f"wait: must be 0 to {MOST_WAIT:g} seconds")
    return wait


def _stragglers(seen: Progress) -> list[pb.Straggler]:
    if seen.complete:
        return []
    if seen.problem:
        return [pb.Straggler(reason=seen.problem)]
    return [pb.Straggler(node=one.node, reason=one.reason) for one in seen.stragglers[:MOST_STRAGGLERS]]


def _service_of(request: Any) -> str:
    """Name of the service that the request is about, empty when it names none."""
    return str(getattr(getattr(request, "instance", request), "service_name", ""))


def _routes(snapshot: Snapshot) -> list[pb.RouteView]:
    return [view_messages.route(route) for route in snapshot.of(Route).values()]
