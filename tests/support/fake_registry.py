"""A registry in memory, served over real gRPC on loopback, for tests of the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import grpc
import grpc.aio

from demo.ports import free_port
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import registry_pb2_grpc, resources_pb2, status_pb2

TOKEN = "the-services-token"

Context = grpc.aio.ServicerContext[Any, Any]


class FakeRegistry(registry_pb2_grpc.RegistryServiceServicer):
    """Holds services, instances, routes and circuits; tests change them and call `changed`.

    Switches: `down` answers UNAVAILABLE, `stop()` and `start()` close and reopen the port, `token` and `forbidden`
    refuse, `silent` never answers, `slow` makes a registration but answers it only when the event is set, `old` does
    not know the stream of keep-alives, `problem` is the answer of such a stream instead of a renewal, `problems` the
    same for single leases, `holding` an event before its answer, `draining` an event before the answer to a
    deregistration that waits for requests under way, `fail_waits` answers UNAVAILABLE to AwaitRoutable, `status` is
    that of new instances, `stragglers` are the nodes (with reasons) at the end of every wait, `end_leases()` deletes
    every lease and instance.
    """

    def __init__(self, ttl: float | None = None) -> None:
        """`ttl`: seconds granted for every request."""
        self.ttl = ttl
        self.token: str | None = TOKEN
        self.down = False
        self.forbidden = False
        self.silent = False
        self.old = False
        self.problem = ""
        self.problems: dict[int, str] = {}
        self.holding: asyncio.Event | None = None
        self.messages: list[pb.KeepRegisteredRequest] = []
        self.streams = 0
        self.slow: asyncio.Event | None = None
        self.status: status_pb2.InstanceStatus.ValueType = status_pb2.INSTANCE_STATUS_STARTING
        self.services: dict[str, resources_pb2.Service] = {}
        self.instances: dict[tuple[str, str], pb.InstanceView] = {}
        self.leases: dict[int, tuple[str, str]] = {}
        self.removed: set[int] = set()
        self.routes: dict[str, resources_pb2.Route] = {}
        self.circuits: dict[str, pb.CircuitView] = {}
        self.resets: list[str] = []
        self.limits: list[pb.RateLimitView] = []
        self.choices: list[pb.ListRateLimitsRequest] = []
        """The queries about limits."""
        self.found: dict[str, pb.ResetRateLimitResponse] = {}
        """The outcome of a reset of a key."""
        self.waits: list[float] = []
        self.stragglers: dict[str, str] = {}
        self.fail_waits = False
        self.draining: asyncio.Event | None = None
        self.calls: list[str] = []
        self.revision = 0
        self.port = free_port()
        self.watchers = 0
        self._wake = asyncio.Event()
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        """Its address, also valid while it is stopped."""
        return f"127.0.0.1:{self.port}"

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen, on the same port as before."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(self, self._server)
        if credentials is None:
            self.port = self._server.add_insecure_port(self.address)
        else:
            self.port = self._server.add_secure_port(self.address, credentials)
        await self._server.start()

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def end_leases(self) -> None:
        """Simulate a long outage: every lease has ended, so every instance is deleted."""
        self.leases.clear()
        self.instances.clear()
        self.changed()

    def add_circuit(self, service_name: str, **report: Any) -> None:
        """Add a breaker, or replace it."""
        circuit = status_pb2.CircuitReport(service_name=service_name, **report)
        self.circuits[service_name] = pb.CircuitView(
            circuit=circuit,
            config=resources_pb2.Circuit(failure_threshold=5, failure_window=60, min_throughput=2),
            dataplanes={"gateway-1": circuit},
        )
        self.changed()

    def changed(self) -> None:
        """Send the whole view to every watcher."""
        self.revision += 1
        self._wake.set()
        self._wake = asyncio.Event()

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:
        await self._admit("Register", context)
        instance, problems = request.instance, []
        if not (instance.port == 0 if instance.host.startswith("unix:") else 1 <= instance.port <= 65535):
            problems.append(f"port: {instance.port} is not between 1 and 65535")
        if not request.HasField("service") and instance.service_name not in self.services:
            problems.append(f"service_name: there is no service {instance.service_name!r}")
        if problems:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "\n".join(problems))
        if request.HasField("service"):
            self.services.setdefault(instance.service_name, request.service)
        key = (instance.service_name, instance.instance_id)
        before = self.instances[key].instance if key in self.instances else None
        there = (before.host, before.port) if before is not None else None
        replaced = f"{there[0]}:{there[1]}" if there and there != (instance.host, instance.port) else ""
        if replaced:
            if request.only_if_absent:
                await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{key[1]} is registered at {replaced}")
            self.leases = {lease: held for lease, held in self.leases.items() if held != key}
        self.instances[key] = pb.InstanceView(instance=instance, status=self.status)
        self.changed()
        lease = self.revision
        self.leases[lease] = key
        try:
            if self.slow is not None:
                await self.slow.wait()
        except asyncio.CancelledError:
            self._leave(lease)
            raise
        return pb.RegisterResponse(
            lease_id=lease,
            ttl=self.ttl or request.ttl,
            revision=self.revision,
            workers=self._holders(key),
            replaced=replaced,
        )

    def _holders(self, key: tuple[str, str]) -> int:
        return sum(held == key and lease not in self.removed for lease, held in self.leases.items())

    def _leave(self, lease: int) -> None:
        """Remove one holder; with the last one the instance is removed."""
        key = self.leases.pop(lease, None)
        if key is not None and lease not in self.removed and not self._holders(key):
            self.instances.pop(key, None)
            self.changed()

    async def KeepAlive(self, request: pb.KeepAliveRequest, context: Context) -> pb.KeepAliveResponse:
        await self._admit("KeepAlive", context)
        state = self._renew(request.lease_id)
        if state.ended:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the lease has ended")
        return pb.KeepAliveResponse(ttl=state.ttl, removed=state.removed, draining=state.draining)

    async def KeepRegistered(
        self, requests: AsyncIterator[pb.KeepRegisteredRequest], context: Context
    ) -> AsyncIterator[pb.KeepRegisteredResponse]:
        if self.old:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        self.streams += 1
        try:
            held: set[int] = set()
            async for message in requests:
                await self._admit("KeepAlive", context)
                if self.holding is not None:
                    await self.holding.wait()
                yield self._answer(message, held)
        finally:
            self.streams -= 1

    def _answer(self, message: pb.KeepRegisteredRequest, held: set[int]) -> pb.KeepRegisteredResponse:
        self.messages.append(message)
        answer = pb.KeepRegisteredResponse(number=message.number, problem=self.problem)
        assert held.issuperset(message.renew)
        held.update(one.lease_id for one in message.hold)
        held.difference_update(message.release)
        if not self.problem:
            states = map(self._renew, [*(one.lease_id for one in message.hold), *message.renew])
            answer.states.extend(states)
        held.difference_update(state.lease_id for state in answer.states if state.ended)
        return answer

    def _renew(self, lease: int) -> pb.LeaseState:
        if lease in self.problems:
            return pb.LeaseState(lease_id=lease, problem=self.problems[lease])
        if lease not in self.leases:
            return pb.LeaseState(lease_id=lease, ended=True)
        view = self.instances.get(self.leases[lease])
        if view is not None:
            self.removed.discard(lease)
        return pb.LeaseState(
            lease_id=lease,
            ttl=self.ttl or 15,
            removed=lease in self.removed,
            draining=view is not None and view.status == status_pb2.INSTANCE_STATUS_DRAINING,
        )

    async def Deregister(self, request: pb.DeregisterRequest, context: Context) -> pb.DeregisterResponse:
        await self._admit("Deregister", context)
        if self.draining is not None and request.wait:
            await self.draining.wait()
        key = (request.service_name, request.instance_id)
        if request.lease_id:
            self._leave(request.lease_id)
        else:
            self.removed.update(lease for lease, held in self.leases.items() if held == key)
            self.instances.pop(key, None)
            self.changed()
        self.waits.append(request.wait)
        late = self._late() if request.wait else []
        return pb.DeregisterResponse(revision=self.revision, stragglers=late)

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.DrainResponse:
        await self._admit("Drain", context)
        view = self.instances.get((request.service_name, request.instance_id))
        if view is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "instance does not exist")
        assert view is not None
        view.status = status_pb2.INSTANCE_STATUS_DRAINING
        self.waits.append(request.wait)
        return pb.DrainResponse(revision=self.revision, stragglers=self._late())

    async def AwaitRoutable(
        self, request: pb.AwaitRoutableRequest, context: Context
    ) -> pb.AwaitRoutableResponse:
        await self._admit("AwaitRoutable", context)
        if self.fail_waits:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the control plane is stopping")
        assert request.revision
        self.waits.append(request.wait)
        return pb.AwaitRoutableResponse(stragglers=self._late())

    def _late(self) -> list[pb.Straggler]:
        return [pb.Straggler(node=node, reason=reason) for node, reason in self.stragglers.items()]

    async def ListServices(
        self, request: pb.ListServicesRequest, context: Context
    ) -> pb.ListServicesResponse:
        await self._admit("ListServices", context)
        return pb.ListServicesResponse(services=[self._view(name) for name in self.services])

    async def GetService(self, request: pb.GetServiceRequest, context: Context) -> pb.GetServiceResponse:
        await self._admit("GetService", context)
        if request.service_name not in self.services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "not in the registry")
        return pb.GetServiceResponse(service=self._view(request.service_name))

    async def ListRoutes(self, request: pb.ListRoutesRequest, context: Context) -> pb.ListRoutesResponse:
        await self._admit("ListRoutes", context)
        views = [pb.RouteView(name=name, route=route) for name, route in self.routes.items()]
        return pb.ListRoutesResponse(routes=views)

    async def ListCircuits(
        self, request: pb.ListCircuitsRequest, context: Context
    ) -> pb.ListCircuitsResponse:
        await self._admit("ListCircuits", context)
        return pb.ListCircuitsResponse(circuits=self.circuits.values())

    async def ResetCircuit(
        self, request: pb.ResetCircuitRequest, context: Context
    ) -> pb.ResetCircuitResponse:
        await self._admit("ResetCircuit", context)
        self.resets.append(request.service_name)
        self.add_circuit(request.service_name, state=status_pb2.CIRCUIT_STATE_CLOSED)
        return pb.ResetCircuitResponse(revision=self.revision)

    async def ListRateLimits(
        self, request: pb.ListRateLimitsRequest, context: Context
    ) -> pb.ListRateLimitsResponse:
        await self._admit("ListRateLimits", context)
        self.choices.append(request)
        return pb.ListRateLimitsResponse(limits=self.limits)

    async def ResetRateLimit(
        self, request: pb.ResetRateLimitRequest, context: Context
    ) -> pb.ResetRateLimitResponse:
        await self._admit("ResetRateLimit", context)
        found = self.found.get(request.key)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no bucket of any limit has the key")
        assert found is not None
        return found

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        await self._admit("Watch", context)
        self.watchers += 1
        try:
            while True:
                wake = self._wake
                yield pb.WatchResponse(revision=self.revision, circuits=self.circuits.values())
                await wake.wait()
        finally:
            self.watchers -= 1

    def _view(self, name: str) -> pb.ServiceView:
        instances = [view for (service, _), view in self.instances.items() if service == name]
        return pb.ServiceView(service=self.services[name], instances=instances)

    async def _admit(self, call: str, context: Context) -> None:
        self.calls.append(call)
        if self.silent:
            await asyncio.Event().wait()
        if self.down:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the store does not answer")
        sent = dict(context.invocation_metadata() or ())
        if self.token is not None and sent.get("authorization") != f"Bearer {self.token}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Could not validate credentials")
        if self.forbidden:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Not enough permissions")
