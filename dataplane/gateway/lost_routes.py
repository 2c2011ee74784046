"""The routes that did not get a request, with the reason for each: those that came nearest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from typing import Any, Final

from dataplane.config.table import STEP_ROUTES, Steps, Table
from dataplane.gateway.policy.conditions import Condition, parameters
from dataplane.gateway.policy.path_index import holds
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.policy.router import Router
from dataplane.proxy.messages import Request
from headgate_api.expressions import TooLong

MOST_SHOWN: Final = 20
_NEAR: Final = 5
"""Routes that are shown although neither host nor path matches them."""
_LIKENESS: Final = 2
"""Characters that their paths have in common with the request's, the first "/" included; at least."""

Candidate = tuple[str, Route]
"""A route, and its host pattern that matches."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The nearest routes that lost."""

    shown: list[dict[str, Any]]
    more: int
    """Routes whose host or path matches beyond those that are shown."""


def lost_routes(table: Table, router: Router, request: Request, winner: Route | None) -> Steps[Lost]:
    """In this order: routes that match host and path; those whose path alone matches; some with a similar path. In
    steps of about a millisecond, between which other work may run. `winner` got the request.
    """
    matching = list(router.candidates(request.host, request.path))
    best = next((one for one in matching if one[1] is winner), None)
    found: dict[str, tuple[Route, str]] = {}
    for one in matching:
        if one[1] is not winner:
            found.setdefault(one[1].name, (one[1], _why(one, best, request)))
    known = {route.name for _, route in matching}
    for turn, routes in enumerate(router.elsewhere(request.path)):
        if not turn % STEP_ROUTES:
            yield
        for route in routes:
            if route.name not in known:
                found[route.name] = route, f"its hosts are {', '.join(route.hosts)}"
    near = yield from _similar(table, request.path, {*known, *found})
    reasons = [
        *list(found.values())[:MOST_SHOWN],
        *((route, f"its path is {place(route)}") for route in near),
    ]
    shown = [{"name": route.name, **match_of(route), "reason": reason} for route, reason in reasons]
    return Lost(shown[:MOST_SHOWN], max(0, len(found) - MOST_SHOWN))


def match_of(route: Route) -> dict[str, Any]:
    """The conditions of a route that decide which requests it matches."""
    shown: dict[str, Any] = {}
    for name, value in (("path", route.path), ("path_regex", route.pattern), ("prefix", route.prefix)):
        if value is not None:
            shown[name] = value
    if route.hosts:
        shown["hosts"] = list(route.hosts)
    if route.methods:
        shown["methods"] = sorted(route.methods)
    if route.conditions is not None:
        shown["headers"] = [test.name for test in route.conditions.headers]
        shown["query"] = [test.name for test in route.conditions.query]
    return shown


def place(route: Route) -> str:
    """The path, expression or prefix of a route."""
    return route.path or route.pattern or f"{(route.prefix or '').rstrip('/')}/*"


def _similar(table: Table, path: str, known: Iterable[str]) -> Steps[list[Route]]:
    best: list[tuple[int, str]] = []
    known, rest = frozenset(known), iter(table.routes.items())
    while part := list(islice(rest, STEP_ROUTES)):
        near = ((likeness(route, path), name) for name, route in part if name not in known)
        best = nlargest(_NEAR, [*best, *(one for one in near if one[0] >= _LIKENESS)])
        yield
    return [table.routes[name] for _, name in best]


def likeness(route: Route, path: str) -> int:
    """Characters that the route's path has in common with `path`, from the start."""
    own = route.path or route.prefix or ""
    for position, (one, other) in enumerate(zip(own, path, strict=False)):
        if one != other:
            return position
    return min(len(own), len(path))


def _why(lost: Candidate, winner: Candidate | None, request: Request) -> str:
    """The reason why a route that matches host and path did not get the request."""
    pattern, route = lost
    if route.methods and request.method not in route.methods:
        return f"its methods are {', '.join(sorted(route.methods))}"
    if not holds(route, request):
        return f"not met: {', '.join(_unmet(route, request))}"
    if winner is None:
        return "the request is refused before"
    other, better = winner
    if pattern != other:
        return f"host {other or 'every host'} comes before {pattern or 'every host'}"
    if place(route) != place(better):
        return f"path {place(better)} comes before"
    if better.methods and not route.methods:
        return f"route {better.name} names the method"
    if _conditions(better) != _conditions(route):
        return f"route {better.name} has more conditions"
    return f"route {better.name} is older, or its name comes before"


def _conditions(route: Route) -> tuple[int, int]:
    if route.conditions is None:
        return 0, 0
    return len(route.conditions.headers), len(route.conditions.query)


def _unmet(route: Route, request: Request) -> Iterable[str]:
    """The names of the conditions that do not hold; values may be secrets."""
    assert route.conditions is not None
    yield from _names("header", route.conditions.headers, request.listed_field)
    yield from _names("query parameter", route.conditions.query, parameters(request.query).value)


def _names(kind: str, tests: Iterable[Condition], value: Any) -> Iterable[str]:
    return (f"{kind} {test.name}" for test in tests if not _met(test, value(test.name)))


def _met(test: Condition, value: str | None) -> bool:
    try:
        return test.holds(value, 0)
    except TooLong:
        return False
