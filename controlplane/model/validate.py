"""Checks that need more than one resource: references that lead somewhere, and routes that do not collide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.model.problems import Problem, join
from controlplane.model.resources import Resource, ResourceId, Route, references

_WORDS = {"rate_limit": "rate limit"}


@dataclass(frozen=True, slots=True)
class Declared:
    """One resource as somebody wrote it."""

    kind: str
    name: str
    """Empty when it cannot be told."""
    where: str
    """Field path of the resource in what was written."""
    fields: Mapping[str, object]
    """As they were written."""
    resource: Resource | None
    """None when the fields are wrong."""


def check_references(
    existing: Mapping[ResourceId, Resource], declared: Sequence[Declared], also: Collection[ResourceId] = ()
) -> list[Problem]:
    """What would be wrong if the declared resources were added to the existing ones or took their places.

    `also` are resources that exist without being readable. Those that are declared but wrong are taken to exist:
    what is wrong with them has been said.
    """
    known = {*existing, *also, *((item.kind, item.name) for item in declared)}
    dangling = [
        Problem(join(item.where, field), f"{_WORDS.get(target[0], target[0])} {target[1]!r} does not exist")
        for item in declared
        for field, target in references(item.kind, item.fields)
        if target not in known
    ]
    return dangling + list(_collisions(existing, declared))


def referrers(config: Mapping[ResourceId, Resource], target: ResourceId) -> list[ResourceId]:
    """Who could not do without `target`, sorted."""
    return sorted(
        identity
        for identity, resource in config.items()
        if any(goal == target for _, goal in references(identity[0], vars(resource)))
    )


def _collisions(existing: Mapping[ResourceId, Resource], declared: Sequence[Declared]) -> Iterator[Problem]:
    """Routes that match the same requests: which one answers would be a matter of luck."""
    new = [(item.where, item.resource) for item in declared if isinstance(item.resource, Route)]
    replaced = {route.name for _, route in new}
    taken: dict[tuple[str, str | None, str | None], dict[str, Route]] = defaultdict(dict)
    for resource in existing.values() if new else ():
        if isinstance(resource, Route) and resource.name not in replaced:
            _take(taken, resource)
    for where, route in new:
        others = {name: other for match in _matches(route) for name, other in taken[match].items()}
        for name, other in sorted(others.items()):
            if name != route.name and _methods_overlap(route, other):
                field = "prefix" if route.path is None else "path"
                yield Problem(join(where, field), f"matches the same requests as route {name!r}")
        _take(taken, route)


def _take(taken: dict[tuple[str, str | None, str | None], dict[str, Route]], route: Route) -> None:
    for match in _matches(route):
        taken[match][route.name] = route


def _matches(route: Route) -> Iterator[tuple[str, str | None, str | None]]:
    for host in route.hosts or ("",):
        yield host, route.prefix, route.path


def _methods_overlap(one: Route, other: Route) -> bool:
    return not one.methods or not other.methods or bool(set(one.methods) & set(other.methods))
