"""The routes of one host pattern, by path: whole paths and prefixes of whole segments.

A prefix covers whole segments: "/v2" matches "/v2" and "/v2/x", never "/v2x". A "/" at its end says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from dataplane.policy.resources import Route

_Routes = tuple[Route, ...]


class Paths:
    """Tuples of routes in order of preference, so that a search is a few look-ups in dicts."""

    __slots__ = ("longest", "prefixes", "whole")

    def __init__(self) -> None:
        self.whole: dict[str, _Routes] = {}
        """By the whole path: its exact routes, then those whose prefix is that very path."""
        self.prefixes: dict[str, _Routes] = {}
        """By bare prefix: "/" is ""."""
        self.longest = 0
        """No prefix has more characters than this. A bound: it does not shrink when routes go."""

    def __bool__(self) -> bool:
        return bool(self.whole)

    def copy(self) -> Paths:
        """A table that can be changed without this one."""
        twin = Paths()
        twin.whole = self.whole.copy()
        twin.prefixes = self.prefixes.copy()
        twin.longest = self.longest
        return twin

    def add(self, route: Route) -> None:
        """Put `route` in, only while the table is being made."""
        for table, key in self._places(route):
            there = table.get(key)
            table[key] = (route,) if there is None else tuple(sorted((*there, route), key=_preference))
        if route.prefix is not None:
            self.longest = max(self.longest, len(bare(route.prefix)))

    def remove(self, route: Route) -> None:
        """Take the route of that name out, only while the table is being made. Raises KeyError if it is not there."""
        for table, key in self._places(route):
            left = tuple(other for other in table[key] if other.name != route.name)
            if len(left) == len(table[key]):
                raise KeyError(route.name)
            if left:
                table[key] = left
            else:
                del table[key]

    def find(self, path: str, method: str) -> Route | None:
        """The preferred route that matches. The request path: look-ups only, no iterator, no call."""
        for route in self.whole.get(path, ()):
            if not route.methods or method in route.methods:
                return route
        prefixes = self.prefixes
        # Nothing longer than the longest prefix is looked at, so no caller can make a search dear with a deep path.
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

    def _places(self, route: Route) -> tuple[tuple[dict[str, _Routes], str], ...]:
        if route.path is not None:
            return ((self.whole, route.path),)
        assert route.prefix is not None, "a route has a path or a prefix"
        return (self.whole, bare(route.prefix)), (self.prefixes, bare(route.prefix))


def bare(prefix: str) -> str:
    """`prefix` without the "/" at its end; "/" is ""."""
    return prefix.rstrip("/")


def _preference(route: Route) -> tuple[bool, bool, str]:
    return route.path is None, not route.methods, route.name
