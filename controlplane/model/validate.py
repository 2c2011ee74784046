"""Checks that need more than one resource: references that lead somewhere, and routes that do not collide."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.model.problems import Problem, join
from controlplane.model.resource_index import ResourceIndex, methods_overlap
from controlplane.model.resources import Resource, ResourceId, Route, references

_WORDS = {"rate_limit": "rate limit"}


def word(kind: str) -> str:
    """The kind as it is written in a sentence."""
    return _WORDS.get(kind, kind)


@dataclass(frozen=True, slots=True)
class Declared:
    """One resource of a document."""

    kind: str
    name: str
    """Empty when it cannot be told."""
    where: str
    """Field path of the resource in the document."""
    fields: Mapping[str, object]
    """As they were written."""
    resource: Resource | None
    """None when the fields are wrong."""


def check_references(
    existing: Mapping[ResourceId, object],
    index: ResourceIndex,
    declared: Sequence[Declared],
    also: Collection[ResourceId] = (),
) -> list[Problem]:
    """Problems of the configuration that results when the declared resources are added to the existing ones or replace
    them.

    `index` is over the existing ones; the cost grows with the number of declared resources. `also` are resources that
    exist without being readable. Declared but invalid resources count as existing: their problems have been reported.
    """
    here = {(item.kind, item.name) for item in declared}

    def exists(target: ResourceId) -> bool:
        return target in existing or target in here or target in also

    found = [problem for item in declared for problem in dangling(item.where, item.kind, item.fields, exists)]
    return found + list(_collisions(index, declared))


def dangling(
    where: str, kind: str, fields: Mapping[str, object], exists: Callable[[ResourceId], bool]
) -> Iterator[Problem]:
    """The references of one resource that lead nowhere."""
    for field, target in references(kind, fields):
        if not exists(target):
            detail = f"{word(target[0])} {target[1]!r} does not exist"
            yield Problem(join(where, field), detail)


def colliding(where: str, route: Route, rivals: Iterable[Route]) -> Iterator[Problem]:
    """Other routes that match the same requests: which of them answers would be undefined."""
    for other in sorted(rivals, key=lambda rival: rival.name):
        if other.name != route.name and methods_overlap(route, other):
            field = "prefix" if route.path is None else "path"
            yield Problem(join(where, field), f"matches the same requests as route {other.name!r}")


def _collisions(index: ResourceIndex, declared: Sequence[Declared]) -> Iterator[Problem]:
    """Each declared route against those that exist and are not replaced, and against those declared before it."""
    new = [(item.where, item.resource) for item in declared if isinstance(item.resource, Route)]
    replaced = {route.name for _, route in new}
    before = ResourceIndex()
    for where, route in new:
        there = {name: other for name, other in index.rivals(route).items() if name not in replaced}
        yield from colliding(where, route, (there | before.rivals(route)).values())
        before.add((route.KIND, route.name), route)
