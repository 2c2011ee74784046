"""EndpointSlices of Kubernetes (discovery.k8s.io/v1) as instances. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from controlplane.discovery.answer import Answer, Candidate, Complaint, checked, place
from controlplane.model.discovery import KubernetesSource

SERVICE_LABEL: Final = "kubernetes.io/service-name"
FAMILIES = ("IPv4", "IPv6")
"""Of a pod with both, the first is used: each pod is one instance."""
MOST_ENDPOINTS, MOST_PORTS = 1000, 100
"""In one slice; Kubernetes allows no more."""
MOST_SLICES = 2000
"""Slices of one namespace that are kept."""
NAMED = 5
"""Ports that a message names."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One pod, as a slice shows it."""

    address: str
    ready: bool
    serving: bool
    terminating: bool
    zone: str = ""
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """An EndpointSlice: endpoints that have the same ports."""

    name: str
    service: str
    family: str
    ports: tuple[tuple[str, int], ...]
    """TCP ports: name and number."""
    endpoints: tuple[Endpoint, ...]


def read(raw: object) -> Slice | None:
    """The slice in an object of the API; None if it belongs to no Service."""
    try:
        return _read(raw)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def _read(raw: Any) -> Slice | None:
    metadata = raw["metadata"]
    service = (metadata.get("labels") or {}).get(SERVICE_LABEL)
    if not isinstance(service, str) or not service:
        return None
    return Slice(
        name=str(metadata["name"]),
        service=service,
        family=str(raw["addressType"]),
        ports=tuple(_ports((raw.get("ports") or ())[:MOST_PORTS])),
        endpoints=tuple(_endpoint(one) for one in (raw.get("endpoints") or ())[:MOST_ENDPOINTS]),
    )


def _ports(raw: Iterable[Any]) -> Iterator[tuple[str, int]]:
    for port in raw:
        number = port.get("port")
        if (port.get("protocol") or "TCP") == "TCP" and type(number) is int:
            yield str(port.get("name") or ""), number


def _endpoint(raw: Any) -> Endpoint:
    conditions = raw.get("conditions") or {}
    # Absent values: ready and serving, as the API documents it.
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    target = raw.get("targetRef") or {}
    return Endpoint(
        address=str(raw["addresses"][0]),
        ready=ready,
        serving=ready if serving is None else bool(serving),
        terminating=bool(conditions.get("terminating")),
        zone=str(raw.get("zone") or ""),
        pod=str(target.get("name") or "") if target.get("kind") == "Pod" else "",
    )


class Slices:
    """The slices of some Services of a namespace. Each change returns the Services that it concerns."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services
        self._slices: dict[str, Slice] = {}
        self._of: dict[str, dict[str, Slice]] = {}
        """The same by Service."""
        self.dropped = 0
        """Slices beyond the bound, since the last listing."""

    def replace(self, listed: Iterable[Slice]) -> Collection[str]:
        """A whole listing."""
        self._slices, self._of, self.dropped = {}, {}, 0
        for each in listed:
            self.put(each)
        return self._services

    def put(self, new: Slice) -> Collection[str]:
        """A slice was added or modified."""
        before = self._slices.get(new.name)
        if new.service not in self._services:
            return self.remove(new.name)
        if before is None and len(self._slices) >= MOST_SLICES:
            self.dropped += 1
            return {new.service}
        if new == before:
            return ()
        moved = self.remove(new.name)
        self._slices[new.name] = self._of.setdefault(new.service, {})[new.name] = new
        return {new.service, *moved}

    def remove(self, name: str) -> Collection[str]:
        """A slice was deleted."""
        before = self._slices.pop(name, None)
        if before is None:
            return ()
        del self._of[before.service][name]
        return {before.service}

    def of(self, service: str) -> list[Slice]:
        """The slices of a Service, by name."""
        return [one for _, one in sorted(self._of.get(service, {}).items())]


def answer(source: KubernetesSource, slices: Sequence[Slice], complaint: Complaint) -> Answer:
    """The instances that the slices of the source's Service name."""
    if not slices:
        return Answer((), f"{source} has no EndpointSlices: it does not exist, or has no selector")
    if not any(each.family in FAMILIES for each in slices):
        return Answer((), f"{source} has neither IPv4 nor IPv6 endpoints")
    found, missing = _candidates(source, slices)
    if missing and not found:
        return Answer((), missing)
    inside = [one for one in found if not source.zones or one.zone in source.zones]
    if found and not inside:
        return Answer((), f"no endpoint is in {', '.join(source.zones)}")
    made = checked(_taking_turns(inside), complaint)
    return replace(made, problem="; ".join(filter(None, (missing, made.problem))))


def _candidates(source: KubernetesSource, slices: Sequence[Slice]) -> tuple[list[Candidate], str]:
    """The endpoints that serve, and why those of some slices cannot be used.

    Pods that are older than the second family of their Service have one address only: the slices of the other family
    lack them, or are empty. Endpoints that are no pods cannot be matched: those of the first family that has some are
    used.
    """
    found, missing = list[Candidate](), ""
    for family in FAMILIES:
        pods, first = {one.name for one in found}, not found
        for each in (one for one in slices if one.family == family):
            port = port_of(source.port, each.ports)
            if isinstance(port, int):
                serving = (one for one in each.endpoints if one.ready or one.serving)
                found += (
                    _candidate(one, port) for one in serving if first or (one.pod and one.pod not in pods)
                )
            elif each.endpoints:
                missing = f"{source} {port}"
    return found, missing


def _candidate(endpoint: Endpoint, port: int) -> Candidate:
    """Ready is decisive: it is true of a terminating pod only if the Service publishes addresses that are not ready."""
    return Candidate(
        name=endpoint.pod or place(endpoint.address, port),
        host=endpoint.address,
        port=port,
        draining=not endpoint.ready,
        zone=endpoint.zone,
    )


def _taking_turns(candidates: list[Candidate]) -> list[Candidate]:
    """Like kube-proxy: if no endpoint is ready, those that end but still serve get the requests."""
    if any(not one.draining for one in candidates):
        return candidates
    return [replace(one, draining=False) for one in candidates]


def port_of(wanted: int | str | None, ports: Sequence[tuple[str, int]]) -> int | str:
    """The number of the port, or why there is none."""
    if wanted is None and len(ports) == 1:
        return ports[0][1]
    for name, number in ports:
        if wanted in (name, number):
            return number
    there = ", ".join(f"{name or 'unnamed'} ({number})" for name, number in ports[:NAMED]) or "no TCP port"
    if wanted is None:
        return f"has several ports, name one of {there}" if ports else f"has {there}"
    return f"has no port {wanted!r}, but {there}"
