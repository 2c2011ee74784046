"""Reports of a data plane to the control plane, as plain values. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class NodeState:
    """The content of a hello: the node, and the configuration that every worker serves."""

    node: str
    version: str
    revision: int
    digest: str
    leaving: Mapping[str, int] = field(default_factory=dict)
    """Requests in flight, by "<service>/<instance>", at instances that take no new ones."""
    lineage: str = ""
    epoch: int = 0
    redis: bool = False
    """The settings name a Redis."""


class InstanceStatus(Enum):
    """Health of an instance."""

    STARTING = "starting"
    """Neither healthy nor unhealthy yet: takes no traffic."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class InstanceHealth:
    """The last known status of one instance, as seen from this node."""

    service: str
    id: str
    status: InstanceStatus
    last_check: float = 0.0
    """Time at which the last probe ended; 0 before the first."""
    reason: str = ""
    """The reason the last probe failed; empty when it passed."""


@dataclass(frozen=True, slots=True)
class CircuitStats:
    """A breaker over all workers of the node: the worst state, the summed counters."""

    service: str
    state: str = "closed"
    """ "closed", "half_open" or "open"."""
    last_state_change: float = 0.0
    total_requests: int = 0
    failed_requests: int = 0
    rejected_requests: int = 0
    recent_failures: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class BucketStats:
    """One caller's bucket of one limit, over the workers."""

    name: str
    key: str
    remaining: float
    refused: int
    place: str = "worker"
    """The place that counts it: "worker", "node", "fleet" or "redis"."""
    held: float = 0.0
    """The part of `remaining` that only this node's workers may spend, of a bucket of the node or the fleet."""
    away: bool = False
    """The owner of the bucket, or Redis, does not answer a worker."""


@dataclass(frozen=True, slots=True)
class ResetStats:
    """An order to refill the buckets of a key that all workers have obeyed: the buckets that they found, by names of
    limits."""

    revision: int
    """Revision of the order."""
    limits: tuple[str, ...] = ()
    """Limits that had a bucket of the key in this node."""
    shared: tuple[str, ...] = ()
    """Limits that had a bucket for all nodes: at the limit's owner or in Redis."""
    unreached: tuple[str, ...] = ()
    """Those in Redis, where it did not answer."""


@dataclass(frozen=True, slots=True)
class RouteTraffic:
    """Requests of one route within a report's time, by the class of their status."""

    name: str
    """Empty for requests that matched no route."""
    requests: int
    client_errors: int
    server_errors: int


@dataclass(frozen=True, slots=True)
class ServiceTraffic:
    """Requests that were forwarded to one service within a report's time."""

    name: str
    latency: tuple[int, ...]
    """Counts by TrafficStats.bounds and above."""
    errors: int
    """Those that an instance did not answer properly."""


@dataclass(frozen=True, slots=True)
class RefusalTraffic:
    """Requests that were not served for one reason within a report's time."""

    route: str
    """Empty for requests without a route, and for those that an instance did not answer properly."""
    service: str
    """The service whose instance did not answer properly; empty for refusals."""
    decision: str
    requests: int


@dataclass(frozen=True, slots=True)
class LimitTraffic:
    """Requests that one limit refused within a report's time."""

    name: str
    refused: int
    shadowed: int
    """Those that it would have refused, were it enforced."""


@dataclass(frozen=True, slots=True)
class InstanceTraffic:
    """Requests whose last attempt one instance got within a report's time."""

    service: str
    id: str
    requests: int
    errors: int
    """Those that were answered with a status from 500."""
    ejected_by: int
    """Workers that have ejected it, as of now."""


@dataclass(frozen=True, slots=True)
class TrafficStats:
    """The traffic of the node during the last `seconds`. Live figures: a lost report is not repeated."""

    seconds: float
    requests: int
    client_errors: int
    server_errors: int
    routes: tuple[RouteTraffic, ...]
    """The busiest first."""
    services: tuple[ServiceTraffic, ...]
    bounds: tuple[float, ...]
    """Upper bounds of the latency buckets in seconds."""
    in_flight: int
    connections: int
    memory: int
    """Resident bytes of all processes."""
    refusals: tuple[RefusalTraffic, ...] = ()
    """The most frequent first; so with limits and instances, and ejected instances before all others."""
    limits: tuple[LimitTraffic, ...] = ()
    instances: tuple[InstanceTraffic, ...] = ()


class CertificateReport(NamedTuple):
    """A certificate that the node reads from its own files."""

    name: str
    not_after: float
    """The end of the validity of the one in use."""
    problem: str
    """The reason why the files cannot be used as they are now; empty while they can."""


@dataclass(frozen=True, slots=True)
class StatsReport:
    """Counters, breakers and rate limit buckets of a node, at one moment."""

    at: float
    total_requests: int
    circuits: tuple[CircuitStats, ...]
    buckets: tuple[BucketStats, ...]
    resets: tuple[ResetStats, ...] = ()
    """The last orders that were obeyed."""
    traffic: TrafficStats | None = None
    """Only when it is due."""
    certificates: tuple[CertificateReport, ...] | None = None
    """All that are read from files, by name; None: as reported before."""
