"""The vocabulary: every kind of resource, by the names that the store, documents and the admin API use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from controlplane.model.access import Issuer, Scope, User
from controlplane.model.base import Resource, parse_as
from controlplane.model.certificate import Certificate
from controlplane.model.discovered import Discovered
from controlplane.model.internal import Reset, VerificationKey
from controlplane.model.listener import Listener
from controlplane.model.pool import Pool
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.rate_limit import RateLimit
from controlplane.model.route import Route
from controlplane.model.service import Circuit, Instance, Retries, Service, StaticInstance, Timeouts, Tls

ResourceId = tuple[str, str]
"""Kind and name."""

_KINDS: dict[str, type[Resource]] = {
    model.KIND: model
    for model in (Service, Instance, Route, Scope, User, RateLimit, Certificate, Listener, Pool, Issuer)
}
_INTERNAL: dict[str, type[Resource]] = {model.KIND: model for model in (VerificationKey, Reset, Discovered)}

KINDS: Mapping[str, type[Resource]] = MappingProxyType(_KINDS)
"""Every kind that users see, as in the store's keys. A kind is declared by its class, and listed here: documents, the
store, the admin API, OpenAPI, the wire and the command line follow from that (CONTRIBUTING.md)."""


def documents() -> dict[str, type[Resource]]:
    """Every kind that people write, by its name in documents, in the order in which documents list them."""
    return {model.PLURAL: model for model in KINDS.values() if model.DOCUMENTS}


def model_of(kind: str) -> type[Resource] | None:
    """The class of a kind, those of the control plane's own included; None for no kind."""
    return _KINDS.get(kind) or _INTERNAL.get(kind)


def parse(kind: str, raw: object, field: str = "") -> Resource:
    """Make a resource from a document; InvalidConfig has every problem, with paths below `field`.

    KeyError when there is no such kind.
    """
    if kind == "issuer":
        # Its fields are not final, so problems about them would be misleading.
        raise InvalidConfig([Problem(field, "trusting outside issuers is not built yet")])
    return parse_as(KINDS[kind], raw, field)


def references(kind: str, fields: Mapping[str, object]) -> Iterator[tuple[str, ResourceId]]:
    """The references of a resource with these fields: field path and target.

    The fields may be raw, so that dangling references are reported together with malformed values.
    """
    model = model_of(kind)
    for reference, target in model.REFERENCES.items() if model else ():
        field, _, inner = reference.partition("[]")
        outer, _, within = field.partition(".")
        value = fields.get(outer)
        if within:
            value = value.get(within) if isinstance(value, Mapping) else getattr(value, within, None)
        given = KINDS[target].GIVEN
        if inner and isinstance(value, list | tuple):
            yield from _inner_references(field, inner.removeprefix("."), value, target)
        elif field == reference:
            if isinstance(value, str) and value not in given:
                yield field, (target, value)
        elif isinstance(value, list | tuple):
            for position, name in enumerate(value):
                if isinstance(name, str) and name not in given:
                    yield f"{field}[{position}]", (target, name)


def _inner_references(
    field: str, inner: str, items: Sequence[object], kind: str
) -> Iterator[tuple[str, ResourceId]]:
    for position, item in enumerate(items):
        name = item.get(inner) if isinstance(item, Mapping) else getattr(item, inner, None)
        if isinstance(name, str):
            yield f"{field}[{position}].{inner}", (kind, name)


__all__ = [
    "KINDS",
    "Certificate",
    "Circuit",
    "Discovered",
    "Instance",
    "Issuer",
    "Listener",
    "Pool",
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
    "documents",
    "model_of",
    "parse",
    "references",
]
