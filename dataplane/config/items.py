"""Decoded resources by kind and name, from which tables are built, and the problems they can have.

The maps are persistent (hash array mapped tries): a changed map shares all but a few nodes with its predecessor, so
keeping both is cheap, and the cost of a change grows with the change, not with the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace

from immutables import Map

from dataplane.gateway.policy.resources import (
    Instance,
    Limit,
    Listener,
    Reset,
    Route,
    Service,
    User,
    VerificationKey,
)
from dataplane.proxy.tls import Served

ResourceKey = tuple[str, str]
"""Kind and name, for instance ("route", "orders") or ("instance", "orders/orders-1")."""


@dataclass(frozen=True, slots=True)
class Problem:
    """The reason a configuration cannot be used."""

    resource: str
    """Kind and name, for instance "route/orders"; empty when it concerns the whole table."""
    field: str
    """Field path within the resource; may be empty."""
    detail: str

    def __str__(self) -> str:
        place = " ".join(filter(None, (self.resource, self.field)))
        return f"{place}: {self.detail}" if place else self.detail


class TableError(Exception):
    """The configuration is invalid; `problems` has every reason."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class UnlinkedRoute:
    """A route as it comes from the wire: its limits are still names, and `route.limits` is empty."""

    route: Route
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate for listeners."""

    name: str
    served: Served = field(repr=False)
    not_after: float
    """The end of its validity, Unix seconds."""
    from_files: bool = False
    """Whether this data plane reads it from its own files."""


Item = (
    ServerCertificate | Service | Instance | Listener | UnlinkedRoute | Limit | User | VerificationKey | Reset
)


@dataclass(slots=True)
class ResourceSet:
    """Decoded resources by kind and name: the input of a table. Mutable, because changes are applied in steps."""

    service: Map[str, Service] = field(default_factory=Map)
    instance: Map[str, Instance] = field(default_factory=Map)
    """By "<service>/<id>"."""
    certificate: Map[str, ServerCertificate] = field(default_factory=Map)
    listener: Map[str, Listener] = field(default_factory=Map)
    route: Map[str, UnlinkedRoute] = field(default_factory=Map)
    rate_limit: Map[str, Limit] = field(default_factory=Map)
    user: Map[str, User] = field(default_factory=Map)
    verification_key: Map[str, VerificationKey] = field(default_factory=Map)
    reset: Map[str, Reset] = field(default_factory=Map)

    @classmethod
    def of(cls, *items: Item) -> ResourceSet:
        """A set of these items, each under its `key_of`."""
        resources = cls()
        for item in items:
            resources.put(key_of(item), item)
        return resources

    def put(self, key: ResourceKey, item: Item) -> None:
        """Add or replace one resource. KeyError for an unknown kind."""
        kind, name = key
        setattr(self, kind, self._kind(kind).set(name, item))

    def remove(self, key: ResourceKey) -> None:
        """Remove one resource if it exists. KeyError for an unknown kind."""
        kind, name = key
        items = self._kind(kind)
        if name in items:
            setattr(self, kind, items.delete(name))

    def get(self, key: ResourceKey) -> Item | None:
        """One resource, or None. KeyError for an unknown kind."""
        return self._kind(key[0]).get(key[1])

    def keys(self) -> Iterator[ResourceKey]:
        """Kind and name of every resource."""
        return ((kind, name) for kind in KINDS for name in self._kind(kind))

    def copy(self) -> ResourceSet:
        """A copy that changes independently of this set; O(1)."""
        return replace(self)

    def _kind(self, kind: str) -> Map[str, Item]:
        if kind not in KINDS:
            raise KeyError(kind)
        items: Map[str, Item] = getattr(self, kind)
        return items


KINDS = frozenset(each.name for each in fields(ResourceSet))
"""Names of the kinds, as in ResourceName.kind on the wire."""


def key_of(item: Item) -> ResourceKey:
    """Kind and name of a resource."""
    match item:
        case Service():
            return "service", item.name
        case Instance():
            return "instance", f"{item.service}/{item.id}"
        case ServerCertificate():
            return "certificate", item.name
        case Listener():
            return "listener", item.name
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
