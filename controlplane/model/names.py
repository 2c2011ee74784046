"""The names of resources by kind, sorted: a page of a list costs its own size, and the number of a kind nothing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from controlplane.model.resources import ResourceId

NO_NAMES: Final[Mapping[str, Sequence[str]]] = {}
"""Where there are no resources."""


class Names:
    """Changes with the resources, name by name. What was handed out never changes: any change of a kind, also of a
    resource that keeps its name, is followed by another object."""

    def __init__(self, identities: Iterable[ResourceId] = ()) -> None:
        self._sorted: dict[str, list[str]] = {}
        self._lent: set[str] = set()
        """Kinds whose list was handed out: it is copied before the next change."""
        for identity in identities:
            self.add(identity)

    def add(self, identity: ResourceId) -> None:
        """A resource that was absent."""
        insort(self._own(identity[0]), identity[1])

    def remove(self, identity: ResourceId) -> None:
        """A resource that was added."""
        kind, name = identity
        names = self._own(kind)
        del names[bisect_left(names, name)]

    def count(self, kind: str) -> int:
        """The number of resources of a kind."""
        return len(self._sorted.get(kind, ()))

    def frozen(self) -> Mapping[str, Sequence[str]]:
        """The sorted names by kind, as of now."""
        self._lent = set(self._sorted)
        return self._sorted.copy()

    def _own(self, kind: str) -> list[str]:
        if kind in self._lent:
            self._sorted[kind] = self._sorted[kind].copy()
            self._lent.remove(kind)
        return self._sorted.setdefault(kind, [])
