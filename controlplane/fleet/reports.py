"""Reports and states of data planes, in the control plane's own types. Times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from controlplane.model.capabilities import Lacking
from controlplane.model.certificate import KEYS
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.words import count

MOST_RESETS: Final = 32
"""Orders to reset that are remembered of a data plane."""


class InstanceStatus(StrEnum):
    """The known state of an instance."""

    STARTING = "starting"
    """Registered, and no data plane has probed it to a verdict yet."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    """The instance takes no new requests."""


class CircuitState(StrEnum):
    """State of a breaker, from good to bad."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class InstanceHealth(NamedTuple):
    """One data plane's verdict on one instance. A tuple: a report holds thousands of them."""

    service_name: str
    instance_id: str
    status: InstanceStatus
    last_check: float = 0.0
    """When the last probe ended; 0 before the first."""
    reason: str = ""
    """The reason the last probe failed; empty when it passed."""

    @property
    def name(self) -> tuple[str, str]:
        """Names of the service and of the instance."""
        return self[:2]


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """A breaker: of one data plane, or of the fleet with counters added up. Counted since the data plane started."""

    service_name: str
    state: CircuitState = CircuitState.CLOSED
    last_state_change: float = 0.0
    """0 when there was none."""
    total_requests: int = 0
    failed_requests: int = 0
    rejected_requests: int = 0
    """Requests that the open circuit refused."""
    recent_failures: int = 0
    """Failures within the current window."""
    reason: str = ""
    """The last transition in words."""


class LimitPlace(StrEnum):
    """The place that counts the requests of a limit."""

    UNKNOWN = "unknown"
    """Older data planes do not report it."""
    WORKER = "worker"
    """Each worker has a part of the limit."""
    NODE = "node"
    """The data plane's workers lease from its supervisor."""
    FLEET = "fleet"
    """All workers lease from the control plane that owns the limit."""
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class RateLimitReport:
    """One bucket of a limit on one data plane."""

    name: str
    key: str
    remaining: float
    """Tokens left."""
    refused: int
    """Requests refused since the bucket was made."""
    place: LimitPlace = LimitPlace.UNKNOWN
    held: float = 0.0
    """The part of `remaining` that only this data plane may spend; 0 unless the bucket is the fleet's."""
    away: bool = False
    """The limit's owner or Redis does not answer: `without_owner` or `on_store_failure` of the limit applies."""


@dataclass(frozen=True, slots=True)
class ResetReport:
    """A data plane's answer to an order to refill the buckets of a key: names of limits."""

    limits: tuple[str, ...] = ()
    """Limits that had a bucket of the key there."""
    shared: tuple[str, ...] = ()
    """Limits that had a bucket for all data planes: at the limit's owner or in Redis."""
    unreached: tuple[str, ...] = ()
    """Those in Redis, where it did not answer."""


Resets = Mapping[int, ResetReport]
"""By the revision of the order."""
NO_RESETS: Resets = MappingProxyType({})


class RouteTraffic(NamedTuple):
    """Requests of one route within a report's time, by the class of their status."""

    name: str
    """Empty for requests that matched no route."""
    requests: int
    client_errors: int
    server_errors: int


class ServiceTraffic(NamedTuple):
    """Requests that were forwarded to one service within a report's time."""

    name: str
    latency: tuple[int, ...]
    """Counts by TrafficReport.bounds and above."""
    errors: int
    """Those that an instance did not answer properly."""


class RefusalTraffic(NamedTuple):
    """Requests that were not served for one reason within a report's time."""

    route: str
    """Empty for requests without a route, and for those that an instance did not answer properly."""
    service_name: str
    """The service whose instance did not answer properly; empty for refusals."""
    decision: str
    requests: int


class LimitTraffic(NamedTuple):
    """Requests that one limit refused within a report's time."""

    name: str
    refused: int
    shadowed: int
    """Those that it would have refused, were it enforced."""


class InstanceTraffic(NamedTuple):
    """Requests whose last attempt one instance got within a report's time."""

    service_name: str
    instance_id: str
    requests: int
    errors: int
    """Those that were answered with a status from 500."""
    ejected_by: int
    """Workers that have ejected it."""


@dataclass(frozen=True, slots=True)
class TrafficReport:
    """The traffic of one data plane during the last `seconds`."""

    seconds: float
    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    routes: tuple[RouteTraffic, ...] = ()
    services: tuple[ServiceTraffic, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of the latency buckets in seconds."""
    in_flight: int = 0
    connections: int = 0
    memory: int = 0
    """Resident bytes of all processes; 0: unknown."""
    refusals: tuple[RefusalTraffic, ...] = ()
    limits: tuple[LimitTraffic, ...] = ()
    instances: tuple[InstanceTraffic, ...] = ()


class CertificateReport(NamedTuple):
    """A certificate that a data plane reads from its own files."""

    name: str
    not_after: float
    """The end of the validity of the one in use."""
    problem: str = ""
    """The reason why the files cannot be used as they are now; empty while they can."""


@dataclass(frozen=True, slots=True)
class StatsReport:
    """Counts reported by a data plane."""

    at: float = 0.0
    total_requests: int = 0
    circuits: tuple[CircuitReport, ...] = ()
    """All, or those that changed; `Fleet` keeps them apart from the rest: see `circuits.Circuits`."""
    rate_limits: tuple[RateLimitReport, ...] = ()
    resets: Resets = field(default_factory=lambda: NO_RESETS)
    """Orders that were not reported before; `Fleet` keeps them apart from the rest: see `NodeState.resets`."""
    traffic: TrafficReport | None = None
    """The last one. None: nobody watches the traffic, or the data plane is of an older version."""
    certificates: tuple[CertificateReport, ...] | None = None
    """All that it reads from files; None: unchanged. `Fleet` keeps them apart: see `NodeState.certificates`."""


@dataclass(frozen=True, slots=True)
class NodeProblem:
    """The reason a data plane refused a table."""

    resource: str
    """Kind and name, like `route/orders`; empty when the whole table is meant."""
    field: str
    """Field path within the resource; may be empty."""
    detail: str

    def __str__(self) -> str:
        where = " ".join(part for part in (self.resource, self.field) if part)
        return f"{where}: {self.detail}" if where else self.detail


_ADVICE = {
    KEYS: "private keys are sent over encrypted streams only: set GRPC_CERT and GRPC_KEY of the control planes and "
    "CONTROLPLANE_CA of the data plane"
}
"""The remedy for the lack of a capability that does not come with the version."""


def lacking(found: Lacking, version: str) -> tuple[NodeProblem, ...]:
    """The reason why a configuration is withheld from a data plane of this version, and the remedy."""
    who = f"this data plane (version {version or 'unknown'})"
    advice = "upgrade it, or remove the field from the resource"
    named = [
        NodeProblem(
            "/".join(one.resource),
            one.field,
            f"needs the capability {one.capability}, which {who} lacks: {_ADVICE.get(one.capability, advice)}",
        )
        for one in found.named
    ]
    if (more := found.resources - len(named)) > 0:
        need = f"{count(more, 'more resource')} {'needs' if more == 1 else 'need'}"
        named.append(NodeProblem("", "", f"{need} capabilities that {who} lacks"))
    return tuple(named)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A revision that a data plane refused."""

    revision: int
    problems: tuple[NodeProblem, ...]
    at: float
    """Unix seconds."""
    digest: str = ""
    """Of the refused table: a later revision with the same one is refused, too."""
    withheld: bool = False
    """The revision was not sent: the data plane lacks a capability, as the problems say."""

    def __str__(self) -> str:
        why = "; ".join(map(str, self.problems[:3])) or "no reason given"
        return (
            f"revision {self.revision} is withheld: {why}"
            if self.withheld
            else f"rejected {self.revision}: {why}"
        )


@dataclass(frozen=True, slots=True)
class NodeState:
    """The known state of one data plane. Times are Unix seconds."""

    node: str
    version: str
    connected: bool = True
    since: float = 0.0
    """When its stream was opened, by the clock of the control plane that it was opened to."""
    sent_revision: int = 0
    """The last revision handed to its stream; 0 before the first."""
    applied_revision: int = 0
    """Every worker of the node serves this revision; 0 when there is none."""
    digest: str = ""
    """Digest of the applied revision."""
    last_seen: float = 0.0
    """Time of its last message."""
    last_rejection: Rejection | None = None
    slot: int = -1
    """Its place among the votes of its control plane: see `verdicts.Verdicts`."""
    health_revision: int = 0
    """The revision that every worker served at the last health report."""
    leaving: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests under way at instances that take no new ones, by service and id; complete as of the applied revision."""
    stats: StatsReport = field(default_factory=StatsReport)
    resets: Resets = field(default_factory=lambda: NO_RESETS)
    """The last MOST_RESETS orders that it has obeyed."""
    resets_unreported: bool = False
    """It is of an older version, which obeys such orders when it applies the revision, but does not report it."""
    without_redis: bool = False
    """It can count limits in a Redis, and its settings name none."""
    sent_at: float = 0.0
    """When `sent_revision` was sent."""
    applied_at: float = 0.0
    """When it said that it serves the configuration with this digest; 0 if it has served it since it connected."""
    took: float = 0.0
    """Seconds from sending it to that answer."""
    certificates: tuple[CertificateReport, ...] = ()
    """Those that it reads from its own files."""
    pool: str = DEFAULT_POOL
    """The pool of its credential."""

    def has_reset(self, revision: int) -> bool:
        """Whether it has obeyed the order of this revision."""
        return revision in self.resets or (self.resets_unreported and self.applied_revision >= revision)
