"""Changes since a revision, so that a data plane with an older snapshot gets the difference only.

It keeps no older snapshots, only the names of the resources that changed from each to the next. That is small, and it
serves every revision in between, too: a data plane may connect with a revision that another control plane published. It
gets the whole step that includes its revision, with some resources that it already has, but none is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from controlplane.model.resources import ResourceId
from controlplane.model.snapshot import Delta, Snapshot, delta_from

MOST_NAMES = 20_000
"""Names that are kept; above that number of changes since its revision, a data plane gets a snapshot."""


class Trail:
    """Steps from one published revision to the next."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._steps: deque[tuple[int, frozenset[ResourceId]]] = deque()
        self._names = 0
        self._begins: int | None = None
        """Everything that changed after this revision is known; None before the first."""
        self._first = 0, ""
        """Revision and digest of the first snapshot."""

    def add(self, revision: int, touched: Collection[ResourceId], digest: str = "") -> None:
        """Record that a snapshot was published as of `revision`, and its differences from the previous one."""
        if self._begins is None:
            self._begins, self._first = revision, (revision, digest)
        elif touched:
            self._steps.append((revision, frozenset(touched)))
            self._names += len(touched)
            self._forget()

    def copy(self) -> Trail:
        """A trail with the same steps."""
        copy = Trail(self._most)
        copy._steps, copy._names = self._steps.copy(), self._names
        copy._begins, copy._first = self._begins, self._first
        return copy

    def between(self, base_revision: int, base_digest: str, current: Snapshot) -> Delta | None:
        """The delta to `current` from a snapshot as of `base_revision`; None when that is too old.

        The data plane checks the content of its base by the digest.
        """
        since = base_revision
        if self._first[1] == base_digest:
            # Another control plane published it under an earlier revision; nothing changed between the two.
            since = max(since, self._first[0])
        if self._begins is None or not self._begins <= since <= current.revision:
            return None
        touched: set[ResourceId] = set()
        for revision, names in reversed(self._steps):
            if revision <= since:
                break
            touched |= names
        return delta_from(base_revision, base_digest, current, touched)

    def _forget(self) -> None:
        while self._names > self._most:
            self._begins, names = self._steps.popleft()
            self._names -= len(names)
