"""Definitions of a service, and the gateway's view of it: frozen values.

Durations are seconds. Fields and defaults are those of the admin API's resources of the same names; only the control
plane validates them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ServiceStatus(StrEnum):
    """The verdict of the data planes' probes on an instance."""

    STARTING = "starting"
    """Registered, without a probe result yet."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    """Takes no new requests; those in flight may finish."""


class CircuitState(StrEnum):
    """Whether a circuit breaker lets requests through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class LoadBalancer(StrEnum):
    """The algorithm that picks one of the healthy instances."""

    ROUND_ROBIN = "round_robin"
    LEAST_REQUEST = "least_request"
    IP_HASH = "ip_hash"


@dataclass(frozen=True, slots=True)
class CircuitConfig:
    """When a service's circuit breaker opens, and how it tries again."""

    failure_threshold: int = 5
    """Failures within the window that open the circuit."""
    failure_ratio: float = 0.5
    """Share of failures within the window, 0 to 1, that is also required to open the circuit."""
    failure_window: float = 60
    """Seconds over which requests are counted."""
    min_throughput: int = 2
    """Requests within the window below which the circuit never opens."""
    recovery_timeout: float = 30
    """Seconds before an open circuit admits a trial."""
    half_open_timeout: float = 10
    """Seconds after which an unsettled trial counts as failed."""
    half_open_requests: int = 1
    """Trials that must succeed to close the circuit; also the maximum of concurrent trials."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time-outs of an instance for each step, in seconds."""

    connect: float = 5
    response: float = 15
    """From the request's last byte to the head of the response."""
    idle: float = 300
    """The time for which an unused connection to an instance is kept."""
    total: float = 0
    """From the start of the request to the end of the response, retries included; 0 for no limit."""


@dataclass(frozen=True, slots=True)
class Retries:
    """When the gateway tries another instance."""

    attempts: int = 1
    """Further attempts after the first one; 0 switches retries off."""
    on: tuple[str | int, ...] = ("connect",)
    """"connect", "reset", "timeout", or a status: 500, 502, 503, 504. All but the first need an idempotent method."""
    budget: float = 0.2
    """Retries for each request, on average, 0 to 1; failed connection attempts do not count."""


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """Settings of a service at the gateway: probes, balancing, breaker, time-outs."""

    service_name: str | None = None
    """May be left out if the registration names the service."""
    check_path: str = "/health"
    """Path of the probe; a healthy instance answers it 2xx."""
    check_interval: float = 30
    """Seconds between two probes of one instance."""
    check_timeout: float = 5
    """Seconds until a probe counts as failed."""
    healthy_threshold: int = 2
    """Probes in a row that must pass before an unhealthy instance is healthy again."""
    unhealthy_threshold: int = 3
    """Probes in a row that must fail before a healthy instance is unhealthy."""
    load_balancer: LoadBalancer = LoadBalancer.ROUND_ROBIN
    circuit: CircuitConfig = CircuitConfig()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """The values of a registration of one instance."""

    service_name: str
    instance_id: str
    """Unique within the service. The same id again replaces the instance."""
    host: str
    """IP address or host name at which data planes reach the instance; or unix:/path, a Unix socket of their node."""
    port: int
    """0 for a Unix socket."""
    weight: int = 1
    """Relative share of the service's traffic, 1 to 1000."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    definition: ServiceDefinition | None = None
    """Creates the service if it does not exist; without a definition, the service must exist."""
    ttl: float = 15
    """Seconds without a keep-alive after which the instance is removed, 5 to 300."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One address that serves a service, as the registry shows it."""

    service_name: str
    instance_id: str
    host: str
    port: int
    """0 for a Unix socket (`host` is unix:/path)."""
    weight: int = 1
    metadata: Mapping[str, str] = field(default_factory=dict)
    status: ServiceStatus = ServiceStatus.STARTING
    last_check: datetime | None = None
    """End of the last probe by any data plane (UTC); None before the first."""


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """Whether the source in which instances of a service are discovered answers."""

    source: str
    """In words."""
    instances: int
    """Known instances; they stay while the source does not answer."""
    problem: str = ""
    """Empty: none."""
    since: datetime | None = None
    """Since when there is a problem (UTC); None: there is none, or the source has not answered yet."""


@dataclass(frozen=True, slots=True)
class Service:
    """A group of interchangeable instances, as the registry shows it."""

    service_name: str
    instances: Mapping[str, Instance]
    """By instance id."""
    definition: ServiceDefinition
    discovery: DiscoveryState | None = None
    """None: the instances are not discovered."""

    @property
    def healthy(self) -> int:
        """How many instances take traffic."""
        return sum(instance.status is ServiceStatus.HEALTHY for instance in self.instances.values())

    @property
    def total(self) -> int:
        """How many instances are registered."""
        return len(self.instances)


@dataclass(frozen=True, slots=True)
class Route:
    """A match for requests, and their target service. Exactly one of `prefix`, `path` and `path_regex` is set."""

    name: str
    service_name: str
    """Empty where `services` has it, or the route answers by itself."""
    prefix: str | None = None
    path: str | None = None
    hosts: tuple[str, ...] = ()
    """Empty: every host."""
    methods: tuple[str, ...] = ()
    """Upper case; empty: every method."""
    scopes: tuple[str, ...] = ()
    """Scopes that the caller must hold, all of them."""
    public: bool = False
    strip_prefix: bool = False
    rewrite: str | None = None
    rate_limits: tuple[str, ...] = ()
    timeout: float | None = None
    """Seconds; None: the service's."""
    max_body_bytes: int | None = None
    """None: no bound."""
    path_regex: str | None = None
    services: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Weights of several services, instead of `service_name`; the share "" has none."""


@dataclass(frozen=True, slots=True)
class CircuitStats:
    """Requests that passed a breaker since its data plane started."""

    total_requests: int = 0
    failed_requests: int = 0
    rejected_requests: int = 0
    """Requests that the open circuit refused."""


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """A breaker's state, at one data plane or summed over the fleet."""

    state: CircuitState = CircuitState.CLOSED
    last_state_change: datetime | None = None
    """UTC; None if there was none."""
    stats: CircuitStats = CircuitStats()
    recent_failures: int = 0
    """Failures within the current window."""
    reason: str = ""
    """The last transition in words, for instance "Circuit opened after 5 failures"."""


@dataclass(frozen=True, slots=True)
class CircuitView:
    """One service's breaker over the whole fleet: worst state, summed counters."""

    service_name: str
    fleet: CircuitReport
    config: CircuitConfig
    dataplanes: Mapping[str, CircuitReport]
    """The same per data plane, by node name."""


class LimitPlace(StrEnum):
    """The place that counts the requests of a limit."""

    UNKNOWN = "unknown"
    """The data plane is of an older version."""
    WORKER = "worker"
    NODE = "node"
    """In the data plane, for all its workers."""
    FLEET = "fleet"
    """At the control plane that owns the limit."""
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class LimitBound:
    """The requests that a limit admits for each key in any time: `burst`, and `per_second` times its seconds."""

    burst: int | None
    """None for a limit without a rate."""
    per_second: float | None
    under_way: int | None
    """Requests at the same time, in each data plane."""
    whole_fleet: bool
    """Whether it applies to all data planes together, or to each."""
    holds: bool
    """Whether it is in force now, everywhere."""
    reason: str
    """The reason, or the rule that applies instead."""


@dataclass(frozen=True, slots=True)
class BucketReport:
    """A bucket as one data plane knows it."""

    remaining: float
    """Tokens left."""
    refused: int
    counted: LimitPlace
    away: bool
    """The limit's owner, or Redis, does not answer: the limit's policy for this case applies."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket of one key over the fleet."""

    key: str
    """For instance "subject:testuser"; a keyed hash (#…) replaces a value that may be secret."""
    remaining: float
    """Tokens left: in the bucket of the fleet, or in that of the data plane with fewest."""
    refused: int
    dataplanes: Mapping[str, BucketReport]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The current state of a limit."""

    name: str
    mode: str
    """local, fleet or redis."""
    key: str | None
    """The identity of the limit's buckets; None for a limit of a data plane's own settings."""
    owner: str | None
    """The control plane that owns a limit of the fleet; None while there is none."""
    bound: LimitBound | None
    """None for a limit of a data plane's own settings."""
    refused: int
    """Requests refused by all buckets that data planes reported."""
    more: int
    """The number of reported buckets that are not listed."""
    buckets: tuple[Bucket, ...]
    """Sorted by refused requests, then by fewest remaining tokens."""


@dataclass(frozen=True, slots=True)
class LimitReset:
    """The buckets that were refilled, as far as data planes have answered."""

    revision: int
    limits: Mapping[str, int]
    """Buckets by limit: one for each data plane, or one if all share it."""
    dataplanes: Mapping[str, int]
    """The number of each data plane's own buckets."""
    unreached: tuple[str, ...]
    """Limits in Redis that no data plane could reach."""
    waiting: tuple[str, ...]
    """Connected data planes that have not answered yet. They carry out the order when they can."""
    unreported: tuple[str, ...]
    """Connected data planes of older versions, which carried out the order but do not report the number of buckets."""

    @property
    def buckets(self) -> int:
        """The number of refilled buckets."""
        return sum(self.limits.values())
