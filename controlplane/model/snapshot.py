"""The configuration as data planes get it: a whole and consistent value, and the difference between two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.problems import InconsistentConfig
from controlplane.model.resources import Instance, Resource, ResourceId, Service, User
from controlplane.model.stored import Reader, Stamped, StoredEntry, without_secrets
from controlplane.model.validate import Declared, check_references

R = TypeVar("R", bound=Resource)

NEEDED = frozenset({"service", "instance", "route", "rate_limit", "user", "verification_key", "reset"})
"""The kinds that data planes need. Scopes are not among them: routes and users name the ones that matter."""


@dataclass(frozen=True)
class Snapshot:
    """Everything a data plane needs, as of one store revision."""

    revision: int
    resources: Mapping[ResourceId, Stamped]
    lineage: Lineage = UNKNOWN
    """The store it was read from. Revisions of different stores say nothing about each other."""

    @cached_property
    def digest(self) -> str:
        """SHA-256, hex, over the sorted lines "<kind> <name> <revision>\\n" of all resources."""
        lines = sorted(
            f"{kind} {name} {stamped.revision}\n" for (kind, name), stamped in self.resources.items()
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

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
    lineage: Lineage = UNKNOWN


EMPTY = Snapshot(0, MappingProxyType({}))
"""What a data plane has before it heard anything."""


def build(entries: Iterable[StoredEntry], revision: int, reader: Reader | None = None) -> Snapshot:
    """Make the snapshot of the store's entries as of `revision`.

    Raises InconsistentConfig, with everything that is wrong, when an entry does not parse or a reference leads
    nowhere; field paths begin with `kind/name`. A `reader` that is kept from one build to the next spares parsing
    what did not change.
    """
    reading = (reader or Reader()).read(entries)
    problems = list(reading.problems)
    config = {identity: stamped.resource for identity, stamped in reading.resources.items()}
    declared = [
        Declared(kind, name, f"{kind}/{name}", vars(resource), resource)
        for (kind, name), resource in config.items()
        if kind != "instance"
    ]
    problems += check_references({}, declared, also=reading.unreadable)
    if problems:
        raise InconsistentConfig(problems)
    return Snapshot(revision, MappingProxyType(dict(_needed(reading.resources))))


def diff(old: Snapshot, new: Snapshot) -> Delta:
    """What differs between two snapshots, by the revisions of their resources."""
    changed = {
        identity: stamped
        for identity, stamped in new.resources.items()
        if identity not in old.resources or old.resources[identity].revision != stamped.revision
    }
    removed = tuple(sorted(identity for identity in old.resources if identity not in new.resources))
    return Delta(
        old.revision, old.digest, new.revision, new.digest, MappingProxyType(changed), removed, new.lineage
    )


def _needed(resources: Mapping[ResourceId, Stamped]) -> Iterator[tuple[ResourceId, Stamped]]:
    for stamped in resources.values():
        if isinstance(stamped.resource, Service):
            yield from _static_instances(stamped.resource, stamped.revision)
    for identity, stamped in resources.items():
        resource = stamped.resource
        if isinstance(resource, User):
            yield identity, Stamped(without_secrets(resource), stamped.revision)
        elif isinstance(resource, Instance) and ("service", resource.service_name) not in resources:
            # A registration may cross the deletion of its service; it ends with its lease.
            continue
        elif identity[0] in NEEDED:
            # After the static instances: one that registered under the same name takes its place.
            yield identity, stamped


def _static_instances(service: Service, revision: int) -> Iterator[tuple[ResourceId, Stamped]]:
    for static in service.instances:
        instance = Instance(service_name=service.service_name, **dict(static))
        yield ("instance", instance.name), Stamped(instance, revision)


__all__ = ["EMPTY", "NEEDED", "Delta", "Snapshot", "Stamped", "build", "diff"]
