"""Which error of etcd's becomes which of the store's, and when a write may have been made all the same."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from controlplane.store import (
    AccessDenied,
    Compacted,
    LeaseGone,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TooLarge,
)
from controlplane.store.etcd_errors import AuthenticationOff, TokenRefused, from_rpc

Code = grpc.StatusCode


def mapped(code: grpc.StatusCode, text: str, lease: int = 0) -> StoreError:
    nothing = grpc.aio.Metadata()
    return from_rpc(grpc.aio.AioRpcError(code, nothing, nothing, text, None), "etcd:2379", lease)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (Code.UNAUTHENTICATED, "etcdserver: invalid auth token", TokenRefused),
        (Code.UNAUTHENTICATED, "something new", TokenRefused),
        (Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", TokenRefused),
        (Code.INVALID_ARGUMENT, "etcdserver: user name is empty", TokenRefused),
        (
            Code.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            AccessDenied,
        ),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", AccessDenied),
        (Code.PERMISSION_DENIED, "something new", AccessDenied),
        (Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", AuthenticationOff),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", TooLarge),
        (Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request", TooLarge),
        (Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (2 vs. 1)", TooLarge),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Compacted),
        (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", Compacted),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", StoreFull),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", LeaseGone),
        (Code.INVALID_ARGUMENT, "etcdserver: key is not provided", StoreError),
        (Code.OUT_OF_RANGE, "etcdserver: too large lease TTL", StoreError),
    ],
)
def test_kinds(code: grpc.StatusCode, text: str, kind: type[StoreError]) -> None:
    assert type(mapped(code, text)) is kind


def test_the_lease_is_named() -> None:
    gone = mapped(Code.NOT_FOUND, "etcdserver: requested lease not found", lease=7)
    assert isinstance(gone, LeaseGone)
    assert gone.lease == 7


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            Code.UNAVAILABLE,
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:1.2.3.4:1: refused",
        ),
        (Code.UNAVAILABLE, "etcdserver: no leader"),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
    ],
)
def test_certainly_not_carried_out(code: grpc.StatusCode, text: str) -> None:
    error = mapped(code, text)
    assert isinstance(error, StoreUnavailable)
    assert not error.unknown_outcome


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded"),
        (Code.UNAVAILABLE, "Socket closed"),
        (Code.UNAVAILABLE, "etcdserver: request timed out"),
        (Code.UNAVAILABLE, "etcdserver: server stopped"),
        (Code.UNAVAILABLE, "etcdserver: leader changed"),
        (Code.CANCELLED, ""),
        (Code.UNKNOWN, "Stream removed"),
        (Code.INTERNAL, "Received RST_STREAM with error code 2"),
    ],
)
def test_maybe_carried_out(code: grpc.StatusCode, text: str) -> None:
    error = mapped(code, text)
    assert isinstance(error, StoreUnavailable)
    assert error.unknown_outcome


def test_the_reason_is_given_without_its_wrapping() -> None:
    text = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Connection refused"
    assert str(mapped(Code.UNAVAILABLE, text)) == "etcd:2379: Connection refused"
    assert str(mapped(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")) == "etcd:2379: no answer in time"
