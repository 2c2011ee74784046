"""The configuration as data planes get it: a whole and consistent value, and the difference between two of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

from controlplane.model import digest
from controlplane.model.capabilities import Needs, needs, updated
from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.pool import DEFAULT_POOL
from controlplane.model.resources import Instance, Pool, Resource, ResourceId
from controlplane.model.stored import Stamped

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class Snapshot:
    """Everything a data plane needs, as of one store revision."""

    revision: int
    resources: Mapping[ResourceId, Stamped]
    lineage: Lineage = UNKNOWN
    """The store it was read from. Revisions of different stores say nothing about each other."""
    total: int | None = field(default=None, repr=False, compare=False)
    """The sum that the digest is made of, when it is known already."""
    grouped: Mapping[str, Set[str]] | None = field(default=None, repr=False, compare=False)
    """`instances_of`, when it is known already."""
    needed: Needs | None = field(default=None, repr=False, compare=False)
    """`needs`, when it is known already."""
    since: int = field(default=0, repr=False, compare=False)
    """Of an extract: the revision with which its content came; 0 when unknown."""
    pools: Mapping[str, Pool] = field(default_factory=dict, repr=False, compare=False)
    """The pools, by name; without DEFAULT_POOL, which always exists. Data planes are not sent them."""
    extracts: Callable[[str], Snapshot] | None = field(default=None, repr=False, compare=False)
    """The extract for a pool that exists; None while there are no pools: all data planes are sent everything."""

    def extract(self, pool: str) -> Snapshot | None:
        """The part that data planes of this pool are sent; None for a pool that does not exist."""
        if pool != DEFAULT_POOL and pool not in self.pools:
            return None
        return self if self.extracts is None else self.extracts(pool)

    def digest_of(self, pool: str) -> str:
        """The digest of the part for a pool; empty for a pool that does not exist."""
        part = self.extract(pool)
        return part.digest if part is not None else ""

    @cached_property
    def digest(self) -> str:
        """Its content without the revision; see `model.digest`."""
        return digest.text(digest.total_of(self.resources) if self.total is None else self.total)

    @cached_property
    def instances_of(self) -> Mapping[str, Set[str]]:
        """The ids of the instances of each service, static ones too."""
        if self.grouped is not None:
            return self.grouped
        return regrouped({}, ((one, True) for one in self.resources if one[0] in GROUPED))

    @cached_property
    def services(self) -> tuple[str, ...]:
        """The names of services, sorted."""
        return tuple(sorted(self.instances_of))

    @cached_property
    def needs(self) -> Needs:
        """The capabilities that a data plane needs for it, and the resources that need them."""
        if self.needed is not None:
            return self.needed
        return updated({}, {identity: needs(one.resource) for identity, one in self.resources.items()})

    def instances(self, service_name: str) -> list[Instance]:
        """The instances of one service, sorted by id. The cost grows with the size of the result."""
        ids = sorted(self.instances_of.get(service_name, ()))
        found = (self.resources["instance", f"{service_name}/{one}"].resource for one in ids)
        return [instance for instance in found if isinstance(instance, Instance)]

    def of(self, kind: type[R]) -> dict[str, R]:
        """The resources of one kind by name, sorted."""
        resources = (stamped.resource for stamped in self.resources.values())
        found = {resource.name: resource for resource in resources if isinstance(resource, kind)}
        return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Delta:
    """The changes from the snapshot at `base_revision` to the one at `revision`."""

    base_revision: int
    base_digest: str
    revision: int
    digest: str
    changed: Mapping[ResourceId, Stamped]
    removed: tuple[ResourceId, ...]
    """Deleted resources; the base may not have had some of them."""
    lineage: Lineage = UNKNOWN


GROUPED = frozenset({"instance", "service"})
"""The kinds that `regrouped` takes."""


def regrouped(
    groups: Mapping[str, Set[str]], moved: Iterable[tuple[ResourceId, bool]]
) -> dict[str, Set[str]]:
    """The ids of instances by service, after services and instances came (true) and went (false)."""
    after = dict(groups)
    came, went = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for (kind, name), present in moved:
        if kind == "instance":
            service, _, instance = name.partition("/")
            (came if present else went)[service].add(instance)
        elif present:
            after.setdefault(name, frozenset())
        else:
            after.pop(name, None)
    for service in after.keys() & (came.keys() | went.keys()):
        after[service] = after[service] - went[service] | came[service]
    return after


MOST_SORTED = 1000
"""Names in a delta up to which they are sorted."""

EMPTY = Snapshot(0, MappingProxyType({}))
"""The state of a data plane before its first snapshot."""


def diff(old: Snapshot, new: Snapshot) -> Delta:
    """The difference between two snapshots, by the revisions of their resources."""
    return delta_from(old.revision, old.digest, new, _differing(old, new))


def delta_from(base_revision: int, base_digest: str, new: Snapshot, touched: Iterable[ResourceId]) -> Delta:
    """The delta from a base that differs from `new` in `touched` at most."""
    changed: dict[ResourceId, Stamped] = {}
    removed: list[ResourceId] = []
    for identity in _ordered(touched):
        if (stamped := new.resources.get(identity)) is None:
            removed.append(identity)
        else:
            changed[identity] = stamped
    content = MappingProxyType(changed), tuple(removed)
    return Delta(base_revision, base_digest, new.revision, new.digest, *content, new.lineage)


def _ordered(touched: Iterable[ResourceId]) -> Iterable[ResourceId]:
    """In an order that is the same each time, so that people can compare; data planes ignore the order. Sorting ten
    thousand names would hold up the event loop for longer than all the rest.
    """
    names = list(touched)
    return sorted(names) if len(names) <= MOST_SORTED else names


def _differing(old: Snapshot, new: Snapshot) -> set[ResourceId]:
    changed = {
        identity
        for identity, stamped in new.resources.items()
        if identity not in old.resources or old.resources[identity].revision != stamped.revision
    }
    return changed | (old.resources.keys() - new.resources.keys())


__all__ = ["EMPTY", "Delta", "Snapshot", "Stamped", "delta_from", "diff"]
