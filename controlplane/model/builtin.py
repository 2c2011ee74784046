"""The resources that the control plane creates for itself, and the consequences of their deletion or change."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.model.access import ADMIN, READ
from controlplane.model.resources import Resource, ResourceId, Route

_GATEWAY = "the gateway no longer routes /api/v1 to the admin API"

BUILT_IN: Mapping[ResourceId, str] = {
    ("scope", READ): "no user can be given the right to read the admin API",
    ("scope", ADMIN): "no user can be given the right to change the configuration",
    ("service", "controlplane"): _GATEWAY,
    ("route", "headgate-api"): _GATEWAY,
}
"""The consequence of their deletion, by identity."""

_ROUTE = "route", "headgate-api"
_API = "/api/v1"
_READ = "GET"


def defeated(identity: ResourceId, before: Resource | None, after: Resource) -> str:
    """The consequence of a change that takes the purpose from a built-in resource; empty if it keeps it, or had none.

    Of the route alone: a scope has no fields to lose, and the service's settings do not decide where its requests go.
    """
    return _GATEWAY if identity == _ROUTE and _routes(before) and not _routes(after) else ""


def _routes(route: Resource | None) -> bool:
    """Whether it leads reads of the admin API to the control plane."""
    if not isinstance(route, Route) or route.service_name != "controlplane":
        return False
    covers = route.prefix is not None and f"{_API}/".startswith(f"{route.prefix.rstrip('/')}/")
    reads = not route.methods or _READ in route.methods
    return covers and reads and not route.strip_prefix and route.rewrite in (None, route.prefix)
