"""The resources of one kind, in the order of their names, without a copy of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.model.resources import ResourceId
from controlplane.model.stored import Stamped


@dataclass(frozen=True, slots=True)
class Listed:
    """A view of some resources. The cost of a part is that of its own length."""

    kind: str
    names: Sequence[str]
    """Sorted."""
    resources: Mapping[ResourceId, Stamped]
    """These and others."""

    def after(self, name: str) -> Iterator[Stamped]:
        """Those with a name after this one."""
        for position in range(bisect_right(self.names, name), len(self.names)):
            yield self.resources[self.kind, self.names[position]]
