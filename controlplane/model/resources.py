"""The vocabulary: every kind of resource, by the names that the store, documents and the admin API use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from controlplane.model.access import Issuer, RateLimit, Scope, User
from controlplane.model.base import Resource, parse_as
from controlplane.model.internal import Reset, VerificationKey
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.route import Route
from controlplane.model.service import Circuit, Instance, Retries, Service, StaticInstance, Timeouts, Tls

ResourceId = tuple[str, str]
"""Kind and name."""

KINDS: Mapping[str, type[Resource]] = MappingProxyType(
    {model.KIND: model for model in (Service, Instance, Route, Scope, User, RateLimit, Issuer)}
)
"""Every kind that people know, as in the store's keys."""

PLURALS: Mapping[str, type[Resource]] = MappingProxyType(
    {model.PLURAL: model for kind, model in KINDS.items() if kind != "instance"}
)
"""Every kind that people write, by its name in documents, in the order in which documents list them.
Instances register themselves, or are listed in their service."""


def parse(kind: str, raw: object, field: str = "") -> Resource:
    """Make a resource of what somebody wrote; InvalidConfig has every problem, with paths below `field`.

    KeyError when there is no such kind.
    """
    if kind == "issuer":
        # Its fields are not settled, so that complaints about them would mislead.
        raise InvalidConfig([Problem(field, "trusting outside issuers is not built yet")])
    return parse_as(KINDS[kind], raw, field)


_REFERENCES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "instance": (("service_name", "service"),),
        "route": (("service_name", "service"), ("scopes", "scope"), ("rate_limits", "rate_limit")),
        "user": (("scopes", "scope"),),
    }
)


def references(kind: str, fields: Mapping[str, object]) -> Iterator[tuple[str, ResourceId]]:
    """What a resource with these fields cannot do without: field path and target.

    The fields may be raw, so that what is dangling is told together with what is malformed.
    """
    for field, target in _REFERENCES.get(kind, ()):
        value = fields.get(field)
        if isinstance(value, str) and field == "service_name":
            yield field, (target, value)
        elif isinstance(value, list | tuple) and field != "service_name":
            for position, name in enumerate(value):
                if isinstance(name, str):
                    yield f"{field}[{position}]", (target, name)


__all__ = [
    "KINDS",
    "PLURALS",
    "Circuit",
    "Instance",
    "Issuer",
    "RateLimit",
    "Reset",
    "Resource",
    "ResourceId",
    "Retries",
    "Route",
    "Scope",
    "Service",
    "StaticInstance",
    "Timeouts",
    "Tls",
    "User",
    "VerificationKey",
    "parse",
    "references",
]
