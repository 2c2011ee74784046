"""A bundle: one whole configuration in wire form, as received, cached on disk and sent to the workers.

A worker is sent the difference from its current bundle, in parts of bounded size, so that applying one never stalls
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

_UNKNOWN = "has a kind that this version does not know"

PART_RESOURCES = 64
"""Most resources in one part: about half a millisecond of decoding in a worker."""
LARGE_CHANGE = 16
"""Parts of a change above which it counts as large: 1,024 resources."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Every resource of one revision, not decoded."""

    revision: int
    digest: str
    resources: Mapping[ResourceKey, Resource] = field(repr=False)
    lineage: str = ""
    """Id of the store that it was read from; empty when unknown."""
    epoch: int = 0
    """When an operator last confirmed that store, in Unix milliseconds; 0 for never."""
    base: str = field(default="", repr=False, compare=False)
    """Digest of the bundle that a delta turned into this one; empty for a snapshot."""
    touched: frozenset[ResourceKey] = field(default=frozenset(), repr=False, compare=False)
    """Keys that may differ from that bundle."""

    @property
    def moves_instances(self) -> bool:
        """Whether it came as a delta that adds, changes or removes instances."""
        return any(kind == "instance" for kind, _ in self.touched)

    def behind(self, served: Bundle) -> str:
        """The reason this bundle must not replace `served`; empty when it may. See Lineage in config.proto."""
        if not served.revision or self.epoch > served.epoch:
            return ""
        if self.lineage and served.lineage and self.lineage != served.lineage:
            return f"comes from another store than the configuration served, revision {served.revision}"
        if self.epoch < served.epoch or self.revision < served.revision:
            return f"is older than the configuration served, revision {served.revision}"
        return ""


class Mismatch(Exception):
    """A delta whose base or resulting digest does not match. The configuration may be valid; a snapshot must follow."""


NOTHING = Bundle(0, "", {})
"""The empty bundle, which precedes the first change."""


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
    """Problems of resources in this part; `changed` does not have these resources."""


def unpack(snapshot: pb.Snapshot) -> Bundle:
    """The bundle of a snapshot. Raises TableError for duplicate names, unknown kinds, a wrong digest or revision."""
    resources: dict[ResourceKey, Resource] = {}
    problems = []
    for resource in snapshot.resources:
        key = (resource.WhichOneof("body") or "", resource.name)
        if not key[0]:
            problems.append(Problem(f"/{resource.name}", "body", _UNKNOWN))
        elif key in resources:
            problems.append(Problem("/".join(key), "", "is there twice"))
        resources[key] = resource
    if not problems and snapshot.digest != digest_of(resources):
        problems.append(Problem("", "digest", "does not match the resources of the snapshot"))
    if snapshot.revision < 1:
        problems.append(Problem("", "revision", f"must be 1 or more, not {snapshot.revision}"))
    if problems:
        raise TableError(problems)
    return Bundle(snapshot.revision, snapshot.digest, resources, snapshot.lineage.id, snapshot.lineage.epoch)


def applied(base: Bundle, delta: pb.Delta) -> Bundle:
    """`base` with the delta applied. Only the changed resources are hashed.

    Raises Mismatch when the base or the resulting digest differs, TableError for an unknown kind.
    """
    if delta.base_digest != base.digest:
        raise Mismatch(f"is based on revision {delta.base_revision}, but revision {base.revision} is served")
    unknown = [resource.name for resource in delta.changed if resource.WhichOneof("body") is None]
    if unknown:
        raise TableError(Problem(f"/{name}", "body", _UNKNOWN) for name in unknown)
    changed: dict[ResourceKey, Resource] = {}
    for resource in delta.changed:
        changed[resource.WhichOneof("body") or "", resource.name] = resource
    removed = {(gone.kind, gone.name) for gone in delta.removed}
    total = int(base.digest or "0", 16) + sum(_hash_of(key, body) for key, body in changed.items())
    total -= sum(
        _hash_of(key, base.resources[key]) for key in changed.keys() | removed if key in base.resources
    )
    if _to_hex(total) != delta.digest:
        raise Mismatch("results in a digest that is not the one it names")
    resources: Mapping[ResourceKey, Resource] = base.resources
    if changed or removed:
        kept: dict[ResourceKey, Resource] = dict(base.resources)
        for key in removed:
            kept.pop(key, None)
        kept.update(changed)
        resources = kept
    touched, store = frozenset(changed) | removed, delta.lineage
    return Bundle(delta.revision, delta.digest, resources, store.id, store.epoch, base.digest, touched)


def digest_of(resources: Mapping[ResourceKey, Resource]) -> str:
    """The digest as config.proto defines it: the sum of the SHA-256 of every "<kind> <name> <revision>\\n"."""
    return _to_hex(sum(_hash_of(key, body) for key, body in resources.items()))


def _hash_of(key: ResourceKey, body: Resource) -> int:
    line = f"{key[0]} {key[1]} {body.revision}\n"
    return int.from_bytes(hashlib.sha256(line.encode()).digest())


def _to_hex(total: int) -> str:
    return f"{total % (1 << 256):064x}"


def replayed(records: Iterable[bytes]) -> Bundle:
    """The bundle that results from consecutive changes, the first of them based on NOTHING.

    A record is one change: its parts concatenated, which protobuf parses as one message. Raises TableError when a
    record is not based on the one before, or when the final digest is wrong.
    """
    resources: dict[ResourceKey, Resource] = {}
    reached = pb.Delta()
    for record in records:
        delta = _delta(record)
        if (delta.base_revision, delta.base_digest) != (reached.revision, reached.digest):
            raise TableError([Problem("", "base_digest", "does not follow the previous change")])
        for gone in delta.removed:
            resources.pop((gone.kind, gone.name), None)
        for resource in delta.changed:
            resources[resource.WhichOneof("body") or "", resource.name] = resource
        reached = delta
    if reached.revision < 1 or reached.digest != digest_of(resources):
        raise TableError([Problem("", "digest", "does not match the resources")])
    return Bundle(reached.revision, reached.digest, resources, reached.lineage.id, reached.lineage.epoch)


def whole(bundle: Bundle) -> bytes:
    """The bundle in one record for `replayed`."""
    return b"".join(difference(NOTHING, bundle))


def _delta(record: bytes) -> pb.Delta:
    try:
        return pb.Delta.FromString(record)
    except DecodeError:
        raise TableError([Problem("", "", "is not a change")]) from None


def difference(have: Bundle, want: Bundle) -> Iterator[bytes]:
    """The serialized parts of the change from `have` to `want`; one empty part when only the revision differs."""
    if want.base and want.base == have.digest:
        keys: Iterable[ResourceKey] = sorted(want.touched)
    else:
        keys = {**have.resources, **want.resources}
    changed, removed = [], []
    for key in keys:
        if (body := want.resources.get(key)) is None:
            removed.append(key)
        elif not _unchanged(have.resources.get(key), body):
            changed.append(body)
    first, *rest = list(_slices(changed)) or [[]]
    yield _part(have, want, first, removed)
    for resources in rest:
        yield _part(have, want, resources, ())


def _unchanged(old: Resource | None, new: Resource) -> bool:
    # Comparing revisions is not enough: a store restored from a backup may use them again.
    return old is new or (old is not None and old == new)


def _slices(resources: list[Resource]) -> Iterator[list[Resource]]:
    for start in range(0, len(resources), PART_RESOURCES):
        yield resources[start : start + PART_RESOURCES]


def _part(have: Bundle, want: Bundle, changed: list[Resource], removed: Iterable[ResourceKey]) -> bytes:
    delta = pb.Delta(
        base_revision=have.revision,
        base_digest=have.digest,
        revision=want.revision,
        digest=want.digest,
        lineage=pb.Lineage(id=want.lineage, epoch=want.epoch),
    )
    delta.changed.extend(changed)
    for kind, name in removed:
        delta.removed.add(kind=kind, name=name)
    return delta.SerializeToString()


def read_part(data: bytes) -> Part:
    """Decode one part. Invalid resources become its `problems`. Raises DecodeError when `data` is no Delta."""
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
