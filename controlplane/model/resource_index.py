"""Indexes: which resources refer to a resource, and which routes have the same match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from controlplane.model.match import HeaderMatch, QueryMatch
from controlplane.model.pool import in_common
from controlplane.model.resources import Listener, Resource, ResourceId, Route, references

Match = tuple[str, str | None, str | None, str | None, frozenset[HeaderMatch | QueryMatch]]
"""Host (empty for every one), prefix, path, regular expression, conditions."""

_NOBODY: Set[ResourceId] = frozenset()


class ResourceIndex:
    """An index over resources. Remove a resource before you add its replacement.

    `frozen` returns a copy that later changes do not affect; the parts changed next are then copied.
    """

    def __init__(self, resources: Mapping[ResourceId, Resource] | None = None) -> None:
        self._needing: dict[ResourceId, set[ResourceId]] = {}
        self._matching: dict[Match, dict[str, Route]] = {}
        self._ports: Mapping[int, Mapping[str, Listener]] = {}
        """Listeners by port and name. Never changed, but replaced: there are few."""
        self._shared = False
        """Whether a frozen copy has the same dictionaries."""
        self._own: set[object] | None = None
        """Keys whose values are in no frozen copy; None: all of them."""
        for identity, resource in (resources or {}).items():
            self.add(identity, resource)

    def frozen(self) -> ResourceIndex:
        """A copy as of now; see the class."""
        copy = ResourceIndex()
        copy._needing, copy._matching, copy._ports = self._needing, self._matching, self._ports
        self._shared, self._own = True, set()
        return copy

    def add(self, identity: ResourceId, resource: Resource) -> None:
        """Add a resource."""
        self._unshare()
        for _, target in references(identity[0], vars(resource)):
            self._needing_of(target).add(identity)
        if isinstance(resource, Route):
            for match in matches_of(resource):
                self._matching_of(match)[resource.name] = resource
        elif isinstance(resource, Listener):
            others = self.sharing(resource.port)
            self._ports = {**self._ports, resource.port: {**others, resource.name: resource}}

    def remove(self, identity: ResourceId, resource: Resource) -> None:
        """Remove a resource that was added."""
        self._unshare()
        for _, target in references(identity[0], vars(resource)):
            if target in self._needing:
                self._needing_of(target).discard(identity)
                if not self._needing[target]:
                    del self._needing[target]
        if isinstance(resource, Route):
            for match in matches_of(resource):
                if match in self._matching:
                    self._matching_of(match).pop(resource.name, None)
                    if not self._matching[match]:
                        del self._matching[match]
        elif isinstance(resource, Listener):
            left = {name: one for name, one in self.sharing(resource.port).items() if name != resource.name}
            self._ports = {**self._ports, resource.port: left}

    def _unshare(self) -> None:
        if self._shared:
            self._needing, self._matching = self._needing.copy(), self._matching.copy()
            self._shared = False

    def _needing_of(self, target: ResourceId) -> set[ResourceId]:
        if self._own is not None and target not in self._own:
            self._needing[target] = self._needing.get(target, set()).copy()
            self._own.add(target)
        return self._needing.setdefault(target, set())

    def _matching_of(self, match: Match) -> dict[str, Route]:
        if self._own is not None and match not in self._own:
            self._matching[match] = self._matching.get(match, {}).copy()
            self._own.add(match)
        return self._matching.setdefault(match, {})

    def needing(self, target: ResourceId) -> Set[ResourceId]:
        """The resources that refer to `target`, whether it exists or not."""
        return self._needing.get(target, _NOBODY)

    def matching(self, match: Match) -> Mapping[str, Route]:
        """Routes with this match, by name."""
        return self._matching.get(match, {})

    def sharing(self, port: int) -> Mapping[str, Listener]:
        """The listeners on a port, by name."""
        return self._ports.get(port, {})

    def rivals(self, route: Route) -> dict[str, Route]:
        """Routes with a match of this one, by name; including itself if it was added."""
        return {
            name: other
            for match in matches_of(route)
            for name, other in self._matching.get(match, {}).items()
        }


def matches_of(route: Route) -> Iterator[Match]:
    """Everything that a route matches, apart from methods."""
    conditions = frozenset[HeaderMatch | QueryMatch]((*route.headers, *route.query))
    for host in route.hosts or ("",):
        yield host, route.prefix, route.path, route.path_regex, conditions


def listeners_overlap(one: Route, other: Route) -> bool:
    """Whether there may be a listener of one data plane that serves both."""
    if not in_common(one.pools, other.pools):
        return False
    return not one.listeners or not other.listeners or not set(one.listeners).isdisjoint(other.listeners)


def methods_tie(one: Route, other: Route) -> bool:
    """Whether there is a method for which neither route precedes the other: naming a method precedes taking all."""
    if one.methods and other.methods:
        return not set(one.methods).isdisjoint(other.methods)
    return not one.methods and not other.methods
