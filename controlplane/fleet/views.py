"""The fleet as people and programs see it: reports of many data planes put together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceStatus,
)
from controlplane.fleet.verdicts import InstanceName, Verdict
from controlplane.model.resources import Circuit, Instance, Service
from controlplane.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance and the fleet's verdict on it."""

    instance: Instance
    status: InstanceStatus
    last_check: float
    """Unix seconds of the last finished probe by any data plane; 0 before the first."""
    reason: str
    """The reason the last failed probe failed; empty for a healthy instance."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """The data planes that vote on an instance, by name, sorted."""

    healthy: Sequence[str]
    unhealthy: Sequence[str]
    starting: Sequence[str]
    """They know it, and have no opinion yet."""
    reason: str
    """Of the last failed probe by any of them."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service and its instances, sorted by id."""

    service: Service
    instances: tuple[InstanceView, ...]

    @property
    def healthy(self) -> int:
        """How many instances are healthy."""
        return sum(view.status is InstanceStatus.HEALTHY for view in self.instances)

    @property
    def total(self) -> int:
        """How many instances there are."""
        return len(self.instances)


@dataclass(frozen=True, slots=True)
class CircuitView:
    """A service's breaker over the fleet: the worst state, and counters added up."""

    circuit: CircuitReport
    config: Circuit
    dataplanes: Mapping[str, CircuitReport]
    """The breaker of each data plane, by node name."""


Votes = Sequence[tuple[Mapping[InstanceName, Verdict], int]]
"""Votes at each control plane, and the bits of the data planes that count there."""


def services(snapshot: Snapshot, votes: Votes) -> tuple[ServiceView, ...]:
    """Every service with its instances, sorted by name."""
    return tuple(service_view(snapshot, service, votes) for service in snapshot.of(Service).values())


def service_view(snapshot: Snapshot, service: Service, votes: Votes) -> ServiceView:
    """One service with its instances."""
    instances = snapshot.instances(service.service_name)
    return ServiceView(service, tuple(instance_view(instance, votes) for instance in instances))


def instance_view(instance: Instance, heard: Votes) -> InstanceView:
    """The verdict of the majority of those that have one; a tie is unhealthy, because half of them cannot reach it."""
    name = instance.service_name, instance.instance_id
    well = ill = known = 0
    last_check, failed_at, reason = 0.0, 0.0, ""
    for votes, counted in heard:
        if (found := votes.get(name)) is None or not (seen := found.known & counted):
            continue
        known += seen.bit_count()
        well += (found.well & counted).bit_count()
        ill += (found.ill & counted).bit_count()
        last_check = max(last_check, found.last_check)
        if found.reason and found.failed_at >= failed_at:
            failed_at, reason = found.failed_at, found.reason
    status = InstanceStatus.DRAINING if instance.draining else majority(well, ill)
    failing = status is not InstanceStatus.HEALTHY and well < known
    return InstanceView(instance, status, last_check, reason if failing else "")


def majority(well: int, ill: int) -> InstanceStatus:
    """The verdict of this number of votes."""
    if not well and not ill:
        return InstanceStatus.STARTING
    return InstanceStatus.HEALTHY if well > ill else InstanceStatus.UNHEALTHY


_BADNESS = list(CircuitState)


def circuits(
    snapshot: Snapshot, heard: Callable[[str], Mapping[str, CircuitReport]]
) -> tuple[CircuitView, ...]:
    """The breaker of every service; `heard` gives those of each data plane, by node name."""
    return tuple(circuit_view(service, heard(name)) for name, service in snapshot.of(Service).items())


def circuit_view(service: Service, heard: Mapping[str, CircuitReport]) -> CircuitView:
    """The breaker of one service."""
    return CircuitView(_together(service.service_name, heard), service.circuit, heard)


def _together(service_name: str, reports: Mapping[str, CircuitReport]) -> CircuitReport:
    if not reports:
        return CircuitReport(service_name)
    each = list(reports.values())
    state = max((one.state for one in each), key=_BADNESS.index)
    # The reason is that of the data plane whose breaker entered this state last.
    teller = max((one for one in each if one.state is state), key=lambda one: one.last_state_change)
    return CircuitReport(
        service_name,
        state,
        teller.last_state_change,
        sum(one.total_requests for one in each),
        sum(one.failed_requests for one in each),
        sum(one.rejected_requests for one in each),
        sum(one.recent_failures for one in each),
        teller.reason,
    )
