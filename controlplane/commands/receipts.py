"""What commands answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["create", "update", "delete", "unchanged"]


@dataclass(frozen=True, slots=True)
class Change:
    """What became, or in a dry run would become, of one resource."""

    action: Action
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A document that is in the store."""

    revision: int
    """Store revision of the change; of the last earlier one when nothing had to be written."""
    changes: tuple[Change, ...]
    """One for each resource of the document, in its order by kind."""


@dataclass(frozen=True, slots=True)
class Registration:
    """An instance that is in the table as long as its lease is kept alive."""

    lease: int
    ttl: float
    """Seconds without keep-alive after which it is removed."""
    revision: int
