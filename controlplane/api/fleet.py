"""The present state of the fleet: circuits and data planes; resetting a circuit."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from controlplane.api.answers import json_answer, model_answer
from controlplane.api.operation import ADMIN, ROOT, Answer, Call, Operation, get, many
from controlplane.api.shapes.base import RevisionShape, moment
from controlplane.api.shapes.fleet import (
    CircuitShape,
    CircuitStats,
    DataplaneShape,
    NodeCircuitShape,
    dataplane,
)
from controlplane.commands.errors import NotFound
from controlplane.fleet.reports import CircuitReport
from controlplane.fleet.views import CircuitView
from controlplane.model.resources import Service


async def circuits(call: Call) -> Response:
    """The breaker of every service."""
    call.parts.fleet.look()
    return model_answer(tuple(map(_circuit, call.parts.fleet.views.circuits(call.parts.snapshot()))))


async def circuit(call: Call) -> Response:
    """The breaker of one service."""
    call.parts.fleet.look()
    snapshot, name = call.parts.snapshot(), call.path("service")
    stamped = snapshot.resources.get((Service.KIND, name))
    if stamped is None or not isinstance(stamped.resource, Service):
        raise NotFound(Service.KIND, name)
    return model_answer(_circuit(call.parts.fleet.views.circuit(stamped.resource)))


async def reset_circuit(call: Call) -> Response:
    """Order every data plane to close a service's breaker."""
    call.record.revision = await call.parts.commands.reset_circuit(call.path("service"))
    return json_answer({"revision": call.record.revision}, 202)


async def dataplanes(call: Call) -> Response:
    """Every data plane, and the revision that it serves."""
    return model_answer(tuple(map(dataplane, call.parts.fleet.views.dataplanes(call.parts.watcher.current))))


def _circuit(view: CircuitView) -> CircuitShape:
    return CircuitShape(
        service_name=view.circuit.service_name,
        config=view.config,
        dataplanes={node: _breaker(report) for node, report in view.dataplanes.items()},
        **dict(_breaker(view.circuit)),
    )


def _breaker(report: CircuitReport) -> NodeCircuitShape:
    return NodeCircuitShape(
        state=report.state.value,
        last_state_change=moment(report.last_state_change),
        stats=CircuitStats(
            total_requests=report.total_requests,
            failed_requests=report.failed_requests,
            rejected_requests=report.rejected_requests,
        ),
        recent_failures=report.recent_failures,
        reason=report.reason,
    )


ORDERED = Answer(202, "The order is being sent to the data planes", RevisionShape)


def operations() -> Iterator[Operation]:
    """The operations that the handlers above answer."""
    yield get(
        f"{ROOT}/circuits",
        circuits,
        "getCircuits",
        "The circuit breaker of every service",
        Answer(200, "Sorted by service", many(CircuitShape)),
    )
    yield get(
        f"{ROOT}/circuits/{{service}}",
        circuit,
        "getCircuit",
        "The circuit breaker of one service",
        Answer(200, "Over the fleet, and of each data plane", CircuitShape),
        refusals=(404,),
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
        "All data planes, with the revision each serves and its last rejection",
        Answer(200, "Sorted by node", many(DataplaneShape)),
    )
