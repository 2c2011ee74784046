"""The identity of a store: an entry that is written once, so that a replaced store is noticed. Pure.

etcd's own cluster id is not enough: a member that lost its data and starts again with the same flags has the same id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from controlplane.model.stored import PREFIX

LINEAGE = f"{PREFIX}store/lineage"
"""The key. Written when the store is first used, and when an operator confirms that its content may replace another's
or older content newer."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """A store's identity, and when an operator last confirmed its content."""

    id: str = ""
    """Random; empty while the store has none."""
    epoch: int = 0
    """Unix milliseconds of the last confirmation, 0 before the first. A plane that serves another store's
    content, or a later revision, takes this store's content only with a higher epoch."""


UNKNOWN = Lineage()


def read_lineage(value: bytes | None) -> Lineage:
    """The lineage in an entry's value; UNKNOWN when there is none that can be read."""
    try:
        fields = json.loads(value or b"{}")
        return Lineage(str(fields["id"]), int(fields["epoch"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return UNKNOWN


def lineage_value(lineage: Lineage, author: str) -> bytes:
    """The value that `read_lineage` reads, with its author for people to see."""
    return json.dumps(
        {"id": lineage.id, "epoch": lineage.epoch, "author": author}, ensure_ascii=False
    ).encode()
