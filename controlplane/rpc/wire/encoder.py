"""Snapshots and deltas as bytes: made once, whatever the number of data planes, from parts that are made once per
change.

A message within a message is a field number, a length and bytes (protobuf's encoding specification, "Length-delimited
records"), so that the parts can be kept encoded and only need to be put one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from controlplane.fleet.demand import Reporting
from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.resources import ResourceId
from controlplane.model.snapshot import Delta, Snapshot
from controlplane.model.stored import Stamped
from controlplane.rpc.wire import resource_messages
from headgate_api.v1 import config_pb2 as pb

Unseal = Callable[[str], str]

PART = 1 << 20
"""Bytes in one piece of a large message: below the 4 MiB that gRPC takes by default, and soon written."""

MOST_WHOLE = 256 << 20
"""Bytes that a data plane takes in one message. Versions before 0.2 do not support pieces."""

AT_ONCE = 32
"""Resources that are encoded in one turn of the event loop: a millisecond or two."""

MOST_KEPT = 64
"""Encoded messages that are kept for the latest revision of a pool. Each base has one, and bases were published
lately."""


class Encoder:
    """Encodes messages as StreamResponse and remembers the last ones. Any number of streams share one encoder."""

    def __init__(self, unseal: Unseal = str, published: Callable[[ResourceId], bool] | None = None) -> None:
        """`unseal` decrypts the private keys of certificates. `published`: whether there is a resource of this name in
        the whole configuration; without it, each snapshot has all."""
        self._unseal = unseal
        self._published = published
        self._parts: dict[ResourceId, tuple[int, bytes]] = {}
        """Resources, encoded and with their length in front, with their revision."""
        self._target: tuple[int, Lineage] = (0, UNKNOWN)
        self._kept: dict[str, dict[tuple[int, str], bytes]] = {}
        """By digest, which differs by pool, and by base; a snapshot has none."""

    def encode(self, message: Snapshot | Delta) -> bytes:
        """The StreamResponse that carries the message."""
        target = message.revision, message.lineage
        if target != self._target:
            self._target, self._kept = target, {}
        kept, base = self._kept.setdefault(message.digest, {}), _base(message)
        if len(kept) > MOST_KEPT:
            kept.clear()
        if (encoded := kept.get(base)) is None:
            encoded = kept[base] = self._encode(message)
        return encoded

    def prepare(self, message: Snapshot | Delta) -> Iterator[None]:
        """Do most of the work of `encode` for a message with many new resources; yields between two steps."""
        if self._is_kept(message):
            return
        stamped = message.resources if isinstance(message, Snapshot) else message.changed
        made = 0
        for number, (identity, one) in enumerate(stamped.items(), 1):
            if self._parts.get(identity, _NOTHING)[0] != one.revision:
                self._part(identity, one)
                made += 1
            if made == AT_ONCE or not number % (AT_ONCE * AT_ONCE):
                made = 0
                yield

    @staticmethod
    def parts(encoded: bytes) -> Iterator[bytes]:
        """An encoded message in pieces that each fit into one message of gRPC, whatever its bounds."""
        for start in range(0, len(encoded), PART):
            last = start + PART >= len(encoded)
            part = pb.Part(data=encoded[start : start + PART], last=last)
            yield pb.StreamResponse(part=part).SerializeToString()

    def reporting(self, asked: Reporting) -> bytes:
        """The StreamResponse with the instructions for reports."""
        reporting = pb.Reporting(
            pace=asked.pace, checks=asked.checks, details=asked.details, traffic=asked.traffic
        )
        return pb.StreamResponse(reporting=reporting).SerializeToString()

    def _is_kept(self, message: Snapshot | Delta) -> bool:
        target = message.revision, message.lineage
        return target == self._target and _base(message) in self._kept.get(message.digest, ())

    def _encode(self, message: Snapshot | Delta) -> bytes:
        if isinstance(message, Delta):
            return _field(pb.StreamResponse.DELTA_FIELD_NUMBER, b"".join(self._delta(message)))
        return _field(pb.StreamResponse.SNAPSHOT_FIELD_NUMBER, b"".join(self._snapshot(message)))

    def _snapshot(self, snapshot: Snapshot) -> Iterator[bytes]:
        head = pb.Snapshot(
            revision=snapshot.revision, digest=snapshot.digest, lineage=_lineage(snapshot.lineage)
        )
        yield head.SerializeToString()
        yield self._resources(pb.Snapshot.RESOURCES_FIELD_NUMBER, snapshot.resources)
        there = self._published or snapshot.resources.__contains__
        self._forget(gone for gone in list(self._parts) if not there(gone))

    def _delta(self, delta: Delta) -> Iterator[bytes]:
        head = pb.Delta(
            base_revision=delta.base_revision,
            base_digest=delta.base_digest,
            revision=delta.revision,
            digest=delta.digest,
            lineage=_lineage(delta.lineage),
        )
        for kind, name in delta.removed:
            head.removed.add(kind=kind, name=name)
        yield head.SerializeToString()
        yield self._resources(pb.Delta.CHANGED_FIELD_NUMBER, delta.changed)
        self._forget(gone for gone in delta.removed if self._published is None or not self._published(gone))

    def _resources(self, number: int, stamped: Mapping[ResourceId, Stamped]) -> bytes:
        tag, parts = _varint(number << 3 | 2), self._parts
        # A resource at a revision has one content.
        encoded = [
            part if revision == one.revision else self._part(identity, one)
            for identity, one in stamped.items()
            for revision, part in (parts.get(identity, _NOTHING),)
        ]
        return tag + tag.join(encoded) if encoded else b""

    def _part(self, identity: ResourceId, stamped: Stamped) -> bytes:
        made = resource_messages.resource(stamped)
        if made.certificate.private_key:
            made.certificate.private_key = self._unseal(made.certificate.private_key)
        encoded = made.SerializeToString()
        part = _varint(len(encoded)) + encoded
        self._parts[identity] = stamped.revision, part
        return part

    def _forget(self, gone: Iterable[ResourceId]) -> None:
        for identity in gone:
            self._parts.pop(identity, None)


_NOTHING = (0, b"")


def _base(message: Snapshot | Delta) -> tuple[int, str]:
    return (message.base_revision, message.base_digest) if isinstance(message, Delta) else (0, "")


def _lineage(lineage: Lineage) -> pb.Lineage | None:
    return None if lineage == UNKNOWN else pb.Lineage(id=lineage.id, epoch=lineage.epoch)


def _field(number: int, content: bytes) -> bytes:
    return _header(number, len(content)) + content


def _header(number: int, length: int) -> bytes:
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
