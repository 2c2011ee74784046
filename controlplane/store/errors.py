"""All errors of a store. Errors of gRPC and etcd are converted to these."""

from __future__ import annotations

from collections.abc import Iterable


class StoreError(Exception):
    """The base of all errors of a store. Messages hold no credentials and no stored values."""


class StoreUnavailable(StoreError):
    """No answer in time, or none with the outcome of the request.

    When the outcome of a write is unknown (it was sent, and the answer was lost), `unknown_outcome` is true and the
    detail states it: read before writing again.
    """

    def __init__(self, detail: str, *, unknown_outcome: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.unknown_outcome = unknown_outcome


class StoreFull(StoreUnavailable):
    """The store has no room left: it answers reads, renews leases, and takes no change. Nothing was written."""


class Conflict(StoreError):
    """Keys whose revision was not the expected one; nothing was written."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(f"changed meanwhile: {', '.join(self.keys)}")


class Compacted(StoreError):
    """The history after the requested revision was compacted: list again and watch from there.

    `revision` is the oldest revision to watch from, 0 when the store did not say.
    """

    def __init__(self, revision: int = 0, detail: str = "the history asked for has been compacted") -> None:
        super().__init__(detail)
        self.revision = revision


class LeaseGone(StoreError):
    """The lease expired or was revoked, and every key under it was deleted with it."""

    def __init__(self, lease: int) -> None:
        super().__init__(f"lease {lease:x} is gone")
        self.lease = lease


class TooLarge(StoreError):
    """A transaction above the store's limits; nothing was written."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class AccessDenied(StoreError):
    """The store refuses these credentials, or does not let them reach these keys."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
