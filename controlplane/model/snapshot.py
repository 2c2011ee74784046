"""The configuration as data planes get it: a whole and consistent value, and the difference between two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

from controlplane.model import digest
from controlplane.model.capabilities import Needs, needs, updated
from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.resources import Resource, ResourceId
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
    counted: Mapping[str, int] | None = field(default=None, repr=False, compare=False)
    """`instances_of`, when it is known already."""
    needed: Needs | None = field(default=None, repr=False, compare=False)
    """`needs`, when it is known already."""

    @cached_property
    def digest(self) -> str:
        """What is in it, whatever its revision; see `model.digest`."""
        return digest.text(digest.total_of(self.resources) if self.total is None else self.total)

    @cached_property
    def instances_of(self) -> Mapping[str, int]:
        """How many instances each service has, static ones too."""
        if self.counted is not None:
            return self.counted
        return recounted({}, ((one, 1) for one in self.resources if one[0] in COUNTED))

    @cached_property
    def needs(self) -> Needs:
        """The capabilities that a data plane must have to be given it, and what needs them."""
        if self.needed is not None:
            return self.needed
        return updated({}, {identity: needs(one.resource) for identity, one in self.resources.items()})

    def of(self, kind: type[R]) -> dict[str, R]:
        """The resources of one kind by name, sorted."""
        resources = (stamped.resource for stamped in self.resources.values())
        found = {resource.name: resource for resource in resources if isinstance(resource, kind)}
        return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Delta:
    """What turns the snapshot at `base_revision` into the one at `revision`."""

    base_revision: int
    base_digest: str
    revision: int
    digest: str
    changed: Mapping[ResourceId, Stamped]
    removed: tuple[ResourceId, ...]
    """Those that are not there any more; the base may not have had some of them."""
    lineage: Lineage = UNKNOWN


COUNTED = frozenset({"instance", "service"})
"""The kinds that `recounted` takes."""


def recounted(counts: Mapping[str, int], moved: Iterable[tuple[ResourceId, int]]) -> dict[str, int]:
    """Instances by service, after services and instances came (1) and went (-1)."""
    after = dict(counts)
    instances: list[tuple[str, int]] = []
    for (kind, name), by in moved:
        if kind == "instance":
            instances.append((name.partition("/")[0], by))
        elif by > 0:
            after.setdefault(name, 0)
        else:
            after.pop(name, None)
    for service, by in instances:
        if service in after:
            after[service] += by
    return after


EMPTY = Snapshot(0, MappingProxyType({}))
"""What a data plane has before its first snapshot."""


def diff(old: Snapshot, new: Snapshot) -> Delta:
    """What differs between two snapshots, by the revisions of their resources."""
    return delta_from(old.revision, old.digest, new, _differing(old, new))


def delta_from(base_revision: int, base_digest: str, new: Snapshot, touched: Iterable[ResourceId]) -> Delta:
    """The delta from a base that differs from `new` in `touched` at most."""
    changed: dict[ResourceId, Stamped] = {}
    removed: list[ResourceId] = []
    for identity in sorted(touched):
        if (stamped := new.resources.get(identity)) is None:
            removed.append(identity)
        else:
            changed[identity] = stamped
    content = MappingProxyType(changed), tuple(removed)
    return Delta(base_revision, base_digest, new.revision, new.digest, *content, new.lineage)


def _differing(old: Snapshot, new: Snapshot) -> set[ResourceId]:
    changed = {
        identity
        for identity, stamped in new.resources.items()
        if identity not in old.resources or old.resources[identity].revision != stamped.revision
    }
    return changed | (old.resources.keys() - new.resources.keys())


__all__ = ["EMPTY", "Delta", "Snapshot", "Stamped", "delta_from", "diff"]
