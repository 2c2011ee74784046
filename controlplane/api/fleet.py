"""The present state of the fleet: services, circuits, data planes; resetting a circuit, and draining an instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from starlette.responses import Response

from controlplane.api import rollout, shapes
from controlplane.api.answers import json_answer, model_answer
from controlplane.api.operation import ADMIN, ROOT, Answer, Call, Operation, get, many
from controlplane.api.problems import HttpError
from controlplane.api.shapes import moment
from controlplane.fleet.reports import CircuitReport, NodeState
from controlplane.fleet.views import CircuitView, InstanceView, ServiceView
from controlplane.model.snapshot import Snapshot


async def services(call: Call) -> Response:
    """Every service with its instances and their status."""
    workers, snapshot = await call.parts.commands.workers(), call.parts.snapshot()
    views = call.parts.fleet.views.services(snapshot)
    return model_answer(tuple(_service(view, snapshot, workers) for view in views))


async def service(call: Call) -> Response:
    """One service with its instances."""
    name, workers, snapshot = call.path("name"), await call.parts.commands.workers(), call.parts.snapshot()
    view = call.parts.fleet.views.service(snapshot, name)
    if view is None:
        raise HttpError(404, f"service {name!r} does not exist")
    return model_answer(_service(view, snapshot, workers))


async def circuits(call: Call) -> Response:
    """The breaker of every service."""
    call.parts.fleet.look()
    return model_answer(tuple(map(_circuit, call.parts.fleet.views.circuits(call.parts.snapshot()))))


async def reset_circuit(call: Call) -> Response:
    """Has every data plane close a service's breaker."""
    call.record.revision = await call.parts.commands.reset_circuit(call.path("service"))
    return json_answer({"revision": call.record.revision}, 202)


async def dataplanes(call: Call) -> Response:
    """Every data plane, and what it serves."""
    return model_answer(tuple(map(_dataplane, call.parts.fleet.views.dataplanes(call.parts.watcher.current))))


def _service(view: ServiceView, snapshot: Snapshot, workers: Mapping[str, int]) -> shapes.ServiceShape:
    return shapes.ServiceShape(
        service_name=view.service.service_name,
        instances={one.instance.instance_id: _instance(one, snapshot, workers) for one in view.instances},
        healthy=view.healthy,
        total=view.total,
    )


def _instance(view: InstanceView, snapshot: Snapshot, workers: Mapping[str, int]) -> shapes.InstanceShape:
    name = view.instance.name
    stamped = snapshot.resources.get(("instance", name))
    return shapes.InstanceShape(
        status=view.status.value,
        last_check=moment(view.last_check),
        reason=view.reason,
        host=view.instance.host,
        port=view.instance.port,
        weight=view.instance.weight,
        metadata=dict(view.instance.metadata),
        workers=workers.get(name, 1) if stamped is not None and stamped.lease else 0,
    )


def _circuit(view: CircuitView) -> shapes.CircuitShape:
    return shapes.CircuitShape(
        service_name=view.circuit.service_name,
        config=view.config,
        dataplanes={node: _breaker(report) for node, report in view.dataplanes.items()},
        **dict(_breaker(view.circuit)),
    )


def _breaker(report: CircuitReport) -> shapes.NodeCircuitShape:
    return shapes.NodeCircuitShape(
        state=report.state.value,
        last_state_change=moment(report.last_state_change),
        stats=shapes.CircuitStats(
            total_requests=report.total_requests,
            failed_requests=report.failed_requests,
            rejected_requests=report.rejected_requests,
        ),
        recent_failures=report.recent_failures,
        reason=report.reason,
    )


def _dataplane(state: NodeState) -> shapes.DataplaneShape:
    return shapes.DataplaneShape(
        node=state.node,
        version=state.version,
        connected=state.connected,
        sent_revision=state.sent_revision,
        applied_revision=state.applied_revision,
        digest=state.digest,
        last_seen=moment(state.last_seen),
        last_rejection=shapes.rejection(state.last_rejection),
        total_requests=state.stats.total_requests,
    )


async def drain(call: Call) -> Response:
    """Marks the instance as draining; with `wait`, answers when its last request has ended, or 504."""
    service, instance = call.path("service"), call.path("instance")
    if "quorum" in call.request.query_params:
        raise HttpError(400, "Unknown parameter 'quorum'")
    wait = rollout.asked(call)
    revision = await call.parts.commands.drain(service, instance)
    call.record.revision = revision
    if wait is None:
        return json_answer({"revision": revision}, 202)
    seen = await call.parts.waiting.drained(service, instance, revision, wait.seconds)
    receipt = rollout.shown(seen).model_dump()
    if seen.complete:
        return json_answer(receipt)
    which = seen.problem or ", ".join(map(str, seen.stragglers[:10]))
    detail = f"Instance {service}/{instance} takes no new requests, but is not drained: {which}"
    raise HttpError(504, detail, more=receipt)


ORDERED = Answer(202, "The order is on its way to the data planes", shapes.RevisionShape)


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/services",
        services,
        "getServices",
        "Every service with its instances and their status",
        Answer(200, "Sorted by name", many(shapes.ServiceShape)),
    )
    yield get(
        f"{ROOT}/services/{{name}}",
        service,
        "getService",
        "One service with its instances and their status",
        Answer(200, "The service", shapes.ServiceShape),
        refusals=(404,),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/services/{{service}}/instances/{{instance}}/drain",
        handler=drain,
        access=ADMIN,
        id="drainInstance",
        summary="Let an instance take no new requests, and wait for those under way",
        answers=(
            Answer(200, "Nothing is under way there any more", shapes.RolloutShape),
            ORDERED,
        ),
        tag="fleet",
        parameters=rollout.PARAMETERS[:1],
        refusals=(400, 404, 504),
    )
    yield get(
        f"{ROOT}/circuits",
        circuits,
        "getCircuits",
        "The circuit breaker of every service",
        Answer(200, "Sorted by service", many(shapes.CircuitShape)),
    )
    yield Operation(
        method="POST",
        path=f"{ROOT}/circuits/{{service}}/reset",
        handler=reset_circuit,
        access=ADMIN,
        id="resetCircuit",
        summary="Close a service's breaker on every data plane, and forget its failures",
        answers=(ORDERED,),
        tag="fleet",
        refusals=(404,),
    )
    yield get(
        f"{ROOT}/dataplanes",
        dataplanes,
        "getDataplanes",
        "Every data plane, what it serves and what it refused",
        Answer(200, "Sorted by node", many(shapes.DataplaneShape)),
    )
