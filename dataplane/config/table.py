"""The table: one revision of the configuration, checked, linked and ready for the request path.

Built aside from plain resources and swapped whole, so that a request sees one revision from its first byte to
its last. A table that does not check out is never built: every problem is collected and raised together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dataplane.policy.resources import Instance, Limit, Reset, Route, Service, User, VerificationKey
from dataplane.policy.router import Router

ResourceKey = tuple[str, str]
"""Kind and name, for instance ("route", "orders") or ("instance", "orders/orders-1")."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a configuration cannot be used."""

    resource: str
    """Kind and name, for instance "route/orders"; empty when the whole table is meant."""
    field: str
    """Field path within the resource; may be empty."""
    detail: str

    def __str__(self) -> str:
        place = " ".join(filter(None, (self.resource, self.field)))
        return f"{place}: {self.detail}" if place else self.detail


class TableError(Exception):
    """The configuration cannot become a table; `problems` names every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class UnlinkedRoute:
    """A route as it comes from the wire: its limits are still names, and `route.limits` is empty."""

    route: Route
    limits: tuple[str, ...] = ()


Item = Service | Instance | UnlinkedRoute | Limit | User | VerificationKey | Reset


@dataclass(slots=True)
class Resources:
    """The parts a table is built from, by kind and name. Mutable, because changes are applied in steps."""

    service: dict[str, Service] = field(default_factory=dict)
    instance: dict[str, Instance] = field(default_factory=dict)
    """By "<service>/<id>"."""
    route: dict[str, UnlinkedRoute] = field(default_factory=dict)
    rate_limit: dict[str, Limit] = field(default_factory=dict)
    user: dict[str, User] = field(default_factory=dict)
    verification_key: dict[str, VerificationKey] = field(default_factory=dict)
    reset: dict[str, Reset] = field(default_factory=dict)

    @classmethod
    def of(cls, *items: Item) -> Resources:
        """Resources under their own names; a reset under its revision."""
        resources = cls()
        for item in items:
            resources.put(key_of(item), item)
        return resources

    def put(self, key: ResourceKey, item: Item) -> None:
        """Add or replace one resource. KeyError for a kind that does not exist."""
        self._kind(key[0])[key[1]] = item

    def remove(self, key: ResourceKey) -> None:
        """Forget one resource; one that is not there is no error. KeyError for a kind that does not exist."""
        self._kind(key[0]).pop(key[1], None)

    def copy(self) -> Resources:
        """Independent dictionaries over the same frozen values."""
        return Resources(**{kind: dict(getattr(self, kind)) for kind in self.__slots__})

    def _kind(self, kind: str) -> dict[str, Item]:
        if kind not in self.__slots__:
            raise KeyError(kind)
        items: dict[str, Item] = getattr(self, kind)
        return items


def key_of(item: Item) -> ResourceKey:
    """Kind and name of a resource."""
    match item:
        case Service():
            return "service", item.name
        case Instance():
            return "instance", f"{item.service}/{item.id}"
        case UnlinkedRoute():
            return "route", item.route.name
        case Limit():
            return "rate_limit", item.name
        case User():
            return "user", item.name
        case VerificationKey():
            return "verification_key", item.id
        case Reset():
            return "reset", str(item.revision)


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


def build(resources: Resources, revision: int = 0, digest: str = "") -> Table:
    """Link and check everything, then index it. Raises TableError with every problem found."""
    problems = list(_problems(resources))
    if problems:
        raise TableError(problems)
    routes = {name: _linked(entry, resources.rate_limit) for name, entry in resources.route.items()}
    return Table(
        revision=revision,
        digest=digest,
        router=Router(routes.values()),
        routes=routes,
        services=dict(resources.service),
        instances=_by_service(resources),
        limits=dict(resources.rate_limit),
        users=dict(resources.user),
        keys=tuple(resources.verification_key.values()),
        resets=tuple(sorted(resources.reset.values(), key=lambda reset: reset.revision)),
    )


def _linked(entry: UnlinkedRoute, limits: Mapping[str, Limit]) -> Route:
    if not entry.limits:
        return entry.route
    return replace(entry.route, limits=tuple(limits[name] for name in entry.limits))


def _by_service(resources: Resources) -> dict[str, tuple[Instance, ...]]:
    grouped: dict[str, list[Instance]] = {name: [] for name in resources.service}
    for _, instance in sorted(resources.instance.items()):
        grouped[instance.service].append(instance)
    return {name: tuple(instances) for name, instances in grouped.items()}


def _problems(resources: Resources) -> Iterator[Problem]:
    for name, instance in resources.instance.items():
        if instance.service not in resources.service:
            yield Problem(f"instance/{name}", "service_name", f"service {instance.service!r} does not exist")
    matches: dict[object, str] = {}
    for name, entry in resources.route.items():
        yield from _route_problems(name, entry, resources)
        route = entry.route
        match = (frozenset(route.hosts), route.prefix, route.path, route.methods)
        if (other := matches.setdefault(match, name)) != name:
            yield Problem(f"route/{name}", "", f"matches the same requests as route {other!r}")


def _route_problems(name: str, entry: UnlinkedRoute, resources: Resources) -> Iterator[Problem]:
    if entry.route.service not in resources.service:
        yield Problem(f"route/{name}", "service_name", f"service {entry.route.service!r} does not exist")
    for position, limit in enumerate(entry.limits):
        if limit not in resources.rate_limit:
            yield Problem(f"route/{name}", f"rate_limits[{position}]", f"rate limit {limit!r} does not exist")


EMPTY = build(Resources())
"""The table before any configuration arrived: revision 0, no routes."""
