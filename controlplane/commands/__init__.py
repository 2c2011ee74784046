"""The one way to change anything: both the admin API and the registry go through here.

Every change reads, validates and writes in one transaction on the revisions that it read. Changes of configuration
also expect the revision of the change entry, so that they happen one after the other, and what was checked before a
write still holds at the write.
"""

from __future__ import annotations

from controlplane.commands.errors import AlreadyExists, CommandError, NotFound, StaleWrite
from controlplane.commands.lineage import confirm_store, ensure_lineage
from controlplane.commands.receipts import Action, Change, Receipt, Registration
from controlplane.commands.registry import Commands
from controlplane.commands.staging import MOST_CHANGES, Decided, Sweeper, Undecided

__all__ = [
    "MOST_CHANGES",
    "Action",
    "AlreadyExists",
    "Change",
    "CommandError",
    "Commands",
    "Decided",
    "NotFound",
    "Receipt",
    "Registration",
    "StaleWrite",
    "Sweeper",
    "Undecided",
    "confirm_store",
    "ensure_lineage",
]
