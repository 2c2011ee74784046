"""What a data plane tells the control plane about itself, as plain values. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class NodeState:
    """Who says hello, and what every worker of the node serves."""

    node: str
    version: str
    revision: int
    digest: str
    leaving: Mapping[str, int] = field(default_factory=dict)
    """Requests under way, by "<service>/<instance>", at instances that take no new ones."""
    lineage: str = ""
    epoch: int = 0


class InstanceStatus(Enum):
    """What is known of an instance's health."""

    STARTING = "starting"
    """Not probed to a verdict yet: takes no traffic."""
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
    """One caller's bucket of one limit, summed over the workers."""

    name: str
    key: str
    remaining: float
    refused: int


@dataclass(frozen=True, slots=True)
class StatsReport:
    """A node's traffic, once a second."""

    at: float
    total_requests: int
    circuits: tuple[CircuitStats, ...]
    buckets: tuple[BucketStats, ...]
