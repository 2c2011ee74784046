"""Services, how they are checked and guarded, and their instances."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from controlplane.model.base import IGNORABLE, Added, Narrows, Part, Resource
from controlplane.model.discovery import Discovery
from controlplane.model.fields import (
    UNIX,
    Address,
    AsList,
    Certificates,
    HostName,
    Label,
    Name,
    PathText,
    Unique,
)
from controlplane.model.problems import Problem
from controlplane.model.registration import Registration

Weight = Annotated[int, Field(ge=1, le=1000, description="Relative share of the traffic.")]
Place = Annotated[
    Address,
    Field(
        description="IP address or host name; or a Unix socket of the data plane's node, as unix:/path "
        "(UNIX_SOCKETS of the data planes says in which folders)."
    ),
]
Port = Annotated[
    int | None, Field(ge=1, le=65_535, description="TCP port; left out for a Unix socket, which has none.")
]
Metadata = Annotated[
    dict[Label, Annotated[str, Field(max_length=256)]],
    Field(max_length=32, description="Labels for people and tools; the gateway does not read them."),
]


class Circuit(Part):
    """Settings of a service's circuit breaker: when it opens, and how it closes again."""

    failure_threshold: Annotated[
        int, Field(ge=1, le=1_000_000, description="Failures within the window that open the circuit.")
    ] = 5
    failure_ratio: Annotated[
        float,
        Field(ge=0, le=1, description="Share of failed requests in the window that must also be reached."),
    ] = 0.5
    failure_window: Annotated[
        float, Field(ge=1, le=3600, description="Seconds over which requests are counted.")
    ] = 60.0
    min_throughput: Annotated[
        int, Field(ge=1, le=1_000_000, description="Fewest requests in the window for the circuit to open.")
    ] = 2
    recovery_timeout: Annotated[
        float,
        Field(ge=0.1, le=3600, description="Seconds an open circuit waits before it lets a trial through."),
    ] = 30.0
    half_open_timeout: Annotated[
        float, Field(ge=0.1, le=3600, description="Seconds after which an unsettled trial counts as failed.")
    ] = 10.0
    half_open_requests: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Trials that must succeed to close the circuit; also the most trials at once.",
        ),
    ] = 1


class Timeouts(Part):
    """Time-outs of an instance for each step."""

    ADDED: ClassVar[Mapping[str, Added]] = {"total": IGNORABLE}

    connect: Annotated[float, Field(ge=0.01, le=300, description="Seconds to establish a connection.")] = 5.0
    response: Annotated[
        float, Field(ge=0.01, le=86_400, description="Seconds from the request's end to the response's head.")
    ] = 15.0
    idle: Annotated[
        float,
        Field(
            ge=1,
            le=86_400,
            description="Seconds without a byte of a response, or of an upgraded connection, until it is cut off.",
        ),
    ] = 300.0
    total: Annotated[
        float,
        Field(ge=0, le=86_400, description="Seconds for the whole exchange, retries included; 0: no limit."),
    ] = 0.0


_STATUS = re.compile(r"[45][0-9]{2}")


class Retries(Part):
    """Retries at other instances when one fails, if that is safe.

    Unless connecting failed, a request is sent again only if its method is idempotent and its body still at hand.
    """

    ADDED: ClassVar[Mapping[str, Added]] = {"budget": IGNORABLE}

    attempts: Annotated[
        int, Field(ge=0, le=3, description="Attempts after the first; 0 switches retries off.")
    ] = 1
    on: Annotated[
        tuple[Literal["connect", "reset", "timeout", 500, 502, 503, 504], ...],
        AsList,
        Field(
            max_length=8,
            description="Conditions for a retry: no connection, the connection lost before the response, no response "
            "in time, or a status.",
        ),
        Unique,
    ] = ("connect",)
    budget: Annotated[
        float,
        Field(ge=0, le=1, description="Retries per request on average; failures to connect do not count."),
    ] = 0.2

    @classmethod
    def prepare(cls, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Conditions in any spelling."""
        return spelled_conditions(fields)


def spelled_conditions(fields: Mapping[str, object]) -> Mapping[str, object]:
    """YAML 1.1 reads the bare word `on` as true, also where it names a field. A status may be quoted."""
    names: Iterable[object] = fields
    made = {str("on" if name is True else name): fields[cast(str, name)] for name in names}
    if isinstance(on := made.get("on"), list | tuple):
        made["on"] = [int(item) if isinstance(item, str) and _STATUS.fullmatch(item) else item for item in on]
    return made


class Tls(Part):
    """TLS to the instances of a service. Their certificates are always verified."""

    enabled: Annotated[bool, Field(description="false: no TLS, as if `tls` were left out.")] = True
    server_name: Annotated[
        HostName | None,
        Field(description="Name that the certificate must hold; by default the instance's host."),
    ] = None
    ca: Annotated[
        Certificates | None,
        Field(
            description="Trusted certificate authorities in PEM; by default those of the data plane's system."
        ),
    ] = None


def is_socket(host: str) -> bool:
    """Whether a host is a Unix socket."""
    return host.startswith(UNIX)


def _port_problems(fields: Mapping[str, object]) -> Iterable[Problem]:
    host, port = fields.get("host"), fields.get("port")
    if isinstance(host, str) and is_socket(host):
        if port is not None:
            yield Problem("port", "must be left out: a Unix socket has none")
    elif port is None:
        yield Problem("port", "is required")


class StaticInstance(Part):
    """An instance that the operator lists, unlike one that registers itself."""

    instance_id: Annotated[Name, Field(description="Name of the instance, unique within its service.")]
    host: Place
    port: Port = None
    weight: Weight = 1
    metadata: Metadata = Field(default_factory=dict)

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """A port exactly where it is needed."""
        return _port_problems(fields)


class Service(Resource):
    """A group of interchangeable instances."""

    KIND: ClassVar[str] = "service"
    PLURAL: ClassVar[str] = "services"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "service_name": "orders",
        "check_path": "/health",
        "circuit": {"failure_threshold": 5, "recovery_timeout": 30.0},
        "instances": [{"instance_id": "orders-1", "host": "10.0.0.1", "port": 9000}],
        "labels": {"team": "shop"},
    }
    NAMED_BY: ClassVar[str] = "service_name"
    KEYED: ClassVar[Mapping[str, str]] = {"instances": "instance_id"}
    # A data plane that ignores it sends requests, and the credentials in them, in the clear.
    ADDED: ClassVar[Mapping[str, Added]] = {
        "tls": Narrows("services.tls", when=lambda tls: tls is not None and tls.enabled),
        "max_in_flight": Narrows("limits.full"),
    }

    service_name: Name
    check_path: Annotated[PathText, Field(description="Path of the active probe; 2xx means healthy.")] = (
        "/health"
    )
    check_interval: Annotated[
        float, Field(ge=0.1, le=86_400, description="Seconds between two probes of one instance.")
    ] = 30.0
    check_timeout: Annotated[
        float, Field(ge=0.01, le=3600, description="Seconds until a probe counts as failed.")
    ] = 5.0
    healthy_threshold: Annotated[
        int, Field(ge=1, le=100, description="Probes in a row that make an unhealthy instance healthy.")
    ] = 2
    unhealthy_threshold: Annotated[
        int, Field(ge=1, le=100, description="Failed probes in a row that make a healthy instance unhealthy.")
    ] = 3
    load_balancer: Annotated[
        Literal["round_robin", "least_request", "ip_hash"],
        Field(
            description="Which instance takes a request. round_robin: each in turn, by weight; least_request: the less "
            "busy of two, by weight; ip_hash: the same instance for the same client address."
        ),
    ] = "round_robin"
    circuit: Circuit = Circuit()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    max_in_flight: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000_000,
            description="Requests that may be under way at all its instances, per data plane; any more get "
            "503 at once.",
        ),
    ] = None
    tls: Annotated[
        Tls | None, Field(description="TLS to the instances, also for probes; by default none.")
    ] = None
    instances: Annotated[
        tuple[StaticInstance, ...],
        AsList,
        Field(
            max_length=256,
            description="Static instances at fixed addresses, in addition to those that register.",
        ),
    ] = ()
    discovery: Annotated[
        Discovery | None,
        Field(description="A source of further instances: EndpointSlices of Kubernetes, or DNS."),
    ] = None
    registration: Annotated[
        Registration | None,
        Field(
            description="Identities that may register instances, beside holders of the service's own credentials."
        ),
    ] = None

    @property
    def name(self) -> str:
        """The service's own name."""
        return self.service_name

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """No instance_id twice."""
        return repeated(fields.get("instances"))


def repeated(instances: object) -> Iterator[Problem]:
    """Problems of ids that several instances of a list have."""
    seen: set[object] = set()
    for position, instance in enumerate(instances if isinstance(instances, list | tuple) else ()):
        known = instance.get("instance_id") if isinstance(instance, Mapping) else None
        if isinstance(known, str) and known in seen:
            yield Problem(f"instances[{position}].instance_id", f"{known!r} is there twice")
        seen.add(known if isinstance(known, str) else None)


class Instance(Resource):
    """One address that serves a service: registered, under a lease, or named in the service."""

    KIND: ClassVar[str] = "instance"
    PLURAL: ClassVar[str] = "instances"
    REFERENCES: ClassVar[Mapping[str, str]] = {"service_name": "service"}
    DOCUMENTS: ClassVar[bool] = False
    # A data plane that does not know it rejects the whole configuration.
    ADDED: ClassVar[Mapping[str, Added]] = {"host": Narrows("instances.unix", when=is_socket)}

    service_name: Name
    instance_id: Annotated[Name, Field(description="Name of the instance, unique within its service.")]
    host: Place
    port: Port = None
    weight: Weight = 1
    metadata: Metadata = Field(default_factory=dict)
    draining: Annotated[
        bool, Field(description="The instance takes no new requests; requests in flight may finish.")
    ] = False

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """A port exactly where it is needed."""
        return _port_problems(fields)

    @property
    def address(self) -> str:
        """Host and port, or unix:/path."""
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """`service_name/instance_id`."""
        return f"{self.service_name}/{self.instance_id}"
