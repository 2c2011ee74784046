"""Finds the route of a request: the cost grows with the depth of the path, not with the number of routes.

Precedence among several matching routes, most important first. It is that of HTTPRoute in the Gateway API v1
(`HTTPRouteSpec.hostnames` and `HTTPRouteRule.matches`, apis/v1/httproute_types.go), where a rule's match is a route:

1. a named host over a wildcard, a longer wildcard over a shorter one, any wildcard over "every host";
2. an exact path over a regular expression over a prefix; of prefixes, and of expressions, the longer one. (The Gateway
   API leaves expressions to implementations.)
3. a route that names methods over one that takes all;
4. more conditions on header fields; then more conditions on query parameters;
5. the older route, by the revision at which it was created; then the name, in alphabetical order.

The method is part of the match: a route that does not accept it is skipped. The answer is 405 only if no other route
matches (RFC 9110, section 15.5.6), and a route with the match says so (`Route.miss_hidden`). HEAD is taken where GET is
(RFC 9110, section 9.3.2), but first by a route of the same path that names HEAD. Hosts are compared without regard to
case, paths and methods with regard to it (RFC 9110, sections 4.2.3 and 9.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from immutables import Map

from dataplane.gateway.policy.conditions import Asked
from dataplane.gateway.policy.path_index import PathIndex, bare
from dataplane.gateway.policy.resources import Route


@dataclass(frozen=True, slots=True)
class NotFound:
    """No route matches host and path."""


NOT_FOUND = NotFound()


@dataclass(frozen=True, slots=True)
class AmbiguousPath:
    """The path's percent-encoding decides which guard applies: an instance may read it differently."""


AMBIGUOUS_PATH = AmbiguousPath()


@dataclass(frozen=True, slots=True)
class MethodNotAllowed:
    """Routes match host and path, none of them the method. `allow` is sorted, for the Allow field."""

    allow: tuple[str, ...]


class Router:
    """An immutable table of routes. Names are unique."""

    __slots__ = ("_any", "_hosts", "_longest", "_wildcards", "preflights")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._any = PathIndex()
        self._hosts: Map[str, PathIndex] = Map()
        self._wildcards: Map[str, PathIndex] = Map()
        """Keyed by the part after the "*": ".example.org"."""
        self._longest = 0
        """No wildcard's suffix has more characters than this."""
        self.preflights = 0
        """How many routes answer preflights (CORS)."""
        for route in routes:
            self.preflights += _answers_preflights(route)
            for host in _patterns(route):
                paths = self._get(host)
                if paths is None:
                    paths = self._set(host, PathIndex())
                paths.add(route)

    def match(
        self, host: str, path: str, method: str, request: Asked | None = None
    ) -> Route | NotFound | MethodNotAllowed:
        """The preferred route. `host` without port, in any case; `path` in its match form, without query. `request` is
        asked for what conditions look at; without it, none holds."""
        if self._hosts or self._wildcards:
            route = self._find_named(host.lower(), path, method, request)
            if route is not None:
                return route
        route = self._any.find(path, method, request)
        return self._refuse(host, path, request) if route is None else route

    def ambiguous(self, host: str, sent_path: str, method: str, route: Route, request: Asked | None) -> bool:
        """Whether a path that matches `route` leads to a route with another guard when read as it was sent."""
        other = self.match(host, sent_path, method, request)
        return type(other) is Route and other is not route and _guard(other) != _guard(route)

    def changed(self, removed: Iterable[Route], added: Iterable[Route]) -> Router:
        """A router without `removed` and with `added`; this one stays as it is.

        Unchanged parts are shared. Raises KeyError for a route in `removed` that is not there.
        """
        twin = Router()
        twin._any, twin._longest = self._any, self._longest
        twin._hosts, twin._wildcards = self._hosts, self._wildcards
        copied: dict[str, PathIndex] = {}
        new = {route.name: route for route in added}
        twin.preflights = self.preflights + sum(map(_answers_preflights, new.values()))
        for route in removed:
            twin.preflights -= _answers_preflights(route)
            successor = new.get(route.name)
            if successor is not None and _place(successor) == _place(route):
                continue
            for host in _patterns(route):
                twin._own(host, copied).remove(route)
        for route in new.values():
            for host in _patterns(route):
                twin._own(host, copied).add(route)
        twin._drop_empty(copied)
        return twin

    def candidates(self, host: str, path: str) -> Iterator[tuple[str, Route]]:
        """The routes that match host and path, each with its host pattern; those of more specific hosts first."""
        host = host.lower()
        if host in self._hosts:
            yield from ((host, route) for route in self._hosts[host].matching(path))
        dot = self._first_dot(host)
        while dot > 0:
            if (paths := self._wildcards.get(host[dot:])) is not None:
                yield from ((f"*{host[dot:]}", route) for route in paths.matching(path))
            dot = host.find(".", dot + 1)
        yield from (("", route) for route in self._any.matching(path))

    def elsewhere(self, path: str) -> Iterator[tuple[Route, ...]]:
        """The routes with hosts that match the path, for each host pattern; a route with several hosts comes again."""
        for indexes in (self._hosts, self._wildcards):
            for paths in indexes.values():
                yield tuple(paths.matching(path))

    def _find_named(self, host: str, path: str, method: str, request: Asked | None) -> Route | None:
        paths = self._hosts.get(host)
        route = None if paths is None else paths.find(path, method, request)
        if route is None and self._wildcards:
            dot = self._first_dot(host)
            while dot > 0:
                paths = self._wildcards.get(host[dot:])
                if paths is not None:
                    route = paths.find(path, method, request)
                    if route is not None:
                        return route
                dot = host.find(".", dot + 1)
        return route

    def _first_dot(self, host: str) -> int:
        """Start of the longest suffix a wildcard could have; at least one character is left for the "*"."""
        return host.find(".", max(1, len(host) - self._longest))

    def _refuse(self, host: str, path: str, request: Asked | None) -> NotFound | MethodNotAllowed:
        # A route that takes every method would have been found, so no methods means no route.
        allow = {method for paths in self._tables(host.lower()) for method in paths.methods(path, request)}
        return MethodNotAllowed(tuple(sorted(allow))) if allow else NOT_FOUND

    def _tables(self, host: str) -> Iterator[PathIndex]:
        yield self._any
        if host in self._hosts:
            yield self._hosts[host]
        dot = self._first_dot(host)
        while dot > 0:
            if host[dot:] in self._wildcards:
                yield self._wildcards[host[dot:]]
            dot = host.find(".", dot + 1)

    def _own(self, host: str, copied: dict[str, PathIndex]) -> PathIndex:
        """The index of host pattern `host` for this router alone: copied before its first change."""
        if host not in copied:
            shared = self._get(host)
            copied[host] = self._set(host, PathIndex() if shared is None else shared.copy())
        return copied[host]

    def _get(self, host: str) -> PathIndex | None:
        if not host:
            return self._any
        return self._wildcards.get(host[1:]) if host.startswith("*.") else self._hosts.get(host)

    def _set(self, host: str, paths: PathIndex) -> PathIndex:
        if not host:
            self._any = paths
        elif host.startswith("*."):
            self._wildcards = self._wildcards.set(host[1:], paths)
            self._longest = max(self._longest, len(host) - 1)
        else:
            self._hosts = self._hosts.set(host, paths)
        return paths

    def _drop_empty(self, hosts: Iterable[str]) -> None:
        """Drop empty indexes, so that a router whose last host is gone takes the fast path again."""
        for host in hosts:
            if host and not self._get(host):
                if host.startswith("*."):
                    self._wildcards = self._wildcards.delete(host[1:])
                else:
                    self._hosts = self._hosts.delete(host)


def _guard(route: Route) -> tuple[object, ...]:
    """The conditions that a request must meet."""
    forwarding = route.forwarding
    addresses = forwarding.addresses if forwarding is not None else None
    authorization = forwarding.authorization if forwarding is not None else None
    return route.public, route.scopes, route.limits, addresses, authorization


def _answers_preflights(route: Route) -> bool:
    return route.forwarding is not None and route.forwarding.cors is not None


def upstream_path(route: Route, path: str) -> str:
    """The path sent to the service: `path` (as sent, without query) after `strip_prefix` and `rewrite`.

    `rewrite` replaces what the route matched, the prefix or the whole path; `strip_prefix` is a rewrite to nothing and
    concerns prefixes only. The result always begins with "/".
    """
    forwarding = route.forwarding
    if forwarding is not None:
        if forwarding.path:
            return forwarding.path
        if forwarding.substitution is not None:
            return forwarding.substitution.apply(path)
    if route.prefix is None:
        return route.rewrite or path
    return with_prefix(route.prefix, route.rewrite, path) if route.rewrite or route.strip_prefix else path


def with_prefix(prefix: str, other: str, path: str) -> str:
    """`path`, which begins with `prefix`, with `other` in its place."""
    # By segments, not characters: the prefix may have been sent percent-encoded.
    segments = bare(prefix).count("/")
    below = path.split("/", segments + 1)[segments + 1 :]
    return other.rstrip("/") + "".join(("/", *below) if below else ()) or "/"


def _place(route: Route) -> tuple[object, ...]:
    """The index entry of a route. A route of the same name at the same place replaces it."""
    return route.hosts, route.path, route.prefix, route.pattern


def _patterns(route: Route) -> Iterable[str]:
    """The route's host patterns, once each; "" is every host."""
    return dict.fromkeys(host.lower() for host in route.hosts) if route.hosts else ("",)
