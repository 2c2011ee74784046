"""Applies changes: collects the parts of a change beside the table in use, and builds the new table from them.

The supervisor and its workers run this code over the same parts. The supervisor goes first, so that a change which
cannot become a table is rejected before a worker has seen it.
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
    ResourceSet,
    Steps,
    Table,
    TableError,
    evolving,
    run_steps,
)
from dataplane.gateway.policy.authenticate import Authenticator
from dataplane.proxy.tls import BadChain, server_context


@dataclass(frozen=True, slots=True)
class _Applied:
    """A table and its source."""

    table: Table
    resources: ResourceSet
    replaced: dict[str, str | None]
    """Path by name of the routes that replace built-in ones."""


@dataclass(slots=True)
class _Change:
    """The parts of a change so far."""

    resources: ResourceSet
    touched: set[ResourceKey] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


class Assembly:
    """The table in use, and the change being applied, if any. A change that fails leaves the table as it was."""

    def __init__(self, builtin: Iterable[Item] = (), max_routes: int | None = None) -> None:
        """The supervisor, which checks changes, sets `max_routes`; workers get checked changes and leave it out."""
        self._builtin = Builtin(builtin)
        self._max_routes = max_routes
        self._applied = self._before = _Applied(EMPTY, ResourceSet(), {})
        self._change: _Change | None = None
        self.complete(0, "")

    @property
    def table(self) -> Table:
        """The table in use."""
        return self._applied.table

    def take(self, part: Part) -> None:
        """Collect one part. `complete` raises the problems found in it."""
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
        """Build the table from the collected parts and put it in use. Raises TableError; then nothing has changed."""
        return run_steps(self.completing(revision, digest))

    def completing(self, revision: int, digest: str) -> Steps[Table]:
        """`complete` in steps of about a millisecond. Call no other method before the last step."""
        change, self._change = self._change or _Change(self._applied.resources.copy()), None
        if change.problems:
            raise TableError(change.problems)
        if self._max_routes is not None:
            routes = len(change.resources.route) - self._builtin.routes_in(change.resources)
            _check_size(routes, self._max_routes)
        replaced = self._builtin.join(change.resources, change.touched, self._applied.replaced)
        table = yield from evolving(self.table, change.resources, change.touched, revision, digest)
        if self._max_routes is not None:
            _check_keys(table)
            _check_certificates(table, self.table)
        self._before, self._applied = self._applied, _Applied(table, change.resources, replaced)
        return table

    def variant(
        self, changed: Iterable[tuple[ResourceKey, Item]], removed: Iterable[ResourceKey], revision: int
    ) -> Steps[Table]:
        """The table in use with other resources, in steps of about a millisecond; it is not put in use. Raises
        TableError."""
        resources, touched = self._applied.resources.copy(), set[ResourceKey]()
        for key in removed:
            resources.remove(key)
            touched.add(key)
        for key, item in changed:
            resources.put(key, item)
            touched.add(key)
        self._builtin.join(resources, touched, self._applied.replaced)
        return (yield from evolving(self.table, resources, touched, revision, ""))

    def revert(self) -> None:
        """Undo the last `complete`."""
        self._applied = self._before


def _check_size(routes: int, most: int) -> None:
    if routes > most:
        raise TableError([Problem("", "routes", f"{routes} exceeds MAX_ROUTES {most}")])


def _check_keys(table: Table) -> None:
    """Raise TableError when a key cannot verify tokens: workers would notice only when they swap the table."""
    for key in table.keys:
        try:
            Authenticator([key])
        except ValueError as error:
            raise TableError([Problem(f"verification_key/{key.id}", "jwk", str(error))]) from None


def _check_certificates(table: Table, before: Table) -> None:
    """Raise TableError for new certificates whose key is another one's, and new authorities that cannot be read:
    workers make contexts only when clients connect."""
    if table.certificates is before.certificates:
        return
    problems = []
    for name, certificate in table.certificates.items():
        if before.certificates.get(name) is certificate:
            continue
        try:
            server_context(certificate.served.chain)
        except BadChain:
            detail = "is not the unencrypted private key of the certificate"
            problems.append(Problem(f"certificate/{name}", "private_key", detail))
    if problems:
        raise TableError(problems)
