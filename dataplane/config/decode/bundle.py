"""A whole configuration as it travels: received from the control plane, kept on disk, handed on to the workers.

Workers are sent only what differs from what they have, in parts of bounded size, so that taking one in never stalls
traffic. The parts of one change carry the same base and target; the last one completes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from dataplane.config.decode.resource import decode
from dataplane.config.table import Item, Problem, ResourceKey, TableError
from headgate_api.v1 import config_pb2 as pb
from headgate_api.v1.resources_pb2 import Resource

PART_RESOURCES = 64
"""Most resources in one part: about half a millisecond of decoding in a worker."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Every resource of one revision, not looked into yet."""

    revision: int
    digest: str
    resources: Mapping[ResourceKey, Resource] = field(repr=False)
    lineage: str = ""
    """Id of the store that it was read from; empty when that is not known."""
    epoch: int = 0
    """When an operator last confirmed that store, in Unix milliseconds; 0 for never."""

    def behind(self, served: Bundle) -> str:
        """Why this must not take the place of `served`; empty when it may. See Lineage in config.proto."""
        if not served.revision or self.epoch > served.epoch:
            return ""
        if self.lineage and served.lineage and self.lineage != served.lineage:
            return f"comes from another store than the configuration served, revision {served.revision}"
        if self.epoch < served.epoch or self.revision < served.revision:
            return f"is older than the configuration served, revision {served.revision}"
        return ""


NOTHING = Bundle(0, "", {})
"""What a worker has before its first change."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a change, decoded."""

    base_revision: int
    base_digest: str
    revision: int
    digest: str
    changed: tuple[tuple[ResourceKey, Item], ...]
    removed: tuple[ResourceKey, ...]
    problems: tuple[Problem, ...] = ()
    """Everything that is wrong with any of its resources; those are not among the changed ones."""


def unpack(snapshot: pb.Snapshot) -> Bundle:
    """The bundle of a snapshot; raises TableError when it is not whole: a name twice, a digest that does not fit."""
    resources: dict[ResourceKey, Resource] = {}
    problems = []
    for resource in snapshot.resources:
        key = (resource.WhichOneof("body") or "", resource.name)
        if not key[0]:
            problems.append(Problem(f"/{resource.name}", "body", "is of no kind that this version knows"))
        elif key in resources:
            problems.append(Problem("/".join(key), "", "is there twice"))
        resources[key] = resource
    if not problems and snapshot.digest != digest_of(resources):
        problems.append(Problem("", "digest", "does not fit the resources of the snapshot"))
    if snapshot.revision < 1:
        problems.append(Problem("", "revision", f"must be 1 or more, not {snapshot.revision}"))
    if problems:
        raise TableError(problems)
    return Bundle(snapshot.revision, snapshot.digest, resources, snapshot.lineage.id, snapshot.lineage.epoch)


def digest_of(resources: Mapping[ResourceKey, Resource]) -> str:
    """SHA-256, hex, over the sorted lines "<kind> <name> <revision>\\n", as config.proto defines it."""
    lines = sorted(f"{kind} {name} {body.revision}\n" for (kind, name), body in resources.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def to_bytes(bundle: Bundle) -> bytes:
    """The bundle as bytes for the disk."""
    lineage = pb.Lineage(id=bundle.lineage, epoch=bundle.epoch)
    snapshot = pb.Snapshot(revision=bundle.revision, digest=bundle.digest, lineage=lineage)
    snapshot.resources.extend(bundle.resources.values())
    return snapshot.SerializeToString()


def from_bytes(data: bytes) -> Bundle:
    """What `to_bytes` was given; raises TableError for anything else."""
    try:
        return unpack(pb.Snapshot.FromString(data))
    except DecodeError:
        raise TableError([Problem("", "", "is not a snapshot")]) from None


def difference(have: Bundle, want: Bundle) -> Iterator[bytes]:
    """The parts that lead from `have` to `want`: at least one, also when only the revision moved."""
    changed = [body for key, body in want.resources.items() if not _unchanged(have.resources.get(key), body)]
    removed = [key for key in have.resources if key not in want.resources]
    first, *rest = list(_slices(changed)) or [[]]
    yield _part(have, want, first, removed)
    for resources in rest:
        yield _part(have, want, resources, ())


def _unchanged(old: Resource | None, new: Resource) -> bool:
    # The revision alone would do for one store, but not after it was restored from a backup.
    return old is not None and old == new


def _slices(resources: list[Resource]) -> Iterator[list[Resource]]:
    for start in range(0, len(resources), PART_RESOURCES):
        yield resources[start : start + PART_RESOURCES]


def _part(have: Bundle, want: Bundle, changed: list[Resource], removed: Iterable[ResourceKey]) -> bytes:
    delta = pb.Delta(
        base_revision=have.revision, base_digest=have.digest, revision=want.revision, digest=want.digest
    )
    delta.changed.extend(changed)
    for kind, name in removed:
        delta.removed.add(kind=kind, name=name)
    return delta.SerializeToString()


def read_part(data: bytes) -> Part:
    """Decode one part. The problems of its resources are in it; data of another kind raise DecodeError."""
    delta = pb.Delta.FromString(data)
    changed: list[tuple[ResourceKey, Item]] = []
    problems: list[Problem] = []
    for resource in delta.changed:
        try:
            changed.append(((resource.WhichOneof("body") or "", resource.name), decode(resource)))
        except TableError as error:
            problems.extend(error.problems)
    return Part(
        delta.base_revision,
        delta.base_digest,
        delta.revision,
        delta.digest,
        tuple(changed),
        tuple((gone.kind, gone.name) for gone in delta.removed),
        tuple(problems),
    )
