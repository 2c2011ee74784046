"""What is wrong in the fleet, in words for an operator. PURE.

The order answers the questions of somebody who was called at night: the worst first, and of two that are equally bad
the older one, which is more likely the cause.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal

from controlplane.api.shapes.base import moment
from controlplane.api.shapes.board import TroubleShape
from controlplane.fleet.reports import CircuitState, InstanceStatus, NodeState, Rejection
from controlplane.fleet.views import CircuitView, ServiceView
from controlplane.model.discovered import State
from controlplane.model.resources import Route
from controlplane.model.snapshot import Snapshot
from controlplane.model.words import count

NAMED: Final = 20
"""Data planes that are named in one trouble."""
PATIENCE: Final = 3.0
"""Seconds in which a data plane is expected to serve a new configuration."""
LATE: Final = 30.0
"""Seconds after which one that does not is a failure."""

Severity = Literal["critical", "warning", "info"]
_ORDER: Final = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Trouble:
    """See TroubleShape. `since` is in Unix seconds, 0 if unknown."""

    severity: Severity
    kind: str
    title: str
    detail: str = ""
    since: float = 0.0
    resource: str = ""
    revision: int | None = None
    nodes: Sequence[str] = ()

    @property
    def order(self) -> tuple[int, float, str]:
        """Key of sorting."""
        return _ORDER[self.severity], self.since, self.title

    def shape(self) -> TroubleShape:
        """As programs read it."""
        return TroubleShape(
            severity=self.severity,
            kind=self.kind,  # type: ignore[arg-type]
            title=self.title,
            detail=self.detail,
            since=moment(self.since),
            resource=self.resource,
            revision=self.revision,
            nodes=list(self.nodes[:NAMED]),
            count=len(self.nodes),
        )


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The state of the store, as the watcher knows it."""

    lost_since: float | None = None
    """Unix seconds; None while it answers."""
    frozen: str = ""
    full: bool = False
    problems: Sequence[str] = ()


def of_the_store(facts: StoreFacts) -> Iterator[Trouble]:
    """Troubles of the store."""
    kept = "Data planes keep serving what they have; changes are refused"
    if facts.lost_since is not None:
        yield Trouble("critical", "store", "The store (etcd) does not answer", kept, facts.lost_since)
    if facts.full:
        yield Trouble("critical", "store", "The store (etcd) is full", "It takes no changes")
    if facts.frozen:
        yield Trouble("critical", "store", "Nothing is published: another store", facts.frozen)
    elif facts.problems:
        title = "The configuration in the store cannot be published"
        yield Trouble("critical", "configuration", title, "; ".join(facts.problems[:5]))


def standing(
    node: NodeState, snapshot: Snapshot | None
) -> Literal["gone", "serving", "rejecting", "waiting"]:
    """Where a data plane is on its way to the published configuration."""
    if not node.connected:
        return "gone"
    digest = snapshot.digest_of(node.pool) if snapshot is not None else ""
    if node.digest == digest:
        return "serving"
    return "rejecting" if _refuses(node, digest) else "waiting"


def _refuses(node: NodeState, digest: str) -> bool:
    refused = node.last_rejection
    return refused is not None and (refused.digest == digest or refused.revision > node.applied_revision)


def of_the_fleet(
    nodes: Iterable[NodeState], snapshot: Snapshot | None, published: float, now: float
) -> Iterator[Trouble]:
    """Rejections, stragglers, data planes that left, and more than one version."""
    by_standing: dict[str, list[NodeState]] = defaultdict(list)
    for node in nodes:
        by_standing[standing(node, snapshot)].append(node)
    gone = by_standing.pop("gone", [])
    connected = sum(map(len, by_standing.values()))
    if not connected:
        yield Trouble("critical", "fleet", "No data plane is connected", "Nobody gets changes", _last(gone))
    yield from _rejections(by_standing["rejecting"], connected)
    if snapshot is not None:
        yield from _stragglers(by_standing["waiting"], snapshot.revision, connected, published, now)
    yield from _left(gone)
    yield from _versions(node for group in by_standing.values() for node in group)


def _rejections(nodes: Iterable[NodeState], connected: int) -> Iterator[Trouble]:
    by_revision: dict[tuple[int, bool], list[tuple[NodeState, Rejection]]] = defaultdict(list)
    for node in nodes:
        if (refused := node.last_rejection) is not None:
            by_revision[refused.revision, refused.withheld].append((node, refused))
    for (revision, withheld), found in by_revision.items():
        names, first = [node.node for node, _ in found], found[0][1]
        whose = f"{len(names)} of {count(connected, 'data plane')}"
        title = (
            f"Revision {revision} is withheld from {whose}"
            if withheld
            else f"{whose} {'rejects' if len(names) == 1 else 'reject'} revision {revision}"
        )
        detail = "; ".join(map(str, first.problems[:3])) or "No reason was given"
        since = min(refused.at for _, refused in found)
        resource = next((one.resource for one in first.problems if one.resource), "")
        yield Trouble("critical", "rejected", title, detail, since, resource, revision, names)


def _stragglers(
    nodes: Sequence[NodeState], revision: int, connected: int, published: float, now: float
) -> Iterator[Trouble]:
    late = [node for node in nodes if now - max(published, node.since) > PATIENCE]
    if not late:
        return
    since = min(max(published, node.since) for node in late)
    severity: Severity = "critical" if now - since > LATE else "warning"
    serve = "does not serve" if len(late) == 1 else "do not serve"
    title = f"{len(late)} of {count(connected, 'data plane')} {serve} revision {revision} yet"
    oldest = min(late, key=lambda node: node.applied_revision)
    detail = f"{oldest.node} serves revision {oldest.applied_revision or 'none'}"
    yield Trouble(severity, "waiting", title, detail, since, "", revision, [node.node for node in late])


def _left(gone: Sequence[NodeState]) -> Iterator[Trouble]:
    if not gone:
        return
    title = f"{count(len(gone), 'data plane')} left in the last ten minutes"
    detail = "Stopped, cut off or replaced; if it still runs, it serves what it has"
    since = min(node.last_seen for node in gone)
    yield Trouble("warning", "left", title, detail, since, nodes=[node.node for node in gone])


def _last(gone: Iterable[NodeState]) -> float:
    return max((node.last_seen for node in gone), default=0.0)


def _versions(nodes: Iterable[NodeState]) -> Iterator[Trouble]:
    by_version: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        by_version[node.version].append(node.node)
    if len(by_version) > 1:
        ordered = sorted(by_version, key=lambda version: len(by_version[version]))
        detail = ", ".join(f"{version or 'unknown'}: {len(by_version[version])}" for version in ordered)
        yield Trouble(
            "info", "version", "Data planes of several versions", detail, nodes=by_version[ordered[0]]
        )


def routed(routes: Iterable[Route]) -> frozenset[str]:
    """The services that answer requests of these routes."""
    names = chain.from_iterable(
        (route.service_name, *(one.service_name for one in route.services)) for route in routes
    )
    return frozenset(filter(None, names))


def of_a_service(view: ServiceView, routed: bool = False) -> Iterator[Trouble]:
    """The health of a service's instances. `routed`: a route leads to it, so that requests fail without any."""
    name = view.service.service_name
    if routed and all(one.status is InstanceStatus.DRAINING for one in view.instances):
        title = f"Service {name} has no instance"
        detail = "All are draining" if view.instances else "None is registered: they have stopped, or died"
        yield Trouble("critical", "health", title, f"{detail}. Routes answer 503", 0.0, f"service/{name}")
    ill = [one for one in view.instances if one.status is InstanceStatus.UNHEALTHY]
    if not ill:
        return
    reason = f"{ill[0].instance.instance_id}: {ill[0].reason or 'the majority finds it unhealthy'}"
    if not view.healthy:
        title = f"Service {name} has no healthy instance"
        yield Trouble("critical", "health", title, reason, 0.0, f"service/{name}")
    else:
        title = f"{len(ill)} of {count(view.total, 'instance')} of {name} {'is' if len(ill) == 1 else 'are'} unhealthy"
        yield Trouble("warning", "health", title, reason, 0.0, f"service/{name}")


def of_a_circuit(view: CircuitView) -> Iterator[Trouble]:
    """A breaker that is not closed."""
    state, name = view.circuit.state, view.circuit.service_name
    if state is CircuitState.CLOSED:
        return
    nodes = [node for node, one in view.dataplanes.items() if one.state is not CircuitState.CLOSED]
    severity: Severity = "critical" if len(nodes) == len(view.dataplanes) else "warning"
    words = "open" if state is CircuitState.OPEN else "half open"
    where = f"on {len(nodes)} of {count(len(view.dataplanes), 'data plane')}"
    since = view.circuit.last_state_change
    title = f"Circuit of {name} is {words} {where}"
    yield Trouble(severity, "circuit", title, view.circuit.reason, since, f"service/{name}", None, nodes)


def of_discovery(states: Mapping[str, State]) -> Iterator[Trouble]:
    """Sources of instances that do not answer."""
    for name, state in states.items():
        if state.problem:
            title = f"Discovery of {name} ({state.source}) fails"
            known = f"{state.problem}; {count(state.instances, 'instance')} known"
            yield Trouble("warning", "discovery", title, known, state.since, f"service/{name}")


def of_the_control_planes(unheard: Sequence[str]) -> Iterator[Trouble]:
    """Other control planes that do not answer."""
    if unheard:
        title = f"{count(len(unheard), 'control plane')} cannot be heard"
        detail = f"Data planes of {', '.join(unheard[:3])} are not known here"
        yield Trouble("warning", "controlplane", title, detail)
