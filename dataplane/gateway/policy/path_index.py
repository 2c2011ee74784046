"""The routes of one host pattern, by path: whole paths and prefixes of whole segments.

A prefix covers whole segments: "/v2" matches "/v2" and "/v2/x", never "/v2x". A trailing "/" is ignored.

The maps are persistent: a copy shares them, and a change of it leaves nearly all of them shared. A look-up costs some
15 ns more than in a dict, but copying a dict touches every object in it, none of which is in a cache by then: half a
millisecond in which a worker serves no request.
"""

from __future__ import annotations

from collections.abc import Iterator

from immutables import Map

from dataplane.gateway.policy.resources import Route

_Routes = tuple[Route, ...]


class PathIndex:
    """Tuples of routes in order of preference, so that a search is a few look-ups."""

    __slots__ = ("longest", "prefixes", "whole")

    def __init__(self) -> None:
        self.whole: Map[str, _Routes] = Map()
        """By the whole path: its exact routes, then those whose prefix is that very path."""
        self.prefixes: Map[str, _Routes] = Map()
        """By bare prefix: "/" is ""."""
        self.longest = 0
        """No prefix has more characters than this. A bound: it does not shrink when routes go."""

    def __bool__(self) -> bool:
        return bool(self.whole)

    def copy(self) -> PathIndex:
        """An independent copy, for changes."""
        twin = PathIndex()
        twin.whole = self.whole
        twin.prefixes = self.prefixes
        twin.longest = self.longest
        return twin

    def add(self, route: Route) -> None:
        """Add `route`, or replace the one of that name; only while the index is built."""
        whole = _whole(route)
        self.whole = _with(self.whole, whole, route)
        if route.prefix is not None:
            self.prefixes = _with(self.prefixes, whole, route)
            self.longest = max(self.longest, len(whole))

    def remove(self, route: Route) -> None:
        """Remove the route of that name; only while the index is built. KeyError if it is absent."""
        whole = _whole(route)
        self.whole = _without(self.whole, whole, route)
        if route.prefix is not None:
            self.prefixes = _without(self.prefixes, whole, route)

    def find(self, path: str, method: str) -> Route | None:
        """The preferred route that matches. The request path: look-ups only, no iterator, no call."""
        for route in self.whole.get(path, ()):
            if not route.methods or method in route.methods:
                return route
        prefixes = self.prefixes
        # Paths are searched only up to the longest prefix, so no caller can make a search expensive with a deep path.
        end = path.rfind("/", 0, self.longest + 1)
        while end >= 0:
            for route in prefixes.get(path[:end], ()):
                if not route.methods or method in route.methods:
                    return route
            end = path.rfind("/", 0, end)
        return None

    def methods(self, path: str) -> Iterator[str]:
        """The methods of all routes that match `path`, for a refusal."""
        for route in self.whole.get(path, ()):
            yield from route.methods
        end = path.rfind("/", 0, self.longest + 1)
        while end >= 0:
            for route in self.prefixes.get(path[:end], ()):
                yield from route.methods
            end = path.rfind("/", 0, end)


def bare(prefix: str) -> str:
    """`prefix` without the "/" at its end; "/" is ""."""
    return prefix.rstrip("/")


def _whole(route: Route) -> str:
    """The path, or bare prefix, that the route is indexed by."""
    if route.path is not None:
        return route.path
    assert route.prefix is not None, "a route has a path or a prefix"
    return bare(route.prefix)


def _with(table: Map[str, _Routes], key: str, route: Route) -> Map[str, _Routes]:
    others = table.get(key)
    if others is None:
        return table.set(key, (route,))
    routes = [route, *(other for other in others if other.name != route.name)]
    return table.set(key, tuple(sorted(routes, key=_preference)))


def _without(table: Map[str, _Routes], key: str, route: Route) -> Map[str, _Routes]:
    left = tuple(other for other in table[key] if other.name != route.name)
    if len(left) == len(table[key]):
        raise KeyError(route.name)
    return table.set(key, left) if left else table.delete(key)


def _preference(route: Route) -> tuple[bool, bool, str]:
    return route.path is None, not route.methods, route.name
