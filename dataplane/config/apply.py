"""Taking changes in: parts of a change are gathered beside the table in use, and make a new table when complete.

The supervisor and its workers run this same code over the same parts. The supervisor does so first, so that a change
which cannot become a table is refused before any worker has seen it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dataplane.config.builtin import Builtin
from dataplane.config.decode import Part
from dataplane.config.table import (
    EMPTY,
    Item,
    Problem,
    ResourceKey,
    Resources,
    Steps,
    Table,
    TableError,
    evolving,
    finished,
)
from dataplane.gateway.policy.authenticate import Authenticator


@dataclass(frozen=True, slots=True)
class _Applied:
    """A table and what it was made of."""

    table: Table
    resources: Resources
    taken: dict[str, str | None]


@dataclass(slots=True)
class _Change:
    """What was gathered of a change so far."""

    resources: Resources
    touched: set[ResourceKey] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


class Assembly:
    """The table in use, and the change being taken in, if any. A change that fails leaves the table as it was."""

    def __init__(self, builtin: Iterable[Item] = (), max_routes: int | None = None) -> None:
        """`max_routes` is given where changes are checked; workers, who get checked ones, leave it out."""
        self._builtin = Builtin(builtin)
        self._max_routes = max_routes
        self._applied = self._before = _Applied(EMPTY, Resources(), {})
        self._change: _Change | None = None
        self.complete(0, "")

    @property
    def table(self) -> Table:
        """The table in use."""
        return self._applied.table

    def take(self, part: Part) -> None:
        """Gather one part; what is wrong with it is told by `complete`."""
        change = self._change = self._change or _Change(self._applied.resources.copy())
        if (part.base_revision, part.base_digest) != (self.table.revision, self.table.digest):
            change.problems.append(
                Problem("", "base_revision", "the change is not based on the table in use")
            )
            return
        change.problems += part.problems
        for key in part.removed:
            change.resources.remove(key)
            change.touched.add(key)
        for key, item in part.changed:
            change.resources.put(key, item)
            change.touched.add(key)

    def complete(self, revision: int, digest: str) -> Table:
        """Build the table from everything gathered and put it in use; raises TableError, then nothing changed."""
        return finished(self.completing(revision, digest))

    def completing(self, revision: int, digest: str) -> Steps[Table]:
        """`complete` in steps of about a millisecond; nothing else may be asked of this object before the last."""
        change, self._change = self._change or _Change(self._applied.resources.copy()), None
        if change.problems:
            raise TableError(change.problems)
        if self._max_routes is not None:
            routes = len(change.resources.route) - self._builtin.routes_in(change.resources)
            _check_size(routes, self._max_routes)
        taken = self._builtin.join(change.resources, change.touched, self._applied.taken)
        table = yield from evolving(self.table, change.resources, change.touched, revision, digest)
        if self._max_routes is not None:
            _check_keys(table)
        self._before, self._applied = self._applied, _Applied(table, change.resources, taken)
        return table

    def revert(self) -> None:
        """Put the table before the last `complete` in use again."""
        self._applied = self._before


def _check_size(routes: int, most: int) -> None:
    if routes > most:
        raise TableError([Problem("", "routes", f"{routes} exceeds MAX_ROUTES {most}")])


def _check_keys(table: Table) -> None:
    """Whether tokens can be verified with these keys; workers will find out only when they put them in use."""
    for key in table.keys:
        try:
            Authenticator([key])
        except ValueError as error:
            raise TableError([Problem(f"verification_key/{key.id}", "jwk", str(error))]) from None
