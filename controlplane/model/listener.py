"""Listeners: ports of the data planes, and the hosts that they serve there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from controlplane.model.base import Added, Narrows, Resource
from controlplane.model.fields import AsList, Certificates, Host, Name, Network, Unique
from controlplane.model.pool import in_common
from controlplane.model.problems import Problem, join

DEFAULT: Final = "default"
"""The listener of the data planes' settings, LISTEN and TLS_LISTEN. It is not a resource."""
LISTENERS: Final = "listeners"
"""Capability of data planes that open the ports of listeners, and keep the routes of each apart."""


HTTPS: Final = "listeners.https"
"""Capability of data planes that use the certificates and TLS settings of listeners."""
OF_PORT: Final = ("protocol", "tls_min", "tls_max", "client_certificate", "client_ca", "proxy_protocol_from")
"""Fields that listeners of one port have in common: they matter before the host is known. (The Gateway API has the
validation of clients per port, too: GatewaySpec.tls.frontend.)"""


class Listener(Resource):
    """A port that data planes open, for some hosts or for all. Routes attach to it by name."""

    KIND: ClassVar[str] = "listener"
    PLURAL: ClassVar[str] = "listeners"
    GIVEN: ClassVar[frozenset[str]] = frozenset({DEFAULT})
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "name": "shop",
        "port": 8080,
        "hostnames": ["shop.example.org"],
    }
    # A data plane that ignores a listener would serve its routes on the wrong port.
    ADDED: ClassVar[Mapping[str, Added]] = {
        "port": Narrows(LISTENERS),
        "protocol": Narrows(HTTPS, when=lambda protocol: protocol == "https"),
    }
    REFERENCES: ClassVar[Mapping[str, str]] = {"certificates[]": "certificate", "pools[]": "pool"}
    SPARSE: ClassVar[tuple[str, ...]] = ("pools",)

    name: Name
    port: Annotated[
        int, Field(ge=1, le=65_535, description="TCP port on the host of the data planes' setting LISTEN.")
    ]
    protocol: Annotated[Literal["http", "https"], Field(description="Protocol that clients speak there.")] = (
        "http"
    )
    hostnames: Annotated[
        tuple[Host, ...],
        AsList,
        Field(
            max_length=64,
            description="Hosts that it serves; '*.example.org' is all names below it; empty: every host. Of several "
            "listeners on a port, the one with the most specific hostname gets a request.",
        ),
        Unique,
    ] = ()
    certificates: Annotated[
        tuple[Name, ...],
        AsList,
        Field(
            max_length=10_000,
            description="Certificates for https. The client's server name (SNI) selects one: by exact name, by "
            "wildcard, else the first. Several of one name may have keys of different types (RSA and EC).",
        ),
        Unique,
    ] = ()
    tls_min: Annotated[Literal["1.2", "1.3"], Field(description="Oldest version of TLS that is spoken.")] = (
        "1.2"
    )
    tls_max: Annotated[Literal["1.2", "1.3"], Field(description="Newest version of TLS that is spoken.")] = (
        "1.3"
    )
    client_certificate: Annotated[
        Literal["required", "optional"] | None,
        Field(
            description="Whether clients must show a certificate of `client_ca`, or may. One that is shown must be "
            "valid."
        ),
    ] = None
    client_ca: Annotated[
        Certificates | None, Field(description="Authorities of clients' certificates, PEM.")
    ] = None
    proxy_protocol_from: Annotated[
        tuple[Network, ...],
        AsList,
        Field(
            max_length=64,
            description="Networks whose connections begin with a PROXY header, like 10.0.0.0/8 (load balancers).",
        ),
        Unique,
    ] = ()
    pools: Annotated[
        tuple[Name, ...],
        AsList,
        Field(
            max_length=64,
            description="Pools whose data planes open it; 'default' is that of the data planes whose credential names "
            "none; empty: all data planes.",
        ),
        Unique,
    ] = ()

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """The name of the settings' listener is taken; fields of TLS belong together."""
        secure = fields.get("protocol") == "https"
        if secure and fields.get("certificates") in (None, [], ()):
            yield Problem("certificates", "must name at least one with protocol https")
        for name in ("certificates", "tls_min", "tls_max", "client_certificate", "client_ca"):
            if not secure and fields.get(name) not in (None, [], (), cls.model_fields[name].default):
                yield Problem(name, "needs protocol https")
        if secure and (fields.get("client_ca") is None) != (fields.get("client_certificate") is None):
            yield Problem("client_ca", "must be given together with client_certificate")
        if (fields.get("tls_min"), fields.get("tls_max")) == ("1.3", "1.2"):
            yield Problem("tls_max", "must not be older than tls_min")
        if fields.get("name") == DEFAULT:
            yield Problem("name", "'default' is the listener of the data planes' settings (LISTEN)")


def clashing(where: str, listener: Listener, others: Iterable[Listener]) -> Iterator[Problem]:
    """Listeners on the same port, of data planes of one pool, that this one cannot share it with."""
    for other in sorted(others, key=lambda one: one.name):
        if other.name == listener.name or other.port != listener.port:
            continue
        if not in_common(listener.pools, other.pools):
            continue
        for field in OF_PORT:
            if getattr(other, field) != getattr(listener, field):
                detail = f"must be that of listener {other.name!r}, which has the same port {other.port}"
                yield Problem(join(where, field), detail)
        for host in _shared(listener, other):
            detail = f"listener {other.name!r} serves {host or 'every host'} on port {other.port}"
            yield Problem(join(where, "hostnames"), detail)


def _shared(one: Listener, other: Listener) -> Iterator[str]:
    """Hostnames of both; empty for every host."""
    theirs = set(other.hostnames or ("",))
    return (host for host in one.hostnames or ("",) if host in theirs)
