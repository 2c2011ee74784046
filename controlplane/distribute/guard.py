"""Decides whether the store's content may be published. Pure.

A store that was wiped, restored from an older copy, or replaced under its address must not take the fleet down. Its
content is not published before an operator has confirmed it (a higher epoch in its lineage), or the former store is
back. Ordinary changes, deletes too, come as events and pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from controlplane.model.lineage import LINEAGE, UNKNOWN, Lineage, read_lineage
from controlplane.model.resources import documents
from controlplane.model.stored import PREFIX, StoredEntry
from controlplane.model.words import count

WHAT_TO_DO = (
    "the fleet keeps the last good configuration until `headgate store confirm`, or until that store is back"
)

CONFIG = tuple(f"{PREFIX}{model.KIND}/" for model in documents().values())
"""Key prefixes of resources that operators write. Registrations end by themselves, so many may disappear at once."""

MASS = 5
"""Deletes missed during an outage from which the content is suspicious; fewer may be an operator's work."""


@dataclass(frozen=True, slots=True)
class Stand:
    """The last content that was found good."""

    lineage: Lineage = UNKNOWN
    revision: int = 0
    entries: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Revisions by key of the resources that operators write; kept only while the store is in doubt."""
    cluster: int = 0
    """The store's own identity; 0 when it has none."""


class Guard:
    """Judges listings, which may hold anything, and follows the lineage through events."""

    def __init__(self) -> None:
        self.good = Stand()
        self.lineage = UNKNOWN
        """Of the store as it is now."""
        self.lineage_revision = 0
        """Revision of its entry; 0 when there is none."""
        self._cluster = 0
        self._listed = ""

    @property
    def suspicion(self) -> str:
        """The reason the store's content must not be published; empty when it may be."""
        if self.lineage.epoch > self.good.lineage.epoch:
            return ""  # an operator confirmed it
        if self.good.lineage.id and not self.lineage.id:
            return "the store holds none of the served configuration: it was emptied or replaced"
        if self.good.lineage.id and self.lineage.id != self.good.lineage.id:
            return "the store was replaced by another one"
        if self.good.cluster and self._cluster != self.good.cluster:
            return "another etcd cluster answers: the store was restored or replaced"
        return self._listed

    def listing(
        self, entries: Iterable[StoredEntry], revision: int, known: Mapping[str, int], cluster: int = 0
    ) -> None:
        """The whole content of the store, read again; `known` has the previous revisions by key."""
        self._cluster = cluster
        known = self.good.entries or {key: known[key] for key in known if key.startswith(CONFIG)}
        found = {entry.key: entry for entry in entries}
        lineage = found.get(LINEAGE)
        self.see(lineage.value if lineage else None, lineage.revision if lineage else 0)
        self._listed = self._compared({key: entry.revision for key, entry in found.items()}, revision, known)
        kept = known if self.suspicion else {}
        self.good = replace(self.good, entries=kept)

    def see(self, value: bytes | None, revision: int) -> None:
        """The lineage's entry was written, or, without a value, deleted."""
        self.lineage, self.lineage_revision = read_lineage(value), revision

    def passed(self, revision: int) -> None:
        """Accept the present content as good."""
        self.good, self._listed = Stand(self.lineage, revision, cluster=self._cluster), ""

    def _compared(self, found: Mapping[str, int], revision: int, known: Mapping[str, int]) -> str:
        if revision < self.good.revision:
            return f"the store went back from revision {self.good.revision} to {revision}"
        older = sum(found.get(key, before) < before for key, before in known.items())
        if older:
            return f"the store holds older versions of {count(older, 'resource')} than it did"
        lost = sum(key not in found for key in known)
        if lost >= MASS and 2 * lost > len(known):
            return (
                f"the store lost {lost} of {len(known)} resources at once, and no deletion of them was seen"
            )
        return ""
