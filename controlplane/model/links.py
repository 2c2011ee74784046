"""Who needs what, and which routes match what: found in one step, however many resources there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from controlplane.model.resources import Resource, ResourceId, Route, references

Match = tuple[str, str | None, str | None]
"""Host (empty for every one), prefix, path."""

_NOBODY: Set[ResourceId] = frozenset()


class Links:
    """An index over resources; who adds one takes out the one that it replaces first."""

    def __init__(self, resources: Mapping[ResourceId, Resource] | None = None) -> None:
        self._needing: dict[ResourceId, set[ResourceId]] = {}
        self._matching: dict[Match, dict[str, Route]] = {}
        for identity, resource in (resources or {}).items():
            self.add(identity, resource)

    def add(self, identity: ResourceId, resource: Resource) -> None:
        """Take a resource in."""
        for _, target in references(identity[0], vars(resource)):
            self._needing.setdefault(target, set()).add(identity)
        if isinstance(resource, Route):
            for match in matches_of(resource):
                self._matching.setdefault(match, {})[resource.name] = resource

    def remove(self, identity: ResourceId, resource: Resource) -> None:
        """Take out what was taken in."""
        for _, target in references(identity[0], vars(resource)):
            if (needing := self._needing.get(target)) is not None:
                needing.discard(identity)
                if not needing:
                    del self._needing[target]
        if isinstance(resource, Route):
            for match in matches_of(resource):
                if (routes := self._matching.get(match)) is not None:
                    routes.pop(resource.name, None)
                    if not routes:
                        del self._matching[match]

    def needing(self, target: ResourceId) -> Set[ResourceId]:
        """Who could not do without `target`, whether it is there or not."""
        return self._needing.get(target, _NOBODY)

    def rivals(self, route: Route) -> dict[str, Route]:
        """Routes with a match of this one, by name; itself is among them if it was taken in."""
        return {
            name: other
            for match in matches_of(route)
            for name, other in self._matching.get(match, {}).items()
        }


def matches_of(route: Route) -> Iterator[Match]:
    """Everything that a route matches, apart from methods."""
    for host in route.hosts or ("",):
        yield host, route.prefix, route.path


def methods_overlap(one: Route, other: Route) -> bool:
    """Whether there is a method that both take."""
    return not one.methods or not other.methods or not set(one.methods).isdisjoint(other.methods)
