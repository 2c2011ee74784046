"""The resources that the control plane creates for itself, and the consequences of their deletion or change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from controlplane.model.access import ADMIN, READ, TAP
from controlplane.model.listener import DEFAULT
from controlplane.model.pool import DEFAULT_POOL, serves
from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import Resource, ResourceId, Route, Service
from headgate_api.expressions import compiled

_GATEWAY = "the gateway no longer routes /api/v1 to the admin API"

BUILT_IN: Mapping[ResourceId, str] = {
    ("scope", READ): "no user can be given the right to read the admin API",
    ("scope", ADMIN): "no user can be given the right to change the configuration",
    ("scope", TAP): "no user can be given the right to tap requests",
    ("service", "controlplane"): _GATEWAY,
    ("route", "headgate-api"): _GATEWAY,
}
"""The consequence of their deletion, by identity."""

_SERVICE = "controlplane"
_API = "/api/v1"
_READ = "GET"
_DECISIVE = ("instances", "tls", "check_path")
"""Settings of the service that decide whether requests for it reach the control planes."""
ADMIN_PATHS: Final = frozenset(
    {
        ".well-known",
        "apply",
        "auth",
        "certificates",
        "circuits",
        "config",
        "dataplanes",
        "diff",
        "events",
        "explain",
        "fleet",
        "history",
        "issuers",
        "openapi.json",
        "pools",
        "listeners",
        "rate-limits",
        "rollback",
        "rollouts",
        "routes",
        "scopes",
        "services",
        "store",
        "tap",
        "traffic",
        "users",
    }
)
"""First segments below /api/v1 that the admin API answers."""


def taken_away(
    index: ResourceIndex, changes: Iterable[tuple[ResourceId, Resource | None, Resource | None]]
) -> tuple[ResourceId, str] | None:
    """The change by which requests that reached the admin API through the gateway no longer do so, and what it does.

    `changes` are resources before and after, None where there is none; `index` is over all resources before. Requests
    are those of a host that no route names: hosts of routes are theirs. Nothing is taken that did not reach it before.
    """
    routes: dict[str, Route | None] = {}
    first: ResourceId | None = None
    for identity, before, after in changes:
        if isinstance(after, Service) and identity[1] == _SERVICE and _differs(before, after):
            return identity, _GATEWAY
        if not (isinstance(before, Route) or isinstance(after, Route)):
            continue
        routes[identity[1]] = after if isinstance(after, Route) else None
        if _covers(before) or _covers(after):
            first = first or identity
        if isinstance(after, Route) and (path := _shadowed(after)) and _shadowed(before) != path:
            return identity, f"{path} leads to {_target(after)} and no longer to the admin API"
    if first and _leads(_chosen(index, {})) and not _leads(_chosen(index, routes)):
        return first, _GATEWAY
    return None


def _differs(before: Resource | None, after: Resource) -> bool:
    return before is not None and any(getattr(before, field) != getattr(after, field) for field in _DECISIVE)


def _chosen(index: ResourceIndex, changed: Mapping[str, Route | None]) -> Route | None:
    """The route of reads below /api/v1 at no named host and without conditions: the one with the longest prefix, first
    one that names methods."""
    for prefix in (_API, "/api", "/"):
        there = {**index.matching(("", prefix, None, None, frozenset())), **changed}
        routes = [route for route in there.values() if route is not None]
        for route in sorted(routes, key=lambda one: not one.methods):
            reads = not route.methods or _READ in route.methods
            plain = not (route.hosts or route.headers or route.query or _elsewhere(route))
            if reads and plain and route.prefix == prefix:
                return route
    return None


def _covers(route: Resource | None) -> bool:
    if not isinstance(route, Route) or route.hosts or _elsewhere(route):
        return False
    return route.prefix in (_API, "/api", "/")


def _elsewhere(route: Route) -> bool:
    """Whether the listeners of the settings of data planes of the default pool do not serve it."""
    return not serves(route.pools, DEFAULT_POOL) or (bool(route.listeners) and DEFAULT not in route.listeners)


def _leads(route: Route | None) -> bool:
    """Whether requests of it reach the control plane, which validates tokens itself, unchanged."""
    return (
        route is not None
        and route.service_name == _SERVICE
        and route.public
        and not route.strip_prefix
        and route.rewrite in (None, route.prefix, route.path)
        and not (route.rewrite_full or route.rewrite_regex)
    )


def _target(route: Route) -> str:
    return "other services" if route.service_name is None else f"service {route.service_name!r}"


def _shadowed(route: Resource | None) -> str:
    """The path of the admin API that a route takes; empty for none."""
    if not isinstance(route, Route) or route.hosts or _leads(route) or _elsewhere(route):
        return ""
    if route.path_regex is not None:
        expression = compiled(route.path_regex)
        taken = (path for path in sorted(f"{_API}/{name}" for name in ADMIN_PATHS))
        return next((path for path in taken if expression.fullmatch(path)), "")
    match = route.path or route.prefix or ""
    below = match.removeprefix(f"{_API}/")
    return match if below != match and below.partition("/")[0] in ADMIN_PATHS else ""
