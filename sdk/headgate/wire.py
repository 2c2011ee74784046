"""Models ↔ protobuf. Nothing outside this module and the transport touches generated messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from headgate.errors import InvalidDefinition
from headgate.models import (
    Bucket,
    BucketReport,
    CircuitConfig,
    CircuitReport,
    CircuitState,
    CircuitStats,
    CircuitView,
    DiscoveryState,
    Instance,
    LimitBound,
    LimitPlace,
    LimitReset,
    LoadBalancer,
    RateLimit,
    RegistrationRequest,
    Retries,
    Route,
    Service,
    ServiceDefinition,
    ServiceStatus,
    Timeouts,
)
from headgate_api.v1 import registry_pb2, resources_pb2, status_pb2

_BALANCERS = {
    LoadBalancer.ROUND_ROBIN: resources_pb2.LOAD_BALANCER_ROUND_ROBIN,
    LoadBalancer.LEAST_REQUEST: resources_pb2.LOAD_BALANCER_LEAST_REQUEST,
    LoadBalancer.IP_HASH: resources_pb2.LOAD_BALANCER_IP_HASH,
}
# An unknown value, which a newer control plane may send, is read as the default.
_BALANCER_OF = {number: balancer for balancer, number in _BALANCERS.items()}
_STATUS_OF = {
    status_pb2.INSTANCE_STATUS_HEALTHY: ServiceStatus.HEALTHY,
    status_pb2.INSTANCE_STATUS_UNHEALTHY: ServiceStatus.UNHEALTHY,
    status_pb2.INSTANCE_STATUS_DRAINING: ServiceStatus.DRAINING,
}
_STATE_OF = {
    status_pb2.CIRCUIT_STATE_OPEN: CircuitState.OPEN,
    status_pb2.CIRCUIT_STATE_HALF_OPEN: CircuitState.HALF_OPEN,
}
_PLACE_OF = {
    status_pb2.LIMIT_PLACE_WORKER: LimitPlace.WORKER,
    status_pb2.LIMIT_PLACE_NODE: LimitPlace.NODE,
    status_pb2.LIMIT_PLACE_FLEET: LimitPlace.FLEET,
    status_pb2.LIMIT_PLACE_REDIS: LimitPlace.REDIS,
}
_NUMBERS = ("healthy_threshold", "unhealthy_threshold", "check_interval", "check_timeout")
_CIRCUIT = tuple(CircuitConfig.__slots__)
_TIMEOUTS = tuple(Timeouts.__slots__)


def encode_registration(request: RegistrationRequest) -> registry_pb2.RegisterRequest:
    """The message for a request.

    Raises InvalidDefinition for values that cannot be encoded; the control plane validates the rest.
    """
    problems: list[str] = []
    message = registry_pb2.RegisterRequest()
    _fill(message, {"ttl": request.ttl}, problems)
    plain = {
        name: getattr(request, name) for name in ("service_name", "instance_id", "host", "port", "weight")
    }
    _fill(message.instance, plain, problems)
    try:
        message.instance.metadata.update(request.metadata)
    except (TypeError, ValueError):
        problems.append("metadata: names and values must be text")
    if request.definition is not None:
        _fill_service(message.service, request.definition, request.service_name, problems)
    if problems:
        raise InvalidDefinition(problems)
    return message


def _fill_service(
    message: resources_pb2.Service, definition: ServiceDefinition, service_name: str, problems: list[str]
) -> None:
    named = definition.service_name or service_name
    if named != service_name:
        problems.append(f"service_name: the definition says {named!r}, the registration {service_name!r}")
    values: dict[str, object] = {name: getattr(definition, name) for name in _NUMBERS}
    _fill(message, values | {"service_name": named, "check_path": definition.check_path}, problems)
    try:
        message.load_balancer = _BALANCERS[LoadBalancer(definition.load_balancer)]
    except ValueError:
        known = ", ".join(LoadBalancer)
        problems.append(f"load_balancer: {definition.load_balancer!r} is not one of {known}")
    for part, names in (("circuit", _CIRCUIT), ("timeouts", _TIMEOUTS), ("retries", ("attempts", "budget"))):
        stated = getattr(definition, part)
        _fill(getattr(message, part), {name: getattr(stated, name) for name in names}, problems, f"{part}.")
    message.retries.on.extend(str(condition) for condition in definition.retries.on)


def _fill(message: Message, values: dict[str, Any], problems: list[str], at: str = "") -> None:
    """Set fields one by one, so that the error names every value of a wrong type or range, not only the first."""
    for name, value in values.items():
        try:
            setattr(message, name, value)
        except (TypeError, ValueError):
            problems.append(f"{at}{name}: {value!r} is not a possible value")


def decode_service(view: registry_pb2.ServiceView) -> Service:
    """A service with its instances."""
    instances = (decode_instance(instance) for instance in view.instances)
    return Service(
        service_name=view.service.service_name,
        instances={instance.instance_id: instance for instance in instances},
        definition=_definition(view.service),
        discovery=_discovery(view.discovery) if view.HasField("discovery") else None,
    )


def _discovery(view: registry_pb2.DiscoveryView) -> DiscoveryState:
    return DiscoveryState(view.source, view.instances, view.problem, _when(view.since))


def decode_instance(view: registry_pb2.InstanceView) -> Instance:
    """An instance with the verdict of the probes."""
    return Instance(
        service_name=view.instance.service_name,
        instance_id=view.instance.instance_id,
        host=view.instance.host,
        port=view.instance.port,
        weight=view.instance.weight,
        metadata=dict(view.instance.metadata),
        status=_STATUS_OF.get(view.status, ServiceStatus.STARTING),
        last_check=_when(view.last_check),
    )


def _definition(service: resources_pb2.Service) -> ServiceDefinition:
    return ServiceDefinition(
        service_name=service.service_name,
        check_path=service.check_path,
        check_interval=service.check_interval,
        check_timeout=service.check_timeout,
        healthy_threshold=service.healthy_threshold,
        unhealthy_threshold=service.unhealthy_threshold,
        load_balancer=_BALANCER_OF.get(service.load_balancer, LoadBalancer.ROUND_ROBIN),
        circuit=_circuit_config(service.circuit),
        timeouts=Timeouts(*(getattr(service.timeouts, name) for name in _TIMEOUTS)),
        retries=Retries(service.retries.attempts, tuple(service.retries.on), service.retries.budget),
    )


def decode_routes(views: Iterable[registry_pb2.RouteView]) -> dict[str, Route]:
    """Routes by prefix (or exact path). If several share one, all but the first have the key `prefix (name)`."""
    routes: dict[str, Route] = {}
    for view in sorted(views, key=lambda view: (bool(view.route.hosts), view.name)):
        match = view.route.prefix or view.route.path or view.route.path_regex
        routes[f"{match} ({view.name})" if match in routes else match] = _route(view.name, view.route)
    return dict(sorted(routes.items()))


def _route(name: str, route: resources_pb2.Route) -> Route:
    return Route(
        name=name,
        service_name=route.service_name,
        prefix=route.prefix or None,
        path=route.path or None,
        hosts=tuple(route.hosts),
        methods=tuple(route.methods),
        scopes=tuple(route.scopes),
        public=route.public,
        strip_prefix=route.strip_prefix,
        rewrite=route.rewrite or None,
        rate_limits=tuple(route.rate_limits),
        timeout=route.timeout or None,
        max_body_bytes=route.max_body_bytes or None,
        path_regex=route.path_regex or None,
        services={one.service_name: one.weight for one in route.services},
    )


def decode_circuit(view: registry_pb2.CircuitView) -> CircuitView:
    """One service's breaker, for the fleet and for each data plane."""
    return CircuitView(
        service_name=view.circuit.service_name,
        fleet=_report(view.circuit),
        config=_circuit_config(view.config),
        dataplanes={node: _report(report) for node, report in view.dataplanes.items()},
    )


def decode_limit(view: registry_pb2.RateLimitView) -> RateLimit:
    """A limit with its bound and buckets."""
    return RateLimit(
        name=view.name,
        mode=view.mode,
        key=view.key or None,
        owner=view.owner or None,
        bound=_bound(view.bound) if view.HasField("bound") else None,
        refused=view.refused,
        more=view.more,
        buckets=tuple(map(_bucket, view.buckets)),
    )


def _bound(bound: registry_pb2.RateLimitBound) -> LimitBound:
    return LimitBound(
        burst=bound.burst or None,
        per_second=bound.per_second or None,
        under_way=bound.under_way or None,
        whole_fleet=bound.whole_fleet,
        holds=bound.holds,
        reason=bound.reason,
    )


def _bucket(view: registry_pb2.BucketView) -> Bucket:
    reports = {
        node: BucketReport(one.remaining, one.refused, _PLACE_OF.get(one.place, LimitPlace.UNKNOWN), one.away)
        for node, one in view.dataplanes.items()
    }
    return Bucket(view.key, view.remaining, view.refused, reports)


def decode_reset(response: registry_pb2.ResetRateLimitResponse) -> LimitReset:
    """The outcome of a reset."""
    return LimitReset(
        response.revision,
        dict(response.limits),
        dict(response.dataplanes),
        tuple(response.unreached),
        tuple(response.waiting),
        tuple(response.unreported),
    )


def _report(report: status_pb2.CircuitReport) -> CircuitReport:
    return CircuitReport(
        state=_STATE_OF.get(report.state, CircuitState.CLOSED),
        last_state_change=_when(report.last_state_change),
        stats=CircuitStats(report.total_requests, report.failed_requests, report.rejected_requests),
        recent_failures=report.recent_failures,
        reason=report.reason,
    )


def _circuit_config(circuit: resources_pb2.Circuit) -> CircuitConfig:
    return CircuitConfig(**{name: getattr(circuit, name) for name in _CIRCUIT})


def _when(unix_seconds: float) -> datetime | None:
    return datetime.fromtimestamp(unix_seconds, UTC) if unix_seconds else None
