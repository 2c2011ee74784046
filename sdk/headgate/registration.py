"""Registration of an instance while a block runs.

    async with headgate.register(ServiceDefinition("orders"), port=9001) as registration:
        ...serve...

Entering waits until the instance is registered; leaving, also by an exception, a cancellation or SIGTERM, removes it.
In between a Keeper keeps it registered.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import TracebackType
from typing import Self

from headgate import barrier, uncaught
from headgate.advertise import default_instance_id, fitted_id, local_address
from headgate.barrier import Wait
from headgate.errors import HeadgateError, InvalidDefinition, Misconfigured, Stragglers, Unavailable
from headgate.keeper import Keeper, deregister
from headgate.listening import UNIX, await_listening, listens
from headgate.models import Instance, RegistrationRequest, ServiceDefinition
from headgate.sigterm import SigtermGuard
from headgate.target import Target, Token
from headgate.transport import Transport

log = logging.getLogger("headgate")
uncaught.install()

LISTEN_WITHIN = 30.0
"""Seconds until an instance is registered although its port is closed locally: from outside it may be another one."""
_PAUSE = 0.5
"""Seconds between two attempts to find a route to the control plane."""


class Registration:
    """One instance that is registered while the `async with` block runs. Made by `headgate.register`."""

    def __init__(
        self,
        target: Target,
        request: RegistrationRequest,
        *,
        deadline: float | None,
        on_change: Callable[[bool], None] | None = None,
        handle_sigterm: bool = True,
        wait: Wait = False,
        drain: Wait = False,
        background: bool = False,
    ) -> None:
        """See `register`. An empty host in the request stands for the local address towards the control plane."""
        self.request = request
        self._target = target
        self._deadline = deadline
        self._wait, self._drain = barrier.seconds(wait), barrier.seconds(drain)
        self._on_change = on_change
        self._sigterm = SigtermGuard(wanted=handle_sigterm)
        self._transport: Transport | None = None
        self._keeper: Keeper | None = None
        self._background = background
        self._behind: asyncio.Task[None] | None = None
        self._goodbye: asyncio.Task[int] | None = None
        self._hurried = False
        self._staying = False
        self._inherited: list[int] = []

    @property
    def registered(self) -> bool:
        """Whether the registry has the instance now, as far as this process knows."""
        return self._keeper is not None and self._keeper.registered

    @property
    def instance(self) -> Instance:
        """The instance as it was registered. Raises HeadgateError outside the block."""
        return self._entered.instance

    @property
    def lease(self) -> int | None:
        """The lease under which this process holds the instance; None if it has none."""
        return self._keeper.lease if self._keeper is not None else None

    @property
    def revision(self) -> int | None:
        """Revision of the last registration. Raises HeadgateError outside the block."""
        return self._entered.revision

    @property
    def last_error(self) -> HeadgateError | None:
        """The reason the last step failed; None when it did not. Raises HeadgateError outside the block."""
        return self._entered.last_error

    async def __aenter__(self) -> Self:
        """Register. Raises Unavailable after the deadline; any other HeadgateError at once.

        With `wait`, raises Stragglers if some data plane does not send requests in time; the instance is then
        deregistered.
        """
        self._transport = Transport(self._target)
        self._sigterm.install()
        try:
            await self._enter()
        except BaseException as error:
            await self._exit(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the instance, whatever ended the block. Raises no errors of its own.

        Does nothing outside of it.
        """
        if self._transport is not None:
            await self._exit(error)

    def hurry(self) -> None:
        """Leave without waiting for requests under way; also ends a wait that has begun."""
        self._hurried = True
        if self._goodbye is not None:
            self._goodbye.cancel()

    def stay(self) -> None:
        """Leave the block without deregistering: a successor inherits the lease of this process."""
        self._staying = True

    def inherit(self, leases: Iterable[int]) -> None:
        """Take over leases of dead processes in the same instance. They end when this process leaves the block."""
        self._inherited += leases

    async def end(self, leases: Iterable[int]) -> None:
        """End leases of dead processes in the same instance now, also outside the block. Raises HeadgateError."""
        transport = Transport(self._target)
        try:
            for lease in leases:
                await deregister(transport, self.request.service_name, self.request.instance_id, lease=lease)
        finally:
            await transport.close()

    async def _enter(self) -> None:
        if self._background:
            self._follow(self._enter_behind)
            return
        until = None if self._deadline is None else time.monotonic() + self._deadline
        keeper = await self._make_keeper(until)
        await keeper.register(until)
        keeper.start()
        if not self._wait:
            return
        if await listens(self._own_hosts(), self.request.port):
            await self._await_routable()
        else:
            # In the lifespan of a server that listens later, a wait here would prevent it from listening.
            log.warning("nothing listens on %s yet: waiting in the background", self._own_place())
            self._follow(self._report_routable)

    def _follow(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._behind = asyncio.create_task(self._reported(work), name="headgate: register")

    async def _reported(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Nobody waits for what goes on in the background: without a line an error would never be seen."""
        try:
            await work()
        except Exception:
            name = f"{self.request.service_name}/{self.request.instance_id}"
            log.exception("registering instance %s ended by an error", name)

    async def _enter_behind(self) -> None:
        """Register once the service listens, without a bound on the time for that and for an answer."""
        try:
            keeper = await self._make_keeper(None)
        except HeadgateError as error:
            # A retry does not help: wrong values, unreadable certificates.
            log.error("not registered: %s", error)
            return
        if not await await_listening(self._own_hosts(), self.request.port, LISTEN_WITHIN):
            text = "nothing listens on %s after %g s: registering anyway"
            log.warning(text, self._own_place(), LISTEN_WITHIN)
        await keeper.register(None, retry=HeadgateError)
        keeper.start()
        if self._wait:
            await self._report_routable()

    async def _make_keeper(self, until: float | None) -> Keeper:
        if not self.request.host:
            self.request = dataclasses.replace(self.request, host=await self._local_address(until))
        assert self._transport is not None
        self._keeper = Keeper(self._transport, self.request, self._on_change)
        return self._keeper

    def _own_hosts(self) -> tuple[str, ...]:
        if self.request.host.startswith(UNIX):
            return (self.request.host,)
        # The address of the instance may not be reachable from this process.
        return self.request.host, "127.0.0.1", "::1"

    def _own_place(self) -> str:
        return self.request.host if self.request.host.startswith(UNIX) else f"port {self.request.port}"

    async def _await_routable(self) -> None:
        assert self._transport is not None
        name = self.request.service_name, self.request.instance_id
        await barrier.await_routable(self._transport, *name, self._entered.revision or 0, self._wait)

    async def _report_routable(self) -> None:
        name = f"instance {self.request.service_name}/{self.request.instance_id}"
        try:
            await self._await_routable()
        except HeadgateError as error:
            log.warning("%s", error)
        else:
            log.info("%s gets requests from every data plane", name)

    async def _exit(self, error: BaseException | None) -> None:
        self._sigterm.leaving()
        goodbye = asyncio.create_task(self._leave(), name="headgate: deregister")
        try:
            await _outlast_cancellation(goodbye)
        finally:
            self._sigterm.remove()
        self._sigterm.exit_if_caught(error)

    async def _local_address(self, until: float | None) -> str:
        while True:
            try:
                return await local_address(self._target)
            except Unavailable as error:
                if until is not None and time.monotonic() + _PAUSE > until:
                    raise
                log.warning("%s; trying again", error)
            await asyncio.sleep(_PAUSE)

    async def _leave(self) -> None:
        try:
            if self._behind is not None:
                self._behind.cancel()
                await asyncio.gather(self._behind, return_exceptions=True)
            if self._keeper is not None:
                await self._keeper.stop()
            if not self._staying:
                await self._end_leases()
        except Stragglers as error:
            log.warning("%s", error)
        except HeadgateError as error:
            log.warning("%s; the instance leaves when its lease of %g s ends", error, self.request.ttl)
        finally:
            await self._close()

    async def _end_leases(self) -> None:
        own = [] if self.lease is None else [self.lease]
        # In this order, so that the last holder is a living process, which drains the instance.
        for lease in (*self._inherited, *own):
            await self._say_goodbye(lease)

    async def _say_goodbye(self, lease: int) -> None:
        assert self._transport is not None
        name = self.request.service_name, self.request.instance_id
        if not self._hurried:
            draining = deregister(self._transport, *name, self._drain, lease)
            self._goodbye = asyncio.create_task(draining, name="headgate: drain")
            await asyncio.wait({self._goodbye})
            if not self._goodbye.cancelled():
                self._goodbye.result()
                return
        await deregister(self._transport, *name, False, lease)

    async def _close(self) -> None:
        transport, self._transport, self._keeper = self._transport, None, None
        self._behind = self._goodbye = None
        if transport is not None:
            await transport.close()

    @property
    def _entered(self) -> Keeper:
        if self._keeper is None:
            raise HeadgateError(
                "not registered yet"
                if self._behind
                else "not registered: use `async with headgate.register(...)`"
            )
        return self._keeper


async def _outlast_cancellation(task: asyncio.Task[None]) -> None:
    """Wait for a task that ends soon, also if this wait is cancelled; the cancellation is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def register(
    service: ServiceDefinition | str,
    *,
    port: int | None = None,
    host: str | None = None,
    instance_id: str | None = None,
    weight: int = 1,
    metadata: Mapping[str, str] | None = None,
    ttl: float = 15,
    deadline: float | None = 60,
    on_change: Callable[[bool], None] | None = None,
    handle_sigterm: bool = True,
    wait: Wait = False,
    drain: Wait = 20.0,
    background: bool = False,
    controlplane: str | None = None,
    token: Token | None = None,
    ca: str | os.PathLike[str] | None = None,
    cert: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    insecure: bool | None = None,
) -> Registration:
    """Register an instance for as long as an `async with` block runs.

    service: its definition, or the name of one that exists already.
    host, port: the address at which data planes reach this instance. Default: HEADGATE_HOST and HEADGATE_PORT. Without
        a host, the local address of connections to the control plane is used: set the host if data planes cannot reach
        that address. The host unix:/path is a Unix socket of the data planes' node, and has no port; control planes and
        data planes allow it where UNIX_SOCKETS names its folder.
    instance_id: unique within the service. The same id at the same host and port joins the instance, which stays until
        the last process has left; at another address it takes the other one's place. Default: HEADGATE_INSTANCE, else
        host name and port, or host name and the socket's path.
    ttl: seconds after which the instance is removed if this process dies without deregistering, 5 to 300.
    deadline: seconds for which entering retries while no control plane answers; None: without end.
    on_change: called with True or False whenever `registered` changes; runs on the event loop, so it must not block.
    handle_sigterm: if no other handler is set, SIGTERM ends the block normally, and then the process with exit code 0.
    wait: enter only when every connected data plane has found the instance healthy and sends it requests; True for at
        most 30 seconds, or a number of seconds. If nothing listens on the port yet, as in the lifespan of an ASGI
        application, the wait continues in the background, and its outcome is logged.
    drain: leaving waits at most this number of seconds until no connected data plane sends new requests and those under
        way are done. Keep serving until the block has been left: then no request fails at a stop.
    background: enter at once, and register as soon as the service listens. Failures are logged, stored in `last_error`,
        and retried for as long as the block runs; `deadline` is ignored then.
    controlplane, token, ca, cert, key, insecure: as for `connect`.
    """
    target = Target.make(controlplane, token=token, ca=ca, cert=cert, key=key, insecure=insecure)
    host = host or os.environ.get("HEADGATE_HOST", "").strip()
    port = _port(host) if port is None else port
    if not host.startswith(UNIX) and not _may_be_port(port):
        raise Misconfigured(f"{port} is not a port: a port is 1 to 65535")
    definition = service if isinstance(service, ServiceDefinition) else None
    name = service.service_name if isinstance(service, ServiceDefinition) else service
    if not name:
        raise InvalidDefinition(["service_name: is missing"])
    request = RegistrationRequest(
        service_name=name,
        instance_id=instance_id or _default_id(port or host.removeprefix(UNIX)),
        host=host,
        port=port,
        weight=weight,
        metadata=metadata or {},
        definition=definition,
        ttl=ttl,
    )
    return Registration(
        target,
        request,
        deadline=deadline,
        on_change=on_change,
        handle_sigterm=handle_sigterm,
        wait=wait,
        drain=drain,
        background=background,
    )


def _default_id(place: int | str) -> str:
    named = os.environ.get("HEADGATE_INSTANCE", "").strip()
    return fitted_id(named) if named else default_instance_id(socket.gethostname(), place)


def _may_be_port(given: object) -> bool:
    """Values of other types are refused together with other wrong values."""
    return not isinstance(given, int) or 0 < given < 65_536


def _port(host: str) -> int:
    if host.startswith(UNIX):
        return 0
    given = os.environ.get("HEADGATE_PORT", "").strip()
    if not given:
        raise Misconfigured("say on which port the service listens: port=9000, or HEADGATE_PORT=9000")
    if not given.isdecimal():
        raise Misconfigured(f"HEADGATE_PORT={given} is not a port")
    return int(given)
