"""The table: one revision of the configuration, validated, linked and ready for the request path.

It is built beside the current one and swapped whole, so that a request sees one revision from its first byte to its
last. An invalid configuration never becomes a table: all problems are collected and raised together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from immutables import Map

from dataplane.config import listeners
from dataplane.config.items import (
    Item,
    Problem,
    ResourceKey,
    ResourceSet,
    ServerCertificate,
    TableError,
    UnlinkedRoute,
    key_of,
)
from dataplane.gateway.policy.resources import (
    DEFAULT_LISTENER,
    Instance,
    Limit,
    Listener,
    Reset,
    Route,
    Service,
    User,
    VerificationKey,
)
from dataplane.gateway.policy.router import Router
from dataplane.gateway.policy.sites import Sites
from dataplane.proxy.tls import TlsPort

__all__ = [
    "EMPTY",
    "Item",
    "Problem",
    "ResourceKey",
    "ResourceSet",
    "Steps",
    "Table",
    "TableError",
    "UnlinkedRoute",
    "build",
    "evolve",
    "evolving",
    "key_of",
    "run_steps",
]

T = TypeVar("T")
Steps = Generator[None, None, T]

STEP_ROUTES = 128
"""Routes that are linked in one step: about a millisecond."""


class BuildId:
    """Identifies one build of a table; compared by identity."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Table:
    """One revision of the configuration. Nothing in it changes after the build."""

    revision: int
    """etcd revision; 0 before any configuration arrived."""
    digest: str
    router: Router
    """For the listener of the settings."""
    routes: Map[str, Route]
    services: Map[str, Service]
    instances: Map[str, tuple[Instance, ...]]
    """By service; a service without instances has an empty tuple."""
    limits: Map[str, Limit]
    users: Map[str, User]
    keys: tuple[VerificationKey, ...]
    resets: tuple[Reset, ...]
    """Sorted by revision."""
    listeners: Map[str, Listener] = field(default_factory=Map)
    """Those of the configuration."""
    routers: Map[str, Router] = field(default_factory=Map, repr=False)
    """By name of the listener."""
    sites: Map[int, Sites] = field(default_factory=Map, repr=False)
    """By port of the listeners."""
    tls: Map[int, TlsPort] = field(default_factory=Map, repr=False)
    """By port of the listeners with TLS."""
    certificates: Map[str, ServerCertificate] = field(default_factory=Map, repr=False)
    attached: Map[str, Route] = field(default_factory=Map, repr=False)
    """The routes that name listeners."""
    touched: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Services that may differ, themselves or in their instances, from the table of `base_build`."""
    build_id: BuildId = field(default_factory=BuildId, compare=False, repr=False)
    base_build: BuildId | None = field(default=None, compare=False, repr=False)
    """`build_id` of the table that this one evolved from; the table itself would keep all earlier ones alive."""

    def services_changed_since(self, before: Table) -> Iterable[str]:
        """Services that may differ from those of `before`, themselves or in their instances."""
        if self.build_id is before.build_id:
            return ()
        if self.base_build is before.build_id:
            return self.touched
        return {**self.services, **before.services}


EMPTY = Table(0, "", Router(), Map(), Map(), Map(), Map(), Map(), (), ())
"""The table before the first configuration: revision 0, no routes."""


def build(resources: ResourceSet, revision: int = 1, digest: str = "") -> Table:
    """Validate, link and index everything. Raises TableError with every problem."""
    return evolve(EMPTY, resources, resources.keys(), revision, digest)


def evolve(
    table: Table, resources: ResourceSet, touched: Iterable[ResourceKey], revision: int, digest: str
) -> Table:
    """The table of `resources`, which differ from those of `table` in `touched` only.

    The cost grows with the number of changed items; all others are shared. Raises TableError with every problem.
    """
    return run_steps(evolving(table, resources, touched, revision, digest))


def evolving(
    table: Table, resources: ResourceSet, touched: Iterable[ResourceKey], revision: int, digest: str
) -> Steps[Table]:
    """`evolve` in steps of about a millisecond, between which other work may run."""
    touched = list(touched)
    if not touched:
        return replace(table, revision=revision, digest=digest)
    kinds = {kind for kind, _ in touched}
    stale = _stale_routes(table, resources, touched)
    relisten = not kinds.isdisjoint(("listener", "certificate"))
    routes = _RouteTable(table, resources, stale) if stale or relisten else None
    for start in range(0, len(stale), STEP_ROUTES):
        yield
        assert routes is not None
        routes.link(resources, stale[start : start + STEP_ROUTES])
    problems = [*_instance_problems(resources, touched), *(routes.problems() if routes else ())]
    if relisten:
        problems += listeners.problems_of(resources)
    if problems:
        raise TableError(problems)
    if routes:
        routes.listen(resources.listener)
    return Table(
        revision=revision,
        digest=digest,
        router=routes.router if routes else table.router,
        routes=routes.linked if routes else table.routes,
        services=resources.service,
        instances=_instances(table, resources, touched)
        if kinds & {"service", "instance"}
        else table.instances,
        limits=resources.rate_limit,
        users=resources.user,
        keys=tuple(resources.verification_key.values()) if "verification_key" in kinds else table.keys,
        resets=tuple(sorted(resources.reset.values(), key=lambda reset: reset.revision)),
        listeners=resources.listener,
        routers=routes.routers if routes else table.routers,
        sites=routes.sites if routes else table.sites,
        attached=routes.attached if routes else table.attached,
        tls=listeners.tls_of(resources, table.tls) if relisten else table.tls,
        certificates=resources.certificate,
        touched=frozenset(
            name.partition("/")[0] for kind, name in touched if kind in ("service", "instance")
        ),
        base_build=table.build_id,
    )


def run_steps(steps: Steps[T]) -> T:
    """Run all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


Touched = list[ResourceKey]


def _stale_routes(table: Table, resources: ResourceSet, touched: Touched) -> list[str]:
    """Routes that were touched, or are linked to a touched resource; sorted."""
    stale = {name for kind, name in touched if kind == "route"}
    limits = {name for kind, name in touched if kind == "rate_limit"}
    gone = _gone_services(resources, touched)
    if limits or gone:
        for name, entry in resources.route.items():
            route = entry.route
            lost = route.service in gone
            if route.forwarding is not None:
                lost = not gone.isdisjoint((*route.services, *route.mirrored_to, route.asked))
            if lost or not limits.isdisjoint(entry.limits):
                stale.add(name)
    return sorted(stale)


def _gone_services(resources: ResourceSet, touched: Touched) -> set[str]:
    return {name for kind, name in touched if kind == "service" and name not in resources.service}


def _instance_problems(resources: ResourceSet, touched: Touched) -> Iterator[Problem]:
    if _gone_services(resources, touched):
        names = sorted(resources.instance)
    else:
        names = sorted(name for kind, name in touched if kind == "instance" and name in resources.instance)
    for name in names:
        service = resources.instance[name].service
        if service not in resources.service:
            yield Problem(f"instance/{name}", "service_name", f"service {service!r} does not exist")


def _route_problems(resources: ResourceSet, names: Iterable[str]) -> Iterator[Problem]:
    for name in names:
        entry = resources.route.get(name)
        if entry is None:
            continue
        for service in entry.route.services:
            if service not in resources.service:
                field_name = "service_name" if entry.route.service else "services"
                yield Problem(f"route/{name}", field_name, f"service {service!r} does not exist")
        for position, service in enumerate(entry.route.mirrored_to):
            if service not in resources.service:
                place = f"mirrors[{position}].service_name"
                yield Problem(f"route/{name}", place, f"service {service!r} does not exist")
        if entry.route.asked and entry.route.asked not in resources.service:
            detail = f"service {entry.route.asked!r} does not exist"
            yield Problem(f"route/{name}", "authorize_with.service_name", detail)
        for position, limit in enumerate(entry.limits):
            if limit not in resources.rate_limit:
                place = f"rate_limits[{position}]"
                yield Problem(f"route/{name}", place, f"rate limit {limit!r} does not exist")


class _RouteTable:
    """The routes of the new table, and the indexes over them."""

    def __init__(self, table: Table, resources: ResourceSet, stale: Iterable[str]) -> None:
        old = [table.routes[name] for name in stale if name in table.routes]
        self.router = table.router
        self.linked = table.routes
        self.routers = table.routers
        self.attached = table.attached
        self.sites = table.sites
        self._gone = old
        self._dangling: list[Problem] = []
        for route in old:
            if route.name not in resources.route:
                self.linked = self.linked.delete(route.name)
            if route.listeners:
                self.attached = self.attached.delete(route.name)

    def link(self, resources: ResourceSet, names: list[str]) -> None:
        """Link and index some of the stale routes."""
        self._dangling += _route_problems(resources, names)
        entries = {name: entry for name in names if (entry := resources.route.get(name)) is not None}
        if self._dangling:
            return
        new = {name: _linked(entry, resources) for name, entry in entries.items()}
        self.router = self.router.changed(
            [route for route in self._gone if listeners.attaches(route, DEFAULT_LISTENER)],
            [route for route in new.values() if listeners.attaches(route, DEFAULT_LISTENER)],
        )
        self.routers = listeners.changed(self.routers, self._gone, new.values())
        self._gone = []
        self.linked = self.linked.update(new)
        self.attached = self.attached.update({name: route for name, route in new.items() if route.listeners})

    def listen(self, wanted: Map[str, Listener]) -> None:
        """Call after the last `link`: make the routers of new listeners, and the sites of all ports."""
        if wanted or self.routers:
            self.routers = listeners.completed(self.routers, self.router, self.attached, wanted)
            self.sites = listeners.sites_of(wanted, self.routers)

    def problems(self) -> list[Problem]:
        """Problems of the routes linked so far."""
        return self._dangling


def _linked(entry: UnlinkedRoute, resources: ResourceSet) -> Route:
    if not entry.limits:
        return entry.route
    return replace(entry.route, limits=tuple(resources.rate_limit[name] for name in entry.limits))


def _instances(table: Table, resources: ResourceSet, touched: Touched) -> Map[str, tuple[Instance, ...]]:
    """Every service's instances sorted by id; only touched services are rebuilt."""
    changed: dict[str, dict[str, Instance | None]] = {}
    for kind, name in touched:
        service, _, instance_id = name.partition("/")
        if kind == "service":
            changed.setdefault(service, {})
        elif kind == "instance":
            changed.setdefault(service, {})[instance_id] = resources.instance.get(name)
    groups = table.instances
    for service, instances in changed.items():
        if service not in resources.service:
            groups = groups.delete(service) if service in groups else groups
        elif instances or service not in groups:
            found = {instance.id: instance for instance in groups.get(service, ())} | instances
            left = (instance for _, instance in sorted(found.items()) if instance is not None)
            groups = groups.set(service, tuple(left))
    return groups
