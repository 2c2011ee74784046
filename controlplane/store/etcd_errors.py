"""From gRPC's and etcd's errors to the store's, in one place.

etcd tells its errors apart by text (api/v3rpc/rpctypes/error.go); the codes alone do not suffice.
"""

from __future__ import annotations

import re

import grpc

from controlplane.store.errors import (
    AccessDenied,
    Compacted,
    LeaseGone,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TooLarge,
)


class TokenRefused(AccessDenied):
    """The token is not (or no longer) valid: authenticating again may help. The request was not carried out."""


class AuthenticationOff(StoreError):
    """etcd has authentication disabled."""


_AUTHENTICATION_OFF = "authentication is not enabled"
_TOKEN_REFUSED = ("invalid auth token", "revision of auth store is old", "user name is empty")
_ACCESS_DENIED = (
    "authentication failed",
    "permission denied",
    "user name not found",
    "permission is not granted",
)
_TOO_LARGE = ("request is too large", "too many operations", "larger than max")
_NO_HISTORY = ("required revision has been compacted", "required revision is a future revision")
_FULL = "database space exceeded"
_LEASE_GONE = "requested lease not found"

# A write that failed for one of these was certainly not carried out.
_NOT_CARRIED_OUT = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "etcdserver: no leader",
    "etcdserver: not capable",
    "etcdserver: too many requests",
    "etcdserver: rpc not supported for learner",
)
# The text that gRPC adds to the reason; the address is named already.
_WRAPPING = re.compile(r"^failed to connect to all addresses; last error: [A-Z]+: (ipv[46]:\S+: )?")
_OUTCOME_OPEN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def from_rpc(error: grpc.aio.AioRpcError, address: str, lease: int = 0) -> StoreError:
    """The store's error for a failed call to the endpoint at `address` (about `lease`, if about one).

    `unknown_outcome` is set on StoreUnavailable when the endpoint may have carried the request out.
    """
    text = error.details() or ""
    known = from_text(text, lease)
    if known is not None:
        return known
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return TokenRefused(f"{address}: {text}")
    if error.code() is grpc.StatusCode.PERMISSION_DENIED:
        return AccessDenied(f"{address}: {text}")
    if error.code() not in _OUTCOME_OPEN:
        return StoreError(f"{address}: {text}")
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = "no answer in time"
    certain = any(part in text for part in _NOT_CARRIED_OUT)
    return StoreUnavailable(f"{address}: {_WRAPPING.sub('', text)}", unknown_outcome=not certain)


def from_text(text: str, lease: int = 0) -> StoreError | None:
    """The store's error for a text of etcd, None when the text is not a known one."""
    if _AUTHENTICATION_OFF in text:
        return AuthenticationOff(text)
    if any(part in text for part in _TOKEN_REFUSED):
        return TokenRefused(text)
    if any(part in text for part in _ACCESS_DENIED):
        return AccessDenied(text)
    if any(part in text for part in _TOO_LARGE):
        return TooLarge(text)
    if any(part in text for part in _NO_HISTORY):
        return Compacted(detail=text)
    if _FULL in text:
        return StoreFull(text)
    if _LEASE_GONE in text:
        return LeaseGone(lease)
    return None
