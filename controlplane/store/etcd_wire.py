"""etcd's messages and ours: method paths, keys as bytes, transactions, entries. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from controlplane.store.etcdpb import headgate_etcd_pb2 as pb
from controlplane.store.protocol import Entry, Put, Write

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One method of etcd's API by its real path."""

    path: str
    request: type[Request]
    response: type[Response]


RANGE = Method("/etcdserverpb.KV/Range", pb.RangeRequest, pb.RangeResponse)
TXN = Method("/etcdserverpb.KV/Txn", pb.TxnRequest, pb.TxnResponse)
WATCH = Method("/etcdserverpb.Watch/Watch", pb.WatchRequest, pb.WatchResponse)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantRequest, pb.LeaseGrantResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse)
LEASE_KEEP_ALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse
)
AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse)
STATUS = Method("/etcdserverpb.Maintenance/Status", pb.StatusRequest, pb.StatusResponse)


def encode(key: str) -> bytes:
    # Keys in etcd are bytes: those that are not UTF-8 survive the round trip.
    return key.encode("utf-8", "surrogateescape")


def decode(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


def key_range(prefix: str) -> tuple[bytes, bytes]:
    """First key and end of the range of all keys that start with `prefix`."""
    start = encode(prefix)
    stem = start.rstrip(b"\xff")
    if not stem:
        return start or b"\0", b"\0"  # to the end of all keys
    return start, stem[:-1] + bytes([stem[-1] + 1])


def entry(pair: pb.KeyValue) -> Entry:
    """An entry from etcd's key-value message."""
    return Entry(decode(pair.key), pair.value, pair.mod_revision, pair.lease, pair.create_revision)


def transaction(expected: Mapping[str, int], writes: Sequence[Write]) -> pb.TxnRequest:
    """Compare every revision; write if all match, else read those that do not."""
    request = pb.TxnRequest()
    for key, revision in expected.items():
        request.compare.add(target=pb.Compare.MOD, key=encode(key), mod_revision=revision)
        request.failure.add(request_range=pb.RangeRequest(key=encode(key), keys_only=True))
    for write in writes:
        if isinstance(write, Put):
            put = pb.PutRequest(key=encode(write.key), value=write.value, lease=write.lease)
            request.success.add(request_put=put)
        else:
            request.success.add(request_delete_range=pb.DeleteRangeRequest(key=encode(write.key)))
    return request


def conflicts(expected: Mapping[str, int], response: pb.TxnResponse) -> Iterator[str]:
    """The keys whose revision the transaction found to be another than expected."""
    for (key, revision), result in zip(expected.items(), response.responses, strict=True):
        found = result.response_range.kvs
        if (found[0].mod_revision if found else 0) != revision:
            yield key


def watch_request(prefix: str, after: int) -> pb.WatchRequest:
    """Ask for all changes under `prefix` from revision `after` on; what happened at `after` itself is not wanted.

    It is asked for all the same. A compaction of exactly the first revision asked for may take its deletes
    away without a word (etcd issue 18089); like this it can only hit the unwanted one, and any later compaction
    ends the watch openly. And newer etcd gives no sign of life to a watch that begins in the future (etcd pull
    request 20229), which is where a watch from the next revision on begins.
    """
    key, end = key_range(prefix)
    return pb.WatchRequest(
        create_request=pb.WatchCreateRequest(
            key=key, range_end=end, start_revision=max(after, 1), progress_notify=True, fragment=True
        )
    )
