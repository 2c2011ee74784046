"""The table: one revision of the configuration, checked, linked and ready for the request path.

Built aside from plain resources and swapped whole, so that a request sees one revision from its first byte to
its last. A table that does not check out is never built: every problem is collected and raised together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dataplane.config.resources import (
    Item,
    Problem,
    ResourceKey,
    Resources,
    TableError,
    UnlinkedRoute,
    key_of,
)
from dataplane.policy.resources import Instance, Limit, Reset, Route, Service, User, VerificationKey
from dataplane.policy.router import Router

__all__ = [
    "EMPTY",
    "Item",
    "Problem",
    "ResourceKey",
    "Resources",
    "Table",
    "TableError",
    "UnlinkedRoute",
    "build",
    "evolve",
    "key_of",
]

Match = tuple[frozenset[str], str | None, str | None, frozenset[str]]
"""What a route matches: hosts, prefix, path, methods."""


@dataclass(frozen=True, slots=True)
class Table:
    """One configuration revision. Everything in it is immutable or never changed after the build."""

    revision: int
    """etcd revision; 0 before any configuration arrived."""
    digest: str
    router: Router
    routes: Mapping[str, Route]
    services: Mapping[str, Service]
    instances: Mapping[str, tuple[Instance, ...]]
    """By service name; every service has an entry, which is empty when nothing is registered."""
    limits: Mapping[str, Limit]
    users: Mapping[str, User]
    keys: tuple[VerificationKey, ...]
    resets: tuple[Reset, ...]
    """By rising revision."""
    matches: Mapping[Match, str] = field(repr=False)
    """Which route matches what: no two match the same."""


EMPTY = Table(0, "", Router(), {}, {}, {}, {}, {}, (), (), {})
"""The table before any configuration arrived: revision 0, no routes."""


def build(resources: Resources, revision: int = 1, digest: str = "") -> Table:
    """Link and check everything, then index it. Raises TableError with every problem found."""
    return evolve(EMPTY, resources, resources.keys(), revision, digest)


def evolve(
    table: Table, resources: Resources, touched: Iterable[ResourceKey], revision: int, digest: str
) -> Table:
    """The table of `resources`, given that they differ from those of `table` in `touched` only.

    The cost grows with what was touched; of the rest only the outermost dictionaries are copied. Raises TableError
    with every problem found.
    """
    touched = sorted(touched)
    stale = _stale_routes(resources, touched)
    old = [table.routes[name] for name in stale if name in table.routes]
    problems = [*_instance_problems(resources, touched), *_route_problems(resources, stale)]
    matches, collisions = _matches(table, old, resources, stale)
    problems += collisions
    if problems:
        raise TableError(problems)
    new = {name: _linked(resources.route[name], resources) for name in stale if name in resources.route}
    kinds = {kind for kind, _ in touched}
    return Table(
        revision=revision,
        digest=digest,
        router=table.router.changed(old, new.values()) if stale else table.router,
        routes=_replaced(table.routes, stale, new) if stale else table.routes,
        services=dict(resources.service) if "service" in kinds else table.services,
        instances=_instances(table, resources, touched)
        if kinds & {"service", "instance"}
        else table.instances,
        limits=dict(resources.rate_limit) if "rate_limit" in kinds else table.limits,
        users=dict(resources.user) if "user" in kinds else table.users,
        keys=tuple(resources.verification_key.values()),
        resets=tuple(sorted(resources.reset.values(), key=lambda reset: reset.revision)),
        matches=matches,
    )


Touched = list[ResourceKey]


def _stale_routes(resources: Resources, touched: Touched) -> list[str]:
    """Routes that were touched, or are linked to something that was; sorted."""
    stale = {name for kind, name in touched if kind == "route"}
    limits = {name for kind, name in touched if kind == "rate_limit"}
    gone = _gone_services(resources, touched)
    if limits or gone:
        for name, entry in resources.route.items():
            if entry.route.service in gone or not limits.isdisjoint(entry.limits):
                stale.add(name)
    return sorted(stale)


def _gone_services(resources: Resources, touched: Touched) -> set[str]:
    return {name for kind, name in touched if kind == "service" and name not in resources.service}


def _instance_problems(resources: Resources, touched: Touched) -> Iterator[Problem]:
    if _gone_services(resources, touched):
        names = sorted(resources.instance)
    else:
        names = [name for kind, name in touched if kind == "instance" and name in resources.instance]
    for name in names:
        service = resources.instance[name].service
        if service not in resources.service:
            yield Problem(f"instance/{name}", "service_name", f"service {service!r} does not exist")


def _route_problems(resources: Resources, names: Iterable[str]) -> Iterator[Problem]:
    for name in names:
        entry = resources.route.get(name)
        if entry is None:
            continue
        if entry.route.service not in resources.service:
            yield Problem(f"route/{name}", "service_name", f"service {entry.route.service!r} does not exist")
        for position, limit in enumerate(entry.limits):
            if limit not in resources.rate_limit:
                place = f"rate_limits[{position}]"
                yield Problem(f"route/{name}", place, f"rate limit {limit!r} does not exist")


def _matches(
    table: Table, old: Iterable[Route], resources: Resources, names: Iterable[str]
) -> tuple[Mapping[Match, str], list[Problem]]:
    """Who matches what after the change, and the routes that would match the same as another."""
    matches = dict(table.matches)
    for route in old:
        del matches[_match(route)]
    problems = []
    for name in names:
        entry = resources.route.get(name)
        if entry is not None and (other := matches.setdefault(_match(entry.route), name)) != name:
            problems.append(Problem(f"route/{name}", "", f"matches the same requests as route {other!r}"))
    return matches, problems


def _match(route: Route) -> Match:
    return frozenset(route.hosts), route.prefix, route.path, route.methods


def _linked(entry: UnlinkedRoute, resources: Resources) -> Route:
    if not entry.limits:
        return entry.route
    return replace(entry.route, limits=tuple(resources.rate_limit[name] for name in entry.limits))


def _replaced(
    routes: Mapping[str, Route], stale: Iterable[str], new: Mapping[str, Route]
) -> dict[str, Route]:
    replaced = dict(routes)
    for name in stale:
        replaced.pop(name, None)
    replaced.update(new)
    return replaced


def _instances(table: Table, resources: Resources, touched: Touched) -> dict[str, tuple[Instance, ...]]:
    """Every service's instances by rising id; only those of services that were touched are put together anew."""
    grouped = {name: table.instances.get(name, ()) for name in resources.service}
    changed: dict[str, dict[str, Instance | None]] = {}
    for kind, name in touched:
        service, _, instance_id = name.partition("/")
        if kind == "instance" and service in grouped:
            changed.setdefault(service, {})[instance_id] = resources.instance.get(name)
    for service, instances in changed.items():
        found = {instance.id: instance for instance in grouped[service]} | instances
        grouped[service] = tuple(instance for _, instance in sorted(found.items()) if instance is not None)
    return grouped
