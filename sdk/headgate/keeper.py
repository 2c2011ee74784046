"""The background task that keeps an instance registered: it takes each step of the lease when it is due.

Failures are stored in `last_error`, logged if they are new, and retried. After the end of a lease the instance is
registered again, with two exceptions: an instance that was removed from outside stays absent, and an instance that
another process has registered at another address is left to that process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import fields, replace

from headgate import barrier
from headgate.errors import DuplicateInstance, HeadgateError, Unavailable
from headgate.lease import Lease
from headgate.models import Instance, RegistrationRequest, ServiceDefinition
from headgate.transport import CALL_TIMEOUT, NotFound, Transport
from headgate.wire import decode_service, encode_registration
from headgate_api.v1 import registry_pb2

log = logging.getLogger("headgate")

Clock = Callable[[], float]

LAST_ANSWER = 1.0
"""Seconds that a registration under way may still take after it is no longer needed."""


class Keeper:
    """Keeps one instance registered over a transport that the caller owns."""

    def __init__(
        self,
        transport: Transport,
        request: RegistrationRequest,
        on_change: Callable[[bool], None] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """`on_change` is called with every change of `registered`. Raises InvalidDefinition."""
        self.request = request
        self.revision: int | None = None
        self.last_error: HeadgateError | None = None
        self.removed = False
        """Whether the instance was removed from outside: it stays absent until it is registered again."""
        self.workers = 0
        """The number of processes that held the instance at its registration, including this one."""
        self._draining = False
        self._message = encode_registration(request)
        self._transport = transport
        self._on_change = on_change
        self._clock = clock
        self._lease = Lease(due=clock())
        self._told = False
        self._retried: type[HeadgateError] = HeadgateError
        """Errors that are logged and retried; others are raised to the caller."""
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def registered(self) -> bool:
        """Whether the registry has the instance, as far as this process knows."""
        return self._lease.alive(self._clock()) and not self.removed

    @property
    def lease(self) -> int | None:
        """The lease of this process for the instance; None if it has none."""
        return self._lease.id

    @property
    def instance(self) -> Instance:
        """The instance as it was registered."""
        asked = self.request
        return Instance(
            asked.service_name, asked.instance_id, asked.host, asked.port, asked.weight, dict(asked.metadata)
        )

    async def register(self, until: float | None, retry: type[HeadgateError] = Unavailable) -> None:
        """Register, with retries while no control plane answers, up to the time `until` (None: without end).

        retry: the errors that are retried. HeadgateError means all: each failure is logged if it is new.
        """
        self._retried = retry
        while True:
            try:
                await self._step()
                return
            except retry:
                if until is not None and self._lease.due > until:
                    raise
            await asyncio.sleep(self._lease.due - self._clock())

    def start(self) -> None:
        """Keep the lease alive from now on."""
        self._retried = HeadgateError
        name = f"headgate: keep {self.request.service_name}/{self.request.instance_id}"
        self._task = asyncio.create_task(self._keep(), name=name)

    async def stop(self) -> None:
        """Let the step under way finish, so that no late registration follows a deregistration; then stop."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CALL_TIMEOUT)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._lease.id is not None:
            await self._transport.release(self._lease.id)

    async def _keep(self) -> None:
        await self._compare_definition()
        while not await self._stopped_within(self._lease.due - self._clock()):
            try:
                await self._step()
            except HeadgateError:
                pass  # stored, logged, and due again
            except Exception as error:
                log.exception("keeping %s registered failed; trying again", self._name)
                self._note(HeadgateError(str(error)))

    async def _compare_definition(self) -> None:
        """Log it if a service of this name existed and kept its settings, which are the operator's."""
        definition = self.request.definition
        if definition is None or replace(definition, service_name=None) == ServiceDefinition():
            return  # a definition with only the name states no settings
        asked = decode_service(registry_pb2.ServiceView(service=self._message.service)).definition
        query = registry_pb2.GetServiceRequest(service_name=self.request.service_name)
        try:
            response = await self._transport.call(lambda stub: stub.GetService, query)
        except HeadgateError:
            return  # harmless: new services may not be listed yet
        held = decode_service(response.service).definition
        if differing := [f.name for f in fields(held) if getattr(held, f.name) != getattr(asked, f.name)]:
            log.warning(
                "service %s exists and keeps its own %s; `headgate apply` changes it",
                self.request.service_name,
                ", ".join(differing),
            )

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _step(self) -> None:
        """Take the step that is due. Raises HeadgateError, with the next step scheduled."""
        try:
            if self._lease.id is not None:
                await self._keep_alive(self._lease.id)
            elif self.removed:
                self._lease.due = self._clock() + self.request.ttl
            else:
                await self._register()
        except HeadgateError as error:
            lease = self._lease.id
            self._note(error)
            if lease is not None and self._lease.id is None:
                # Not known to have ended: a stream may still renew it.
                await self._transport.release(lease)
            raise
        self.last_error = None
        self._tell()

    async def _register(self) -> None:
        asked = self._clock()
        # After its first registration this process displaces no other one.
        self._message.only_if_absent = self.revision is not None
        self._message.instance.draining = self._draining
        call = asyncio.ensure_future(self._transport.call(lambda stub: stub.Register, self._message))
        try:
            response = await asyncio.shield(call)
        except asyncio.CancelledError:
            await self._await_answer(call, asked)
            raise
        self._lease.granted(response.lease_id, response.ttl, asked)
        self.revision, self.workers = response.revision, response.workers
        if response.replaced:
            log.warning("%s took the place of the one at %s", self._name, response.replaced)
        among = f" as one of {self.workers} processes" if self.workers > 1 else ""
        log.info("registered %s at revision=%d%s", self._name, response.revision, among)

    async def _await_answer(self, call: asyncio.Future[registry_pb2.RegisterResponse], asked: float) -> None:
        """Finish a registration although its caller has left, because its lease is needed to deregister.

        A control plane undoes the registration of a cancelled call.
        """
        await asyncio.wait({call}, timeout=LAST_ANSWER)
        call.cancel()
        if call.done() and not call.cancelled() and call.exception() is None:
            self._lease.granted(call.result().lease_id, call.result().ttl, asked)

    async def _keep_alive(self, lease: int) -> None:
        asked = self._clock()
        holding = registry_pb2.Holding(
            lease_id=lease,
            service_name=self.request.service_name,
            instance_id=self.request.instance_id,
        )
        try:
            ttl, removed, draining = await self._transport.renew(holding, self._lease.ttl)
        except NotFound:
            await self._lost()
        else:
            self._lease.granted(lease, ttl, asked)
            self._draining = draining
            self._note_removed(removed)

    def _note_removed(self, removed: bool) -> None:
        if removed and not self.removed:
            log.warning("%s was deregistered from outside: it stays out until it registers anew", self._name)
        elif self.removed and not removed:
            log.info("%s was registered anew from outside", self._name)
        self.removed = removed

    async def _lost(self) -> None:
        """The lease has ended: by an outage if it was not renewed in time, otherwise by another process."""
        taken = self._lease.alive(self._clock())
        self._lease.ended(self._clock())
        self._tell()
        if self.removed:
            return
        why = "was registered by another process" if taken else "has lost its lease"
        log.warning("%s %s: registering again", self._name, why)
        await self._register()

    def _note(self, error: HeadgateError) -> None:
        if str(error) != str(self.last_error) and isinstance(error, self._retried):
            loud = logging.ERROR if isinstance(error, DuplicateInstance) else logging.WARNING
            log.log(loud, "%s: %s; trying again", self._name, error)
        self.last_error = error
        self._lease.failed(self._clock(), random.random())  # noqa: S311 - jitter
        self._tell()

    def _tell(self) -> None:
        if self.registered == self._told:
            return
        self._told = self.registered
        if not self._told:
            log.warning("%s is not registered any more", self._name)
        if self._on_change is not None:
            try:
                self._on_change(self._told)
            except Exception:
                log.exception("on_change of %s failed", self._name)

    @property
    def _name(self) -> str:
        return f"instance {self.request.service_name}/{self.request.instance_id}"


async def deregister(
    transport: Transport, service_name: str, instance_id: str, wait: barrier.Wait = False, lease: int = 0
) -> int:
    """Remove an instance. No error if it is absent. Returns the revision.

    With a `lease` only its holder leaves: other holders keep the instance, and a newer registration stays.
    With `wait` it is drained first: no data plane sends it new requests, and those under way are done. It is removed in
    any case; raises Stragglers if some requests were still under way.
    """
    limit = barrier.seconds(wait)
    message = registry_pb2.DeregisterRequest(
        service_name=service_name, instance_id=instance_id, wait=limit, lease_id=lease
    )
    response = await transport.call(lambda stub: stub.Deregister, message, timeout=limit + CALL_TIMEOUT)
    log.info("deregistered instance %s/%s at revision=%d", service_name, instance_id, response.revision)
    late = f"instance {service_name}/{instance_id} was removed, but is not drained after {limit:g} s"
    barrier.check(response.stragglers, late)
    return response.revision
