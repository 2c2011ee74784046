"""Snapshots as bytes: made once a revision, whatever the number of data planes, from parts that are made once a change.

A message within a message is a field number, a length and bytes (protobuf's encoding specification, "Length-delimited
records"), so that the parts can be kept encoded and only need to be put one after the other.
"""

from __future__ import annotations

from controlplane.model.lineage import UNKNOWN, Lineage
from controlplane.model.resources import ResourceId
from controlplane.model.snapshot import Snapshot
from controlplane.model.stored import Stamped
from controlplane.rpc.wire import resources
from headgate_api.v1 import config_pb2 as pb


class SnapshotEncoder:
    """Encodes snapshots as StreamResponse and remembers the last one. Any number of streams share one encoder."""

    def __init__(self) -> None:
        self._parts: dict[tuple[ResourceId, int], bytes] = {}
        self._last: tuple[int, str, Lineage, bytes] = (0, "", UNKNOWN, b"")

    def encode(self, snapshot: Snapshot) -> bytes:
        """The StreamResponse that carries the snapshot."""
        stamp = snapshot.revision, snapshot.digest, snapshot.lineage
        if self._last[:3] != stamp or not self._last[3]:
            self._last = *stamp, self._encode(snapshot)
        return self._last[3]

    def _encode(self, snapshot: Snapshot) -> bytes:
        known = self._parts
        # A resource at a revision has one content, so that pair names it; what is gone is forgotten here.
        self._parts = {
            stamp: known.get(stamp) or _part(stamped)
            for identity, stamped in snapshot.resources.items()
            for stamp in [(identity, stamped.revision)]
        }
        head = _head(snapshot).SerializeToString()
        body = head + b"".join(self._parts.values())
        return _field(pb.StreamResponse.SNAPSHOT_FIELD_NUMBER, body)


def _head(snapshot: Snapshot) -> pb.Snapshot:
    head = pb.Snapshot(revision=snapshot.revision, digest=snapshot.digest)
    if snapshot.lineage != UNKNOWN:
        head.lineage.id, head.lineage.epoch = snapshot.lineage.id, snapshot.lineage.epoch
    return head


def _part(stamped: Stamped) -> bytes:
    message = resources.resource(stamped)
    return _field(pb.Snapshot.RESOURCES_FIELD_NUMBER, message.SerializeToString())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
