"""Discovery: the part of a service that says where its instances are found, if not registered or listed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from controlplane.model.base import Part
from controlplane.model.fields import DNS_NAME, OBJECT, AsList
from controlplane.model.problems import Problem
from controlplane.model.words import PATTERNS

ObjectName = Annotated[str, Field(pattern=OBJECT)]
"""A name that Kubernetes accepts for namespaces, Services and ports."""
DnsName = Annotated[str, Field(pattern=DNS_NAME, max_length=253)]
PortNumber = Annotated[int, Field(ge=1, le=65_535)]


def _port(value: object) -> object:
    """One problem, where a union of types would have one for each."""
    named = isinstance(value, str) and re.fullmatch(OBJECT, value)
    numbered = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65_536
    if value is None or named or numbered:
        return value
    raise PydanticCustomError("text", "{detail}", {"detail": f"must be a port number, or {PATTERNS[OBJECT]}"})


PortOfService = Annotated[int | str | None, BeforeValidator(_port)]


class KubernetesSource(Part):
    """A Service of Kubernetes, whose EndpointSlices name the instances."""

    namespace: Annotated[ObjectName, Field(description="Namespace of the Service.")]
    service: Annotated[ObjectName, Field(description="Name of the Service.")]
    port: Annotated[
        PortOfService,
        Field(
            description="Name of the port in the Service, or the number that the pods listen on (targetPort). May be "
            "left out if the Service has only one."
        ),
    ] = None
    zones: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...],
        AsList,
        Field(
            max_length=32,
            description="Only endpoints in these zones; empty: all. The zone of each instance is in its metadata.",
        ),
    ] = ()

    def __str__(self) -> str:
        return f"Kubernetes Service {self.namespace}/{self.service}"


class DnsSource(Part):
    """A DNS name, whose records name the instances. It is looked up again when its TTL ends."""

    name: Annotated[DnsName, Field(description="Name to look up, absolute: no search domain is added.")]
    type: Annotated[
        Literal["A", "AAAA", "SRV"],
        Field(description="Type of the records. SRV names hosts, ports, weights and priorities."),
    ] = "A"
    port: Annotated[
        PortNumber | None, Field(description="TCP port of the instances; left out for SRV, which has them.")
    ] = None

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """A port exactly where the records have none."""
        if fields.get("type", "A") == "SRV":
            if fields.get("port") is not None:
                yield Problem("port", "must be left out: SRV records have ports")
        elif fields.get("port") is None:
            yield Problem("port", "is required")

    def __str__(self) -> str:
        return f"DNS name {self.name} ({self.type})"


class Discovery(Part):
    """Where instances are found. Exactly one of the fields is set."""

    ONE_OF: ClassVar[str] = "must have exactly one of kubernetes and dns"

    kubernetes: Annotated[
        KubernetesSource | None, Field(description="EndpointSlices of a Service of Kubernetes.")
    ] = None
    dns: Annotated[DnsSource | None, Field(description="Records of a DNS name.")] = None

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """One source."""
        if (fields.get("kubernetes") is None) == (fields.get("dns") is None):
            yield Problem("", cls.ONE_OF)

    @property
    def source(self) -> str:
        """The source in words."""
        return str(self.kubernetes or self.dns)
