"""Checks that need more than one resource: references that lead somewhere, and routes with the same match."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.model.listener import DEFAULT, clashing
from controlplane.model.pool import in_common
from controlplane.model.problems import Problem, join
from controlplane.model.resource_index import ResourceIndex, listeners_overlap, methods_tie
from controlplane.model.resources import Listener, Resource, ResourceId, Route, references
from controlplane.model.stored import Stamped

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
    declared: Sequence[Declared],
    also: Collection[ResourceId] = (),
) -> list[Problem]:
    """Problems of the configuration that results when the declared resources are added to the existing ones or replace
    them.

    The cost grows with the number of declared resources. `also` are resources that exist without being readable.
    Declared but invalid resources count as existing: their problems have been reported.
    """
    here = {(item.kind, item.name) for item in declared}

    def exists(target: ResourceId) -> bool:
        return target in existing or target in here or target in also

    return [problem for item in declared for problem in dangling(item.where, item.kind, item.fields, exists)]


def dangling(
    where: str, kind: str, fields: Mapping[str, object], exists: Callable[[ResourceId], bool]
) -> Iterator[Problem]:
    """The references of one resource that lead nowhere."""
    for field, target in references(kind, fields):
        if not exists(target):
            detail = f"{word(target[0])} {target[1]!r} does not exist"
            yield Problem(join(where, field), detail)


def overlaps(
    index: ResourceIndex,
    declared: Sequence[Declared],
    created: Callable[[str], int | None],
    gone: Collection[str] = (),
) -> Iterator[Problem]:
    """Declared routes with the match of another route, each pair once: which of them answers.

    `index` is over the existing resources, before the change or after it. `created` is the revision at which a route
    was created; None: it is new. `gone` are routes that the change deletes.
    """
    new = [(item.where, item.resource) for item in declared if isinstance(item.resource, Route)]
    replaced = {*gone, *(route.name for _, route in new)}
    before = ResourceIndex()
    for where, route in new:
        there = {name: other for name, other in index.rivals(route).items() if name not in replaced}
        rivals = there | before.rivals(route)
        for name in sorted(rivals):
            other = rivals[name]
            if name != route.name and methods_tie(route, other) and listeners_overlap(route, other):
                yield Problem(join(where, _matched_by(route)), _told(route.name, name, created))
        before.add((route.KIND, route.name), route)


def stranded(existing: Mapping[ResourceId, Stamped], declared: Sequence[Declared]) -> Iterator[Problem]:
    """Declared routes whose listeners are all for other pools than the route: no data plane serves them."""
    new = {item.name: item.resource for item in declared if isinstance(item.resource, Listener)}

    def listener(name: str) -> Resource | None:
        stamped = existing.get((Listener.KIND, name))
        return new.get(name) or (stamped.resource if stamped else None)

    for item in declared:
        route = item.resource
        if not isinstance(route, Route) or not route.listeners or DEFAULT in route.listeners:
            continue
        opened = [one for name in route.listeners if isinstance(one := listener(name), Listener)]
        if opened and not any(in_common(route.pools, one.pools) for one in opened):
            yield Problem(
                join(item.where, "pools"), "no data plane serves the route: its listeners are for other pools"
            )


def _matched_by(route: Route) -> str:
    return "prefix" if route.prefix is not None else "path" if route.path is not None else "path_regex"


def _told(name: str, other: str, created: Callable[[str], int | None]) -> str:
    ages = {each: (found is None, found or 0, each) for each in (name, other) for found in [created(each)]}
    winner = min(ages, key=ages.__getitem__)
    why = "is older" if ages[name][:2] != ages[other][:2] else "comes first by name"
    return f"matches the same requests as route {other!r}: {winner!r} {why}, and answers them"


def clashes(index: ResourceIndex, declared: Sequence[Declared]) -> Iterator[Problem]:
    """Each declared listener against those on its port that are not replaced, and those declared before it.

    `index` is over the existing resources.
    """
    new = [(item.where, item.resource) for item in declared if isinstance(item.resource, Listener)]
    replaced = {listener.name for _, listener in new}
    before: list[Listener] = []
    for where, listener in new:
        sharing = index.sharing(listener.port)
        there = [other for name, other in sharing.items() if name not in replaced]
        yield from clashing(where, listener, [*there, *before])
        before.append(listener)
