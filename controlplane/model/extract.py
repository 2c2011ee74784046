"""The extract of the configuration for one pool of data planes: only what the pool needs, updated change by change.

A listener or route is for the pools that it names, or for all; a route only where a data plane has one of its
listeners. Everything else follows: a resource that a resource of the extract names (`Resource.REFERENCES`) is in the
extract, with its instances; users and verification keys are, where a route asks for a token. The default pool also has
what no resource names, except secrets: without pools it has everything.

The cost of a change grows with the change, and with the names that the changed resources refer to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Final, TypeVar

from controlplane.model import digest
from controlplane.model.capabilities import Need, Needs, needs, updated
from controlplane.model.listener import DEFAULT
from controlplane.model.pool import DEFAULT_POOL, serves
from controlplane.model.resources import (
    Instance,
    Listener,
    Reset,
    Resource,
    ResourceId,
    Route,
    Service,
    model_of,
    references,
)
from controlplane.model.snapshot import EMPTY, GROUPED, Snapshot, regrouped
from controlplane.model.stored import Stamped

T = TypeVar("T")

CALLERS: Final[ResourceId] = ("", "callers")
"""A route that asks for a token refers to this: to everything that data planes know callers by."""


class Extractor:
    """Follows the snapshots, and holds the extract of the last one."""

    def __init__(self, pool: str) -> None:
        self.current = EMPTY
        """The extract of the last snapshot."""
        self._pool = pool
        self._whole: Mapping[ResourceId, Stamped] = {}
        self._instances_of: Mapping[str, Set[str]] = {}
        self._resets: dict[str, set[ResourceId]] = {}
        """Orders to reset the breaker of each service."""
        self._uses = Counter[ResourceId]()
        """Number of resources of the extract that refer to each name."""
        self._claims = Counter[ResourceId]()
        """The same for all resources; counted for the default pool only."""
        self._attached: dict[str, set[str]] = {}
        """Names of the routes that name each listener."""
        self._held: dict[ResourceId, Stamped] = {}
        self._total = 0

    def follow(self, snapshot: Snapshot, touched: Collection[ResourceId]) -> frozenset[ResourceId]:
        """Take the next snapshot, which differs from the last one in `touched` at most. Returns the names in which the
        extracts differ."""
        before = self._whole
        self._whole, self._instances_of = snapshot.resources, snapshot.instances_of
        self._held = dict(self.current.resources) if touched else {}
        moved = set[ResourceId]()
        self._claim(before, touched, moved)
        replaced = set[ResourceId]()
        due = {*touched, *self._rerouted(before, touched)}
        while due := {*due, *(one for target in moved for one in self._members(target))}:
            # Names that were wanted for a moment in between are looked at again, too.
            moved = set()
            replaced.update(identity for identity in due if self._review(identity, moved))
            due = set()
        return self._finish(snapshot, replaced)

    # What refers to what

    def _claim(
        self,
        before: Mapping[ResourceId, Stamped],
        touched: Iterable[ResourceId],
        moved: set[ResourceId],
    ) -> None:
        """Count the references of all resources, and index the routes by listener."""
        for identity in touched:
            for found, number in ((before.get(identity), -1), (self._whole.get(identity), 1)):
                if found is None:
                    continue
                if self._pool == DEFAULT_POOL:
                    self._count(self._claims, found.resource, number, moved)
                self._index(identity, found.resource, present=number > 0)

    def _index(self, identity: ResourceId, resource: Resource, *, present: bool) -> None:
        if isinstance(resource, Route):
            for listener in resource.listeners:
                _put(self._attached, listener, resource.name, present=present)
        elif isinstance(resource, Reset) and resource.circuit is not None:
            _put(self._resets, resource.circuit, identity, present=present)

    def _rerouted(
        self, before: Mapping[ResourceId, Stamped], touched: Iterable[ResourceId]
    ) -> Iterator[ResourceId]:
        """Routes whose listeners came to the pool, or left it."""
        for kind, name in touched:
            if kind == Listener.KIND and self._opens(before, name) is not self._opens(self._whole, name):
                yield from ((Route.KIND, route) for route in self._attached.get(name, ()))

    def _count(
        self, counts: Counter[ResourceId], resource: Resource, number: int, moved: set[ResourceId]
    ) -> None:
        """Count the references of a resource; `moved` gets the names that are wanted now, or no longer."""
        for target in links(resource):
            before = self._wants(target)
            counts[target] += number
            if not counts[target]:
                del counts[target]
            if self._wants(target) is not before:
                moved.add(target)

    # What belongs to the extract

    def _review(self, identity: ResourceId, moved: set[ResourceId]) -> bool:
        """Bring one resource up to date; whether it changed. `moved`: see `_count`."""
        old, new = self._held.get(identity), self._whole.get(identity)
        if new is not None and not self._belongs(identity, new.resource):
            new = None
        if (old and old.revision) == (new and new.revision):
            return False
        if old is not None:
            self._count(self._uses, old.resource, -1, moved)
            self._total -= digest.share(identity, old.revision)
            del self._held[identity]
        if new is not None:
            self._count(self._uses, new.resource, 1, moved)
            self._total += digest.share(identity, new.revision)
            self._held[identity] = new
        return True

    def _belongs(self, identity: ResourceId, resource: Resource) -> bool:
        match resource:
            case Listener():
                return serves(resource.pools, self._pool)
            case Route():
                return serves(resource.pools, self._pool) and self._reaches(resource)
            case Instance():
                return self._wants((Service.KIND, resource.service_name))
            case Reset():
                # A caller may have buckets everywhere.
                return resource.circuit is None or self._wants((Service.KIND, resource.circuit))
        return self._wants(CALLERS if resource.FOR_CALLERS else identity)

    def _reaches(self, route: Route) -> bool:
        """Whether a data plane of the pool has a listener for it."""
        if not route.listeners or DEFAULT in route.listeners:
            return True
        return any(self._opens(self._whole, name) for name in route.listeners)

    def _opens(self, resources: Mapping[ResourceId, Stamped], name: str) -> bool:
        found = resources.get((Listener.KIND, name))
        return (
            found is not None
            and isinstance(found.resource, Listener)
            and serves(found.resource.pools, self._pool)
        )

    def _wants(self, target: ResourceId) -> bool:
        if target in self._uses:
            return True
        if self._pool != DEFAULT_POOL or target in self._claims:
            return False
        model = model_of(target[0])
        return model is None or not model.SECRET

    def _members(self, target: ResourceId) -> Iterator[ResourceId]:
        """The resources that are in the extract if the target is wanted."""
        kind, name = target
        if target == CALLERS:
            for resources in (self._whole, self._held):
                yield from (one for one, found in resources.items() if found.resource.FOR_CALLERS)
            return
        yield target
        if kind == Service.KIND:
            yield from ((Instance.KIND, f"{name}/{one}") for one in self._instances_of.get(name, ()))
            yield from self._resets.get(name, ())

    # The result

    def _finish(self, snapshot: Snapshot, replaced: Iterable[ResourceId]) -> frozenset[ResourceId]:
        before = self.current
        differing = {one for one in replaced if _revision(before, one) != _revision_in(self._held, one)}
        moved, needed = list[tuple[ResourceId, bool]](), dict[ResourceId, tuple[Need, ...]]()
        for identity in differing:
            now = self._held.get(identity)
            if before is not EMPTY:
                needed[identity] = needs(now.resource) if now else ()
            if identity[0] in GROUPED and (identity in before.resources) != (now is not None):
                moved.append((identity, now is not None))
        groups: Mapping[str, Set[str]] = (
            regrouped(before.instances_of, moved) if moved else before.instances_of
        )
        if before is EMPTY:
            wants = _restricted(snapshot.needs, self._held)
        else:
            wants = updated(before.needs, needed) if needed else before.needs
        held = self._held if differing else before.resources
        since = snapshot.revision if differing else before.since
        self.current = Snapshot(
            snapshot.revision, held, snapshot.lineage, self._total, groups, wants, since=since
        )
        return frozenset(differing)


def links(resource: Resource) -> Iterator[ResourceId]:
    """The names that a resource refers to, of kinds that data planes are sent because of it."""
    if isinstance(resource, Instance):
        return  # it comes with its service, and does not bring it
    for _, target in references(resource.KIND, vars(resource)):
        model = model_of(target[0])
        if target[0] != Listener.KIND and model is not None and model.DATA_PLANES:
            yield target
    if isinstance(resource, Route) and not resource.public:
        yield CALLERS


def extract(snapshot: Snapshot, pool: str) -> Snapshot:
    """The extract of one snapshot, made from the beginning."""
    extractor = Extractor(pool)
    extractor.follow(snapshot, snapshot.resources.keys())
    return extractor.current


def extract_past(
    current: Snapshot, pool: str, changed: Iterable[Stamped], removed: Iterable[ResourceId]
) -> tuple[tuple[Stamped, ...], tuple[ResourceId, ...]]:
    """The difference from the current extract to an earlier one; `changed` and `removed` lead from the current whole
    snapshot to the earlier one. Pools are the current ones."""
    part = current.extract(pool)
    if part is current or part is None:
        return (tuple(changed), tuple(removed)) if part is not None else ((), ())
    gone = set(removed)
    kept = {identity: one for identity, one in current.resources.items() if identity not in gone}
    earlier = {**kept, **{(one.resource.KIND, one.resource.name): one for one in changed}}
    past = extract(Snapshot(current.revision, earlier, current.lineage), pool).resources
    differing = (one for identity, one in past.items() if part.resources.get(identity) is not one)
    return tuple(differing), tuple(part.resources.keys() - past.keys())


def _restricted(needed: Needs, held: Mapping[ResourceId, Stamped]) -> Needs:
    """The capabilities that some of the resources need."""
    kept = (
        (capability, {identity: field for identity, field in where.items() if identity in held})
        for capability, where in needed.items()
    )
    return {capability: where for capability, where in kept if where}


def _put(index: dict[str, set[T]], key: str, member: T, *, present: bool) -> None:
    members = index.setdefault(key, set())
    (members.add if present else members.discard)(member)
    if not members:
        del index[key]


def _revision(snapshot: Snapshot, identity: ResourceId) -> int | None:
    return _revision_in(snapshot.resources, identity)


def _revision_in(resources: Mapping[ResourceId, Stamped], identity: ResourceId) -> int | None:
    found = resources.get(identity)
    return found.revision if found is not None else None
