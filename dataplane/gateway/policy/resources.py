"""The data plane's configuration: frozen values, ready to be used on the request path.

`config.decode` makes them from the wire; nothing else does. Durations are seconds; times are monotonic unless
said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from dataplane.gateway.policy.conditions import Conditions
from dataplane.gateway.policy.forwarding import Forwarding

BUILTIN = "headgate:"
"""Prefix of the names of built-in resources. Resources of the configuration cannot have such a name: the control plane
allows no colon in names, and `config.decode` refuses the prefix."""


DEFAULT_LISTENER: Final = "default"
"""The listener of the settings, LISTEN and TLS_LISTEN."""


class LoadBalancer(Enum):
    """The algorithm that picks one of the healthy instances."""

    ROUND_ROBIN = "round_robin"
    LEAST_REQUEST = "least_request"
    IP_HASH = "ip_hash"


class LimitMode(Enum):
    """The place that counts a limit."""

    LOCAL = "local"
    """In each data plane, for itself."""
    FLEET = "fleet"
    """Once for all data planes, which lease tokens from control planes."""
    REDIS = "redis"
    """Once for all data planes, in a Redis."""


class StoreFailure(Enum):
    """The handling of requests while the shared store of a limit does not answer."""

    OPEN = "open"
    """They are admitted, uncounted."""
    CLOSED = "closed"
    """They are refused."""
    LOCAL = "local"
    """Each worker counts its share for itself."""


class LimitKey:
    """Keys of limits that have one part, and the prefixes of parts with a name."""

    ADDRESS: Final = ("address",)
    SUBJECT: Final = ("subject",)
    API_KEY: Final = ("api_key",)
    ROUTE: Final = ("route",)
    HEADER: Final = ("header",)
    """The field that the limit names in `Limit.header`."""
    OF_HEADER: Final = "header:"
    OF_CLAIM: Final = "claim:"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit's settings: a token bucket, a bound of the requests under way, or both, for each key."""

    name: str
    per_second: float
    """Tokens that flow back; 0: there is no bucket, only `max_concurrent`."""
    burst: int
    key: tuple[str, ...]
    """The parts that identify a bucket; several parts make one bucket for each combination: "address", "subject",
    "api_key", "route", "header", "header:<field name>", "claim:<name>"."""
    header: str = ""
    """Lower-case field name of the part "header"."""
    address_prefix: int = 64
    """Leading bits by which an IPv6 address counts."""
    cost: int = 1
    """Tokens that a request takes when it is admitted, at most `burst`."""
    cost_header: str = ""
    """Lower-case name of the response field with the final cost of the request; empty: it costs `cost`."""
    max_concurrent: int = 0
    """Requests of one key under way; 0: any number."""
    enforced: int = 100
    """Per cent of the keys for which the limit is enforced; for the others it only counts and marks (shadow)."""
    advertise: bool = False
    """Whether responses to admitted requests state the remaining quota."""
    mode: LimitMode = LimitMode.LOCAL
    """The place that counts its tokens; every worker counts its own requests under way in every mode."""
    without_owner: str = "share"
    """In the mode FLEET, the policy while no control plane answers: "strict", "share", "open"."""
    on_store_failure: StoreFailure = StoreFailure.OPEN
    """In the mode REDIS."""


def coarse_limit(
    per_second: float, burst: int, mode: str = "local", on_store_failure: str = "open"
) -> Limit | None:
    """The limit of the settings, by client address; None if there is none."""
    if not per_second:
        return None
    return Limit(
        f"{BUILTIN}address",
        per_second,
        burst,
        LimitKey.ADDRESS,
        mode=LimitMode(mode),
        on_store_failure=StoreFailure(on_store_failure),
    )


@dataclass(frozen=True, slots=True)
class Circuit:
    """Settings of a service's breaker: when it opens, and how it closes again."""

    failure_threshold: int = 5
    failure_ratio: float = 0.5
    failure_window: float = 60.0
    min_throughput: int = 2
    recovery_timeout: float = 30.0
    half_open_timeout: float = 10.0
    half_open_requests: int = 1


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time-outs of each step of an upstream exchange."""

    connect: float = 5.0
    response: float = 15.0
    idle: float = 300.0
    total: float = 0.0
    """For the whole exchange, retries included; 0 for no limit."""


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS settings for the instances of a service: verified, always."""

    server_name: str = ""
    """The name that the certificate must have; empty: the instance's host."""
    ca: str = ""
    """Trusted authorities, PEM; empty: the system's."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The active probe of a service's instances."""

    path: str = "/health"
    interval: float = 30.0
    timeout: float = 5.0
    healthy_threshold: int = 2
    unhealthy_threshold: int = 3
    tls: UpstreamTls | None = None
    """As for the service's traffic."""


@dataclass(frozen=True, slots=True)
class Retries:
    """Conditions for sending a request to another instance."""

    attempts: int = 1
    """Attempts after the first one; 0 switches retries off."""
    on: frozenset[str] = frozenset({"connect"})
    """"connect", "reset", "timeout", or a status."""
    budget: float = 0.2
    """Retries per request, on average; of a route, that of its service applies."""
    backoff: float = 0.0
    """Seconds before the first one, at least; 0: as `policy.retry` says."""
    methods: frozenset[str] = frozenset()
    """Methods of requests that may be sent twice; empty: the idempotent ones."""


@dataclass(frozen=True, slots=True)
class Service:
    """A group of interchangeable instances."""

    name: str
    load_balancer: LoadBalancer = LoadBalancer.ROUND_ROBIN
    circuit: Circuit = Circuit()
    timeouts: Timeouts = Timeouts()
    health_check: HealthCheck = HealthCheck()
    retries: Retries = Retries()
    tls: UpstreamTls | None = None
    """None: without TLS."""
    max_in_flight: int = 0
    """Requests under way at all its instances; 0: any number."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One address that serves a service."""

    service: str
    id: str
    host: str
    """An IP address, a name, or `unix:` and the path of a Unix socket."""
    port: int
    """0 for a Unix socket."""
    weight: int = 1
    draining: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A match for requests, the service that they go to, and the requirements for access.

    Exactly one of prefix, path and pattern is set.
    """

    name: str
    service: str
    """Empty where `forwarding` says where requests go."""
    prefix: str | None = None
    path: str | None = None
    pattern: str | None = None
    """A regular expression (RE2) that matches whole paths."""
    expression: Any = field(default=None, compare=False, repr=False)
    """`pattern`, compiled."""
    hosts: tuple[str, ...] = ()
    """Lower case, without port; empty matches every host; "*.example.org" one or more leading labels."""
    methods: frozenset[str] = frozenset()
    """Upper case; empty matches every method."""
    head_follows: bool = False
    """HEAD is in `methods` because GET is: a route that names HEAD itself has precedence for it."""
    conditions: Conditions | None = None
    """On header fields and query parameters; None: there are none."""
    miss_hidden: bool = False
    """Requests with another method are answered as if there were no route: 404 instead of 405."""
    created: int = 0
    """Revision at which it was created; of two routes with the same match the older one answers."""
    scopes: frozenset[str] = frozenset()
    public: bool = False
    strip_prefix: bool = False
    rewrite: str = ""
    limits: tuple[Limit, ...] = ()
    timeout: float | None = None
    """Until the response's head; None: as the whole try, the whole request, or the service."""
    request_timeout: float | None = None
    """For the whole exchange, retries included; 0: no limit; None: that of the service."""
    try_timeout: float = 0.0
    """For each try, from its first byte to the end of the response; 0: no limit."""
    retries: Retries | None = None
    """None: those of the service."""
    max_body_bytes: int | None = None
    forwarding: Forwarding | None = None
    """Shares, own answers and rewrites; None: requests go to `service`."""
    upgrades: tuple[str, ...] = ()
    """Protocols a connection may change to, lower case; any other wish is ignored (RFC 9110 section 7.8)."""
    listeners: tuple[str, ...] = ()
    """The listeners that serve it; empty: all of them."""
    trace_sampling: float | None = None
    """Share of the traces begun by its requests that are recorded; None: that of the data plane."""

    @property
    def services(self) -> tuple[str, ...]:
        """The services that its requests may go to."""
        if self.forwarding is not None and self.forwarding.shares:
            return tuple(share.service for share in self.forwarding.shares if share.service)
        return (self.service,) if self.service else ()

    @property
    def mirrored_to(self) -> tuple[str, ...]:
        """The services that get copies of its requests."""
        return tuple(mirror.service for mirror in self.forwarding.mirrors) if self.forwarding else ()

    @property
    def asked(self) -> str:
        """The service that is asked about its requests; empty for none."""
        forwarding = self.forwarding
        return forwarding.authorization.service if forwarding is not None and forwarding.authorization else ""


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that clients connect to, and the hosts that are served there."""

    name: str
    port: int
    hostnames: tuple[str, ...] = ()
    """Lower case, without port; empty: every host; "*.example.org" one or more leading labels."""
    protocol: str = "http"
    """"http" or "https"."""
    certificates: tuple[str, ...] = ()
    tls_min: str = "1.2"
    tls_max: str = "1.3"
    client_certificate: str = ""
    """"required", "optional" or empty."""
    client_ca: str = field(default="", repr=False)
    """PEM."""
    proxies: tuple[str, ...] = ()
    """Networks whose connections begin with a PROXY header."""


@dataclass(frozen=True, slots=True)
class User:
    """A user or client that tokens are issued to."""

    name: str
    scopes: frozenset[str]
    disabled: bool = False
    credentials: str = ""
    """Tokens with other credentials have ended: the password was changed, or the user disabled."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key (JWK, RFC 7517, as JSON) that vouches for tokens of this issuer and audience."""

    id: str
    jwk: str
    issuer: str
    audience: str


@dataclass(frozen=True, slots=True)
class Reset:
    """An operator's order to reset a breaker or the buckets of a key, executed once per revision.

    Exactly one of circuit and rate_limit is set.
    """

    revision: int
    circuit: str = ""
    rate_limit: str = ""
