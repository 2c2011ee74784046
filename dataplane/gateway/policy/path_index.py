"""The routes of one host pattern, by path: whole paths, prefixes of whole segments, and regular expressions.

The first two are looked up; expressions are tried one by one, only where a host pattern has any. Routes of one path are
tried in the order of the router's precedence.

A prefix covers whole segments: "/v2" matches "/v2" and "/v2/x", never "/v2x". A trailing "/" is ignored.

The maps are persistent: a copy shares them, and a change of it leaves nearly all of them shared. A look-up costs some
15 ns more than in a dict, but copying a dict touches every object in it, none of which is in a cache by then: half a
millisecond in which a worker serves no request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from immutables import Map

from dataplane.gateway.policy.conditions import URI_TOO_LONG, Asked
from dataplane.gateway.policy.expressions import certainly, literal, whole
from dataplane.gateway.policy.resources import Route
from headgate_api.expressions import TooLong

_Routes = tuple[Route, ...]


class PathIndex:
    """Tuples of routes in order of preference, so that a search is a few look-ups."""

    __slots__ = ("_named", "beginnings", "expressions", "longest", "prefixes", "whole")

    def __init__(self) -> None:
        self.whole: Map[str, _Routes] = Map()
        """By the whole path: its exact routes, then those whose prefix is that very path."""
        self.prefixes: Map[str, _Routes] = Map()
        """By bare prefix: "/" is ""."""
        self.expressions: _Routes = ()
        """Those with a regular expression, longer expressions first."""
        self._named: Map[str, Route] = Map()
        """`expressions` by name."""
        self.beginnings: tuple[str, ...] = ()
        """What the paths of each of `expressions` begin with."""
        self.longest = 0
        """No prefix has more characters than this. A bound: it does not shrink when routes go."""

    def __bool__(self) -> bool:
        return bool(self.whole or self.expressions)

    def copy(self) -> PathIndex:
        """An independent copy, for changes."""
        twin = PathIndex()
        twin.whole = self.whole
        twin.prefixes = self.prefixes
        twin.expressions, twin.beginnings = self.expressions, self.beginnings
        twin._named = self._named
        twin.longest = self.longest
        return twin

    def add(self, route: Route) -> None:
        """Add `route`, or replace the one of that name; only while the index is built."""
        if route.pattern is not None:
            self._put(route)
            return
        key = _key(route)
        self.whole = _with(self.whole, key, route)
        if route.prefix is not None:
            self.prefixes = _with(self.prefixes, key, route)
            self.longest = max(self.longest, len(key))

    def remove(self, route: Route) -> None:
        """Remove the route of that name; only while the index is built. KeyError if it is absent."""
        if route.pattern is not None:
            self._drop(self._named[route.name])
            return
        key = _key(route)
        self.whole = _without(self.whole, key, route)
        if route.prefix is not None:
            self.prefixes = _without(self.prefixes, key, route)

    def find(self, path: str, method: str, request: Asked | None = None) -> Route | None:
        """The preferred route that matches. The request path: look-ups only, no iterator, and no call for routes
        without conditions. Without `request` no condition holds. Raises TooLong."""
        tried = not self.expressions
        for route in self.whole.get(path, ()):
            if not tried and route.path is None:
                tried = True
                found = self._by_expression(path, method, request)
                if found is not None:
                    return found
            if not route.methods or method in route.methods:
                if route.conditions is not None and not _hold(route, request):
                    continue
                if route.head_follows and method == "HEAD":
                    return _naming_head(self.whole[path], route, request)
                return route
        if not tried:
            found = self._by_expression(path, method, request)
            if found is not None:
                return found
        prefixes = self.prefixes
        # Paths are searched only up to the longest prefix, so no caller can make a search expensive with a deep path.
        end = path.rfind("/", 0, self.longest + 1)
        while end >= 0:
            for route in prefixes.get(path[:end], ()):
                if not route.methods or method in route.methods:
                    if route.conditions is not None and not _hold(route, request):
                        continue
                    if route.head_follows and method == "HEAD":
                        return _naming_head(prefixes[path[:end]], route, request)
                    return route
            end = path.rfind("/", 0, end)
        return None

    def methods(self, path: str, request: Asked | None = None) -> Iterator[str]:
        """The methods of all routes that match all but the method, for a refusal; without routes that hide it."""
        for route in self.matching(path):
            if not route.miss_hidden and _hold(route, request):
                yield from route.methods

    def matching(self, path: str) -> Iterator[Route]:
        """All routes that match `path`, whatever else they ask for."""
        yield from self.whole.get(path, ())
        for route, beginning in zip(self.expressions, self.beginnings, strict=True):
            if path.startswith(beginning) and certainly(route.expression, path):
                yield route
        end = path.rfind("/", 0, self.longest + 1)
        while end >= 0:
            yield from self.prefixes.get(path[:end], ())
            end = path.rfind("/", 0, end)

    def _put(self, route: Route) -> None:
        """Add a route with an expression: thousands are indexed one by one, so nothing here looks at each."""
        if (old := self._named.get(route.name)) is not None:
            self._drop(old)
        at = bisect_left(self.expressions, _preference(route), key=_preference)
        beginning = literal(route.pattern or "")
        self.expressions = (*self.expressions[:at], route, *self.expressions[at:])
        self.beginnings = (*self.beginnings[:at], beginning, *self.beginnings[at:])
        self._named = self._named.set(route.name, route)

    def _drop(self, route: Route) -> None:
        at = bisect_left(self.expressions, _preference(route), key=_preference)
        assert self.expressions[at].name == route.name
        self.expressions = self.expressions[:at] + self.expressions[at + 1 :]
        self.beginnings = self.beginnings[:at] + self.beginnings[at + 1 :]
        self._named = self._named.delete(route.name)

    def _by_expression(self, path: str, method: str, request: Asked | None) -> Route | None:
        for route, beginning in zip(self.expressions, self.beginnings, strict=True):
            if not path.startswith(beginning) or (route.methods and method not in route.methods):
                continue
            if whole(route.expression, path, URI_TOO_LONG):
                if not _hold(route, request):
                    continue
                if route.head_follows and method == "HEAD":
                    equal = tuple(other for other in self.expressions if other.pattern == route.pattern)
                    return _naming_head(equal, route, request)
                return route
        return None


def holds(route: Route, request: Asked | None) -> bool:
    """Whether a request certainly meets the route's conditions. Without `request`, only routes without conditions
    do."""
    try:
        return _hold(route, request)
    except TooLong:
        return False


def _hold(route: Route, request: Asked | None) -> bool:
    return route.conditions is None or (request is not None and route.conditions.hold(request))


def _naming_head(routes: _Routes, follower: Route, request: Asked | None) -> Route:
    """The route for a HEAD request that `follower` takes as it takes GET: one of the same path that names HEAD."""
    for route in routes:
        named = not route.head_follows and "HEAD" in route.methods and route.prefix == follower.prefix
        if named and _hold(route, request):
            return route
    return follower


def bare(prefix: str) -> str:
    """`prefix` without the "/" at its end; "/" is ""."""
    return prefix.rstrip("/")


def _key(route: Route) -> str:
    """The path, or bare prefix, that the route is indexed by."""
    if route.path is not None:
        return route.path
    assert route.prefix is not None, "a route has a path or a prefix"
    return bare(route.prefix)


def _with(table: Map[str, _Routes], key: str, route: Route) -> Map[str, _Routes]:
    others = table.get(key)
    if others is None:
        return table.set(key, (route,))
    return table.set(key, _ordered(route, others))


def _without(table: Map[str, _Routes], key: str, route: Route) -> Map[str, _Routes]:
    left = _less(route, table[key])
    return table.set(key, left) if left else table.delete(key)


def _ordered(route: Route, others: _Routes) -> _Routes:
    routes = [route, *(other for other in others if other.name != route.name)]
    return tuple(sorted(routes, key=_preference))


def _less(route: Route, routes: _Routes) -> _Routes:
    left = tuple(other for other in routes if other.name != route.name)
    if len(left) == len(routes):
        raise KeyError(route.name)
    return left


def _preference(route: Route) -> tuple[bool, int, bool, int, int, int, str]:
    """Lower comes first; see `router` for the order and its source."""
    conditions = route.conditions
    headers, query = (len(conditions.headers), len(conditions.query)) if conditions else (0, 0)
    return (
        route.path is None,
        -len(route.pattern or ""),
        not route.methods,
        -headers,
        -query,
        route.created,
        route.name,
    )
