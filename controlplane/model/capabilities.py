"""The capabilities that a configuration needs of the data planes that serve it.

A field that a data plane does not know is ignored by it. If that would admit more than the operator wrote, the field
is declared so (`Part.ADDED`), and the configuration is withheld from data planes that do not name its capability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import get_args

from controlplane.model.base import Part, Resource, narrowings
from controlplane.model.resources import ResourceId

REPORTS_RESETS = "reports.resets"
"""A data plane with this capability reports how it obeyed an order to refill buckets."""
REDIS_CONFIGURED = "redis.configured"
"""A data plane that can count limits in a Redis names this if its settings name one."""
MOST_NAMED = 10
"""Number of resources that are named among those that need a missing capability; the others are counted."""


@dataclass(frozen=True, slots=True)
class Need:
    """A field whose value a data plane may not ignore."""

    field: str
    """Path within the resource."""
    capability: str


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field of a resource that a data plane does not know, and may not ignore."""

    resource: ResourceId
    field: str
    capability: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """The reason a configuration is withheld from a data plane."""

    capabilities: frozenset[str]
    """The capabilities that it lacks."""
    resources: int
    """How many resources need one of them."""
    named: tuple[UnknownField, ...]
    """The first of these, at most MOST_NAMED."""


Needs = Mapping[str, Mapping[ResourceId, str]]
"""By capability: the resources that need it, each with the path of the first field that does."""


def needs(resource: Resource) -> tuple[Need, ...]:
    """The fields of a resource that a data plane must know."""
    return tuple(_needs(resource, "")) if narrows(type(resource)) else ()


def updated(needed: Needs, changes: Mapping[ResourceId, tuple[Need, ...]]) -> Needs:
    """The needed capabilities after a change; `changed` has the present needs of each resource, empty if it is
    deleted."""
    after = dict(needed)
    own: dict[str, dict[ResourceId, str]] = {}
    for identity, now in changes.items():
        # Of several fields with one capability the first is named.
        fields = {need.capability: need.field for need in reversed(now)}
        before = {capability for capability, where in after.items() if identity in where}
        for capability in before | fields.keys():
            if capability not in own:
                after[capability] = own[capability] = dict(after.get(capability, {}))
            if capability in fields:
                own[capability][identity] = fields[capability]
            else:
                del own[capability][identity]
    return {capability: where for capability, where in after.items() if where}


def lacking(needed: Needs, capabilities: Set[str]) -> Lacking | None:
    """The capabilities that a data plane lacks for a configuration; None when nothing does."""
    missing = needed.keys() - capabilities
    if not missing:
        return None
    unknown = (
        UnknownField(resource, field, capability)
        for capability in sorted(missing)
        for resource, field in needed[capability].items()
    )
    count = sum(len(needed[capability]) for capability in missing)
    return Lacking(frozenset(missing), count, tuple(islice(unknown, MOST_NAMED)))


def _needs(part: Part, within: str) -> Iterator[Need]:
    for name, added in type(part).ADDED.items():
        for one in narrowings(added):
            if one.when(getattr(part, name)):
                yield Need(within + name, one.capability)
    for name in _inner(type(part)):
        value = getattr(part, name)
        if isinstance(value, Part):
            yield from _needs(value, f"{within}{name}.")
        elif isinstance(value, tuple):
            for position, one in enumerate(value):
                if isinstance(one, Part):
                    yield from _needs(one, f"{within}{name}[{position}].")


@cache
def narrows(model: type[Part]) -> bool:
    """Whether a value of this class may need a capability at all."""
    return any(narrowings(added) for added in model.ADDED.values()) or bool(_inner(model))


@cache
def _inner(model: type[Part]) -> tuple[str, ...]:
    """The fields of a class that hold parts which may need a capability."""
    return tuple(
        name
        for name, field in model.model_fields.items()
        if any(narrows(inner) for inner in parts_in(field.annotation))
    )


def parts_in(annotation: object) -> Iterator[type[Part]]:
    """The classes of parts that a field with this annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for argument in get_args(annotation):
        yield from parts_in(argument)
