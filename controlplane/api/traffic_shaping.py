"""The traffic of the fleet as its shape: what was added up, with what the configuration and the fleet say of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Set

from controlplane.api.shapes.base import moment
from controlplane.api.shapes.traffic import (
    DataplaneTrafficShape,
    InstanceTrafficShape,
    LimitTrafficShape,
    RouteTrafficShape,
    ServiceTrafficShape,
    TotalShape,
    TrafficShape,
)
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.reports import CircuitState, InstanceStatus
from controlplane.fleet.traffic import FleetTraffic, NodeTraffic, Rates, ServiceRates
from controlplane.fleet.traffic_details import InstanceRates
from controlplane.fleet.views import InstanceView, ServiceView
from controlplane.model.resources import Route
from controlplane.model.snapshot import Snapshot

MOST_ROWS = 1000
"""Services, and routes, that are listed."""
MOST_NODES = 20
"""Data planes that are named with a breaker that is not closed."""
MOST_LIMITS = 100
MOST_DETAILED = 60
"""Services that are listed with instances."""
MOST_INSTANCES = 12
"""Instances that are listed of each."""
MOST_NAMED = 16
"""Services, and limits, that are named with a route."""
DIGITS = 4
_NONE = InstanceRates()


class Shaping:
    """`open_circuits`: services whose breaker is not closed everywhere."""

    def __init__(self, fleet: Fleet, open_circuits: Callable[[], Set[str]]) -> None:
        self._fleet, self._open = fleet, open_circuits

    def whole(self, found: FleetTraffic, snapshot: Snapshot | None) -> TrafficShape:
        """The traffic of the fleet."""
        revision = snapshot.revision if snapshot else 0
        limits = sorted(found.details.limits.items(), key=lambda one: (-one[1].refused, one[0]))
        return TrafficShape(
            at=moment(time.time()),
            every=self._fleet.traffic_every,
            revision=revision,
            total=_total(found),
            dataplanes=[_node(one, revision) for one in found.nodes],
            services=self._services(found, snapshot) if snapshot else [],
            routes=[_route(name, rates, found, snapshot) for name, rates in found.routes[:MOST_ROWS]],
            limits=[
                LimitTrafficShape(
                    name=name,
                    refused_per_second=_round(rates.refused),
                    shadowed_per_second=_round(rates.shadowed),
                )
                for name, rates in limits[:MOST_LIMITS]
            ],
        )

    def service(self, found: FleetTraffic, name: str, snapshot: Snapshot) -> ServiceTrafficShape | None:
        """One service with all its instances; None if there is none of this name."""
        rates = next((one for one in found.services if one.name == name), None)
        return self._service(name, rates, found, snapshot, most=None)

    def _services(self, found: FleetTraffic, snapshot: Snapshot) -> list[ServiceTrafficShape]:
        """Those with a breaker that is not closed, or with an ejected instance, first chosen: they may have no
        requests."""
        rates = {one.name: one for one in found.services}
        unwell = self._open() | found.details.ejected.keys()
        names = list(dict.fromkeys((*sorted(unwell), *rates)))[:MOST_ROWS]
        rows = (
            self._service(
                name, rates.get(name), found, snapshot, most=MOST_INSTANCES if at < MOST_DETAILED else 0
            )
            for at, name in enumerate(names)
        )
        listed = [row for row in rows if row is not None]
        return sorted(listed, key=lambda row: (-row.requests_per_second, row.service_name))

    def _service(
        self,
        name: str,
        rates: ServiceRates | None,
        found: FleetTraffic,
        snapshot: Snapshot,
        *,
        most: int | None,
    ) -> ServiceTrafficShape | None:
        view = self._fleet.views.service(snapshot, name)
        if view is None:
            return None  # deleted a moment ago
        circuit = self._fleet.views.circuit(view.service)
        requests, errors = (rates.requests, rates.errors) if rates else (0.0, 0.0)
        unwell = [node for node, one in circuit.dataplanes.items() if one.state is not CircuitState.CLOSED]
        of = found.details.instances.get(name, {})
        return ServiceTrafficShape(
            service_name=name,
            requests_per_second=_round(requests),
            errors_per_second=_round(errors),
            error_share=_round(min(1.0, errors / requests)) if requests else 0.0,
            **_latency(rates.p50 if rates else None, rates.p99 if rates else None),
            circuit=circuit.circuit.state.value,
            open_at=unwell[:MOST_NODES],
            healthy=view.healthy,
            total=view.total,
            failures=_reasons(found.details.failures.get(name, {})),
            ejected=sum(_is_ejected(one, of) for one in view.instances),
            instances=[_instance(one, of) for one in _worst(view, of)[:most]],
        )


def _is_ejected(view: InstanceView, of: Mapping[str, InstanceRates]) -> bool:
    return of.get(view.instance.instance_id, _NONE).ejected_at > 0


def _worst(view: ServiceView, of: Mapping[str, InstanceRates]) -> list[InstanceView]:
    """Instances in trouble first, then the busiest."""

    def order(one: InstanceView) -> tuple[bool, bool, float, str]:
        name = one.instance.instance_id
        well = one.status in (InstanceStatus.HEALTHY, InstanceStatus.STARTING)
        return well, not _is_ejected(one, of), -of.get(name, _NONE).requests, name

    return sorted(view.instances, key=order)


def _instance(view: InstanceView, of: Mapping[str, InstanceRates]) -> InstanceTrafficShape:
    rates = of.get(view.instance.instance_id, _NONE)
    return InstanceTrafficShape(
        instance_id=view.instance.instance_id,
        status=view.status.value,
        requests_per_second=_round(rates.requests),
        error_share=_round(rates.errors / rates.requests) if rates.requests else 0.0,
        ejected_at=rates.ejected_at,
    )


def _total(found: FleetTraffic) -> TotalShape:
    latency = _latency(found.p50, found.p99)
    refusals = _reasons(found.details.reasons)
    return TotalShape(**_rates(found.rates), p50=latency["p50"], p99=latency["p99"], refusals=refusals)


def _node(one: NodeTraffic, revision: int) -> DataplaneTrafficShape:
    state, rates, last = one.state, one.rates, one.state.last_rejection
    newer = last is not None and last.revision > state.applied_revision
    return DataplaneTrafficShape(
        node=state.node,
        version=state.version,
        connected=state.connected,
        since=moment(state.since),
        last_seen=moment(state.last_seen),
        applied_revision=state.applied_revision,
        behind=max(0, revision - state.applied_revision),
        rejected_revision=last.revision if last is not None and newer else None,
        requests_per_second=_round(rates.requests) if rates else None,
        error_share=_round(rates.error_share) if rates else None,
        **_latency(one.p50, one.p99),
        in_flight=one.in_flight,
        connections=one.connections,
        memory_bytes=one.memory,
    )


def _route(name: str, rates: Rates, found: FleetTraffic, snapshot: Snapshot | None) -> RouteTrafficShape:
    stamped = snapshot.resources.get((Route.KIND, name)) if snapshot else None
    route = stamped.resource if stamped and isinstance(stamped.resource, Route) else None
    return RouteTrafficShape(
        name=name,
        service_name=route.service_name if route else None,
        services=_services_of(route),
        rate_limits=list(route.rate_limits)[:MOST_NAMED] if route else [],
        refusals=_reasons(found.details.refusals.get(name, {})),
        **_rates(rates),
    )


def _services_of(route: Route | None) -> list[str]:
    shares = route.services if route else ()
    return [one.service_name for one in shares if one.service_name][:MOST_NAMED]


def _reasons(found: Mapping[str, float]) -> dict[str, float]:
    """The most frequent first."""
    ordered = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return {decision: _round(rate) for decision, rate in ordered[:MOST_NAMED]}


def _rates(rates: Rates) -> dict[str, float]:
    return {
        "requests_per_second": _round(rates.requests),
        "client_errors_per_second": _round(rates.client_errors),
        "server_errors_per_second": _round(rates.server_errors),
        "error_share": _round(rates.error_share),
    }


def _latency(p50: float | None, p99: float | None) -> dict[str, float | None]:
    return {"p50": None if p50 is None else _round(p50), "p99": None if p99 is None else _round(p99)}


def _round(value: float) -> float:
    return round(value, DIGITS)
