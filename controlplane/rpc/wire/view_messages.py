"""Views of the fleet as messages of the registry."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.fleet.reports import CircuitReport, CircuitState, InstanceStatus
from controlplane.fleet.views import CircuitView, InstanceView, ServiceView
from controlplane.model.discovered import State
from controlplane.model.resources import Route
from controlplane.rpc.wire.resource_messages import message
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1 import resources_pb2, status_pb2

_STATUS: Mapping[InstanceStatus, status_pb2.InstanceStatus.ValueType] = {
    InstanceStatus.STARTING: status_pb2.INSTANCE_STATUS_STARTING,
    InstanceStatus.HEALTHY: status_pb2.INSTANCE_STATUS_HEALTHY,
    InstanceStatus.UNHEALTHY: status_pb2.INSTANCE_STATUS_UNHEALTHY,
    InstanceStatus.DRAINING: status_pb2.INSTANCE_STATUS_DRAINING,
}
_STATES: Mapping[CircuitState, status_pb2.CircuitState.ValueType] = {
    CircuitState.CLOSED: status_pb2.CIRCUIT_STATE_CLOSED,
    CircuitState.OPEN: status_pb2.CIRCUIT_STATE_OPEN,
    CircuitState.HALF_OPEN: status_pb2.CIRCUIT_STATE_HALF_OPEN,
}


def service(view: ServiceView, discovery: State | None = None) -> pb.ServiceView:
    """A service with its instances and their status, and that of its discovery."""
    return pb.ServiceView(
        service=message(resources_pb2.Service, view.service),
        instances=[instance(one) for one in view.instances],
        discovery=_discovery(discovery) if discovery is not None else None,
    )


def _discovery(state: State) -> pb.DiscoveryView:
    return pb.DiscoveryView(
        source=state.source, instances=state.instances, problem=state.problem, since=state.since
    )


def instance(view: InstanceView) -> pb.InstanceView:
    """An instance with its status."""
    return pb.InstanceView(
        instance=message(resources_pb2.Instance, view.instance),
        status=_STATUS[view.status],
        last_check=view.last_check,
    )


def route(route: Route) -> pb.RouteView:
    """A route with its name."""
    return pb.RouteView(name=route.name, route=message(resources_pb2.Route, route))


def circuit(view: CircuitView) -> pb.CircuitView:
    """A breaker over the fleet, with that of each data plane."""
    return pb.CircuitView(
        circuit=_report(view.circuit),
        config=message(resources_pb2.Circuit, view.config),
        dataplanes={node: _report(report) for node, report in view.dataplanes.items()},
    )


def _report(report: CircuitReport) -> status_pb2.CircuitReport:
    return status_pb2.CircuitReport(
        service_name=report.service_name,
        state=_STATES[report.state],
        last_state_change=report.last_state_change,
        # Sums over many data planes, in fields of fixed size.
        total_requests=min(report.total_requests, 2**64 - 1),
        failed_requests=min(report.failed_requests, 2**64 - 1),
        rejected_requests=min(report.rejected_requests, 2**64 - 1),
        recent_failures=min(report.recent_failures, 2**32 - 1),
        reason=report.reason,
    )
