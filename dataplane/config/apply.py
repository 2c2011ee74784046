"""Taking changes in: parts of a change are gathered beside the table in use, and make a new table when complete.

The supervisor and its workers run this same code over the same parts. The supervisor does so first, so that a change
which cannot become a table is refused before any worker has seen it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.config.builtin import with_builtin
from dataplane.config.decode import Part
from dataplane.config.table import Item, Problem, Resources, Table, TableError, build
from dataplane.policy.authenticate import Authenticator


class Assembly:
    """The table in use, and the change being taken in, if any. A change that fails leaves the table as it was."""

    def __init__(self, builtin: Sequence[Item] = (), max_routes: int | None = None) -> None:
        """`max_routes` is given where changes are checked; workers, who get checked ones, leave it out."""
        self._builtin = tuple(builtin)
        self._max_routes = max_routes
        self._resources = Resources()
        self._staged: Resources | None = None
        self._problems: list[Problem] = []
        self.table: Table = build(with_builtin(self._resources, self._builtin))
        self._before = self._resources, self.table

    def take(self, part: Part) -> None:
        """Gather one part; what is wrong with it is told by `complete`."""
        if (part.base_revision, part.base_digest) != (self.table.revision, self.table.digest):
            self._problems.append(Problem("", "base_revision", "the change is not based on the table in use"))
            return
        self._problems += part.problems
        if self._staged is None:
            self._staged = self._resources.copy()
        for key in part.removed:
            self._staged.remove(key)
        for key, item in part.changed:
            self._staged.put(key, item)

    def complete(self, revision: int, digest: str) -> Table:
        """Build the table from everything gathered and put it in use; raises TableError, then nothing changed."""
        staged, self._staged = self._staged or self._resources, None
        problems, self._problems = self._problems, []
        if problems:
            raise TableError(problems)
        if self._max_routes is not None:
            _check_size(staged, self._max_routes)
        table = build(with_builtin(staged, self._builtin), revision, digest)
        if self._max_routes is not None:
            _check_keys(table)
        self._before = self._resources, self.table
        self._resources, self.table = staged, table
        return table

    def revert(self) -> None:
        """Put the table before the last `complete` in use again."""
        self._resources, self.table = self._before


def _check_size(resources: Resources, most: int) -> None:
    if len(resources.route) > most:
        raise TableError([Problem("", "routes", f"{len(resources.route)} exceeds MAX_ROUTES {most}")])


def _check_keys(table: Table) -> None:
    """Whether tokens can be verified with these keys; workers will find out only when they put them in use."""
    for key in table.keys:
        try:
            Authenticator([key])
        except ValueError as error:
            raise TableError([Problem(f"verification_key/{key.id}", "jwk", str(error))]) from None
