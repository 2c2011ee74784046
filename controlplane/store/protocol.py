"""Interface of the store: revisions, transactions on them, watches that lose nothing, leases.

A revision numbers a change of the whole store; every key carries the revision of its last change. That one number is
the watermark of a watch, the ETag of a resource and the version of the data planes' configuration.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from controlplane.store.errors import StoreError, TooLarge

MAX_OPERATIONS = 128
"""Most keys a transaction may compare, and most it may write (etcd's --max-txn-ops)."""

MAX_REQUEST_BYTES = 1_572_864
"""Largest request (etcd's --max-request-bytes, 1.5 MiB)."""

ENVELOPE_BYTES = 1024
"""Bytes that etcd adds to a request (its id, the user's name) before it compares the size with the limit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as it is stored."""

    key: str
    value: bytes
    revision: int
    """Revision of the last change of this key (etcd's mod_revision), at least 1."""
    lease: int = 0
    """Lease that holds the key, 0 when it stays until it is deleted."""
    created: int = field(default=0, compare=False)
    """Revision at which the key was created (etcd's create_revision): the order of age."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All keys under a prefix as they were at one revision, sorted by key."""

    revision: int
    entries: tuple[Entry, ...]
    cluster: int = 0
    """Identity of the store that answered; another one after a restore, even under the same address. 0: unknown."""


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key, under a lease unless `lease` is 0."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key; no effect if it is absent."""

    key: str


Write: TypeAlias = Put | Delete


@dataclass(frozen=True, slots=True)
class Batch:
    """All changes of one revision under a watched prefix.

    An event without puts and deletes is a progress mark: nothing changed up to `revision`.
    """

    revision: int
    puts: tuple[Entry, ...] = ()
    deletes: tuple[str, ...] = ()


class Store(Protocol):
    """A key-value store with revisions. Every method raises StoreUnavailable or AccessDenied; others as noted."""

    async def get(self, key: str) -> Entry | None:
        """The entry of a key now, None when absent."""

    async def list(self, prefix: str) -> Listing:
        """Every entry whose key starts with `prefix`, all at one revision, however many there are."""

    async def commit(self, expected: Mapping[str, int], writes: Sequence[Write]) -> int:
        """Do all writes at once if every key in `expected` has that revision (0: absent); return the new revision.

        Raises Conflict when a revision differs, LeaseGone when a lease of a Put is, TooLarge above 128
        operations or 1.5 MiB: nothing was written then. StoreUnavailable with `unknown_outcome` when it was
        sent and the answer was lost. ValueError when a key is empty or written twice. When nothing changed (no
        writes, or only deletes of absent keys) the answer is the present revision.
        """

    def watch(self, prefix: str, after: int) -> AsyncGenerator[Batch, None]:
        """Every change under `prefix` with a revision above `after`, in order, one Batch a revision.

        Lost connections are re-established internally, without loss or repetition. Raises Compacted when the history
        after `after` is gone, AccessDenied when the credentials are refused for good. Close it with
        `contextlib.aclosing` to free the connection at once.
        """

    async def grant(self, ttl: float) -> int:
        """A new lease that ends unless renewed within `ttl` seconds (rounded up to whole ones)."""

    async def keep_alive(self, lease: int) -> float:
        """Renew a lease; return the seconds until it ends. Raises LeaseGone."""

    async def keep_alive_all(self, leases: Collection[int]) -> Mapping[int, float | StoreError]:
        """Renew many leases; for each the seconds until it ends, or why it was not renewed. Raises nothing."""

    async def revoke(self, lease: int) -> None:
        """End a lease now and delete its keys, in one revision. Revoking a lease that has ended is not an error."""

    async def status(self) -> None:
        """Return when the store answers; raise StoreUnavailable when no endpoint does."""

    async def full(self) -> bool:
        """Whether it has no space left: it answers reads and renews leases, but accepts no changes."""

    async def close(self) -> None:
        """Close all connections; later calls raise StoreUnavailable."""


def check_transaction(expected: Mapping[str, int], writes: Sequence[Write]) -> None:
    """Refuse writes that no store accepts, before anything is sent.

    Raises ValueError for an empty key or one written twice, TooLarge above 128 operations.
    """
    keys = [write.key for write in writes]
    if not all(keys) or not all(expected):
        raise ValueError("a key must not be empty")
    if len(set(keys)) < len(keys):
        raise ValueError("a transaction must not write a key twice")
    for what, count in (("writes", len(keys)), ("expected revisions", len(expected))):
        if count > MAX_OPERATIONS:
            raise TooLarge(f"{count} {what} in one transaction; at most {MAX_OPERATIONS} fit")


def check_size(size: int) -> None:
    """Raise TooLarge for a request of `size` bytes above 1.5 MiB, before it is sent."""
    if size > MAX_REQUEST_BYTES - ENVELOPE_BYTES:
        raise TooLarge(f"a transaction of {size} bytes; at most {MAX_REQUEST_BYTES - ENVELOPE_BYTES} fit")
