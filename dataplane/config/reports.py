"""What a data plane reports to the control plane, as plain values. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


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
    """When the last probe ended; 0 before the first."""
    reason: str = ""
    """Why the last probe failed; empty when it passed."""


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
    shared: bool = False
    """All workers have the same bucket: `remaining` is the least that one of them has seen, else the sum."""


@dataclass(frozen=True, slots=True)
class StatsReport:
    """Counters, breakers and rate limit buckets of a node, at one moment."""

    at: float
    total_requests: int
    circuits: tuple[CircuitStats, ...]
    buckets: tuple[BucketStats, ...]
