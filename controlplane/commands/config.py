"""Changing the configuration: read, validate, one transaction on the revisions that were read."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from controlplane.commands.errors import AlreadyExists, CommandError, NotFound, StaleWrite
from controlplane.commands.history import History, Prepared
from controlplane.commands.receipts import Receipt
from controlplane.commands.secrets import Passwords
from controlplane.commands.staging import DECIDING, fits, size_of, write_staged
from controlplane.commands.state import (
    Follower,
    Step,
    check,
    check_size,
    present,
    read_state,
    refusal,
    step_for,
    summary,
)
from controlplane.identity import Hasher
from controlplane.model.config import View
from controlplane.model.document import Document, read_document, read_one
from controlplane.model.history import Edit, edit
from controlplane.model.problems import ConfigProblems, InconsistentConfig, InvalidConfig, Problem
from controlplane.model.resources import KINDS, User
from controlplane.model.stored import CHANGE, Stamped, change_value, decode, key_of
from controlplane.store import Conflict, Delete, Put, Store, StoreError, TooLarge, Write

T = TypeVar("T")

_TRIES = 8

_AT_ONCE = 0.5
"""Seconds that a command waits for the watcher to see the last change of its own; then it asks the store."""

_TURN = 5.0
"""Seconds that a command waits for its turn; then it tries without."""


class ConfigCommands:
    """Commands on services, routes, scopes, users and rate limits. All raise the store's errors, too.

    A conflict with another writer is no error: the command is tried again on what that writer left, a few times.
    """

    def __init__(
        self, store: Store, hasher: Hasher, clock: Callable[[], float], follower: Follower | None = None
    ) -> None:
        """`clock` gives Unix seconds; `follower` spares reading the whole store for every command."""
        self._store = store
        self._hasher = hasher
        self._clock = clock
        self._follower = follower
        self.history = History(store)
        self._turn = asyncio.Lock()
        self._latest = 0
        """Revision of the last change that was made here, if the watcher sees it in time."""
        self._written_on: View | None = None
        """What it was made on."""

    async def get(self, kind: str, name: str) -> Stamped:
        """One resource. Raises NotFound, and InconsistentConfig when the stored value does not parse."""
        # No name is longer or has other characters, and the store takes no arbitrary text.
        possible = name.isascii() and len(name) <= 128
        entry = await self._store.get(key_of(kind, name)) if possible else None
        resource = decode(entry) if entry else None
        if entry is None or resource is None:
            raise NotFound(kind, name)
        return Stamped(resource, entry.revision)

    async def list(self, kind: str) -> tuple[Stamped, ...]:
        """Every resource of a kind by name; stored values that do not parse are left out."""
        found = (await read_state(self._store, self._follower)).resources.items()
        return tuple(stamped for identity, stamped in sorted(found) if identity[0] == kind)

    async def find_user(self, username: str) -> User | None:
        """A user with the password's hash; None when there is none, or none that can be read."""
        try:
            found = await self.get("user", username)
        except (NotFound, InconsistentConfig):
            return None
        return found.resource if isinstance(found.resource, User) else None

    async def apply(self, document: object, *, author: str, dry_run: bool = False) -> Receipt:
        """Create or update everything that the document declares; what it leaves out is left alone.

        Raises InvalidConfig with all problems. A dry run checks the same and writes nothing.
        """
        read = read_document(document)
        passwords = Passwords(self._hasher, [item.resource for item in read.declared])

        async def attempt(state: View) -> Receipt:
            steps = await self._steps(state, read, passwords)
            changes = tuple(step.change for step in steps)
            if dry_run:
                return Receipt(state.change, changes)
            return Receipt(await self._write(state, steps, passwords, author), changes)

        return await self._on_state(attempt)

    async def create(self, kind: str, body: object, *, author: str) -> Stamped:
        """Add a resource. Raises InvalidConfig, AlreadyExists."""
        return await self.put(kind, body, if_none_match=True, author=author)

    async def put(
        self,
        kind: str,
        body: object,
        *,
        name: str | None = None,
        if_match: int | None = None,
        if_none_match: bool = False,
        author: str,
    ) -> Stamped:
        """Create a resource or replace it as a whole. `name` is taken when the body has none, and must agree otherwise.

        Raises InvalidConfig, StaleWrite unless the resource is at revision `if_match`, AlreadyExists when it exists
        and `if_none_match` is set.
        """
        declared, problems = read_one(kind, _named(kind, body, name))
        if name is not None and declared.name and declared.name != name:
            problems += (Problem(KINDS[kind].NAMED_BY, f"must be {name!r}, as in the address"),)
        read = Document((declared,), problems)
        passwords = Passwords(self._hasher, [declared.resource])

        async def attempt(state: View) -> Stamped:
            revision = state.revision((kind, declared.name))
            # A body that is wrong is told so whatever the conditions (RFC 9110, 13.2.1).
            if not problems and if_none_match and revision:
                raise AlreadyExists(kind, declared.name, revision)
            if not problems and if_match is not None and revision != if_match:
                raise StaleWrite(kind, declared.name, revision)
            (step,) = await self._steps(state, read, passwords)
            if step.action == "unchanged":
                return Stamped(step.resource, revision)
            return Stamped(step.resource, await self._write(state, [step], passwords, author))

        return await self._on_state(attempt, at_once=True)

    async def delete(self, kind: str, name: str, *, if_match: int | None = None, author: str) -> int:
        """Remove a resource; return the revision. Raises NotFound, StaleWrite, InvalidConfig naming who needs it."""
        key = key_of(kind, name)

        async def attempt(state: View) -> int:
            revision = state.revision((kind, name))
            if if_match is not None and revision != if_match:
                raise StaleWrite(kind, name, revision)
            if not revision:
                raise NotFound(kind, name)
            if needing := state.links.needing((kind, name)):
                raise refusal([Problem("", f"is needed by {who} {what!r}") for who, what in sorted(needing)])
            edits = [edit(kind, name, present(state, (kind, name)), None)]
            words = f"delete {kind}/{name}"
            return await self._commit(state, {key: revision}, [Delete(key)], author, words, edits)

        return await self._on_state(attempt, at_once=True)

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until no other writer comes between; after a few times Conflict is raised.

        The first try waits for nobody. Those that met a conflict take turns: then only writers in other control planes
        are rivals.
        """
        with contextlib.suppress(Conflict):
            return await attempt()
        async with self._in_turn():
            return await _tried(attempt)

    async def _on_state(self, attempt: Callable[[View], Awaitable[T]], *, at_once: bool = False) -> T:
        """The same for changes of the configuration, which all expect the change entry: they take turns from the
        start. Each attempt gets the configuration as it is then; with `at_once` the first takes it as it is known."""
        missed: tuple[str, ...] = ()

        async def once() -> T:
            nonlocal missed
            # Somebody who writes without the change entry came between: the follower may not know of it yet.
            by_hand = bool(missed) and CHANGE not in missed
            try:
                return await attempt(await read_state(self._store, None if by_hand else self._follower))
            except Conflict as error:
                missed = error.keys
                raise

        async with self._in_turn():
            if at_once and (done := await self._at_once(attempt)) is not None:
                return done[0]
            return await _tried(once)

    async def _at_once(self, attempt: Callable[[View], Awaitable[T]]) -> tuple[T] | None:
        """Try on what is known here, without asking the store first.

        Counts only if it has written, for then the transaction has found that nothing else was changed. Any other
        outcome, a refusal too, may come from not knowing what somebody has changed a moment ago.
        """
        state = await self._follower.view(self._latest, _AT_ONCE) if self._follower else None
        if state is None:
            # Not waited for again: in a store that was restored it may take for ever.
            self._latest = 0
            return None
        with contextlib.suppress(Conflict, CommandError, ConfigProblems):
            done = await attempt(state)
            if self._written_on is state:
                return (done,)
        return None

    @contextlib.asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """One after the other, but nobody waits for long: a store that does not answer is told to all at once."""
        mine = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TURN):
                mine = await self._turn.acquire()
        try:
            yield
        finally:
            if mine:
                self._turn.release()

    async def _steps(self, state: View, read: Document, passwords: Passwords) -> builtins.list[Step]:
        resources = check(state, read.declared, read.problems)
        passwords.check()
        steps = [step_for(state, await passwords.settle(resource, state.resources)) for resource in resources]
        check_size(sum(step.action != "unchanged" for step in steps))
        return steps

    async def _write(self, state: View, steps: Sequence[Step], passwords: Passwords, author: str) -> int:
        needed = await passwords.hashed(step for step in steps if step.action != "unchanged")
        if not needed:
            return state.change
        before = {step.key: step.before for step in needed}
        edits = [
            edit(one.KIND, one.name, present(state, (one.KIND, one.name)), one)
            for one in (step.resource for step in needed)
        ]
        puts = [step.put for step in needed]
        return await self._commit(state, before, puts, author, summary(needed), edits)

    async def _commit(
        self,
        state: View,
        before: Mapping[str, int],
        writes: Sequence[Write],
        author: str,
        words: str,
        edits: Sequence[Edit],
    ) -> int:
        """Write on the revisions that were read. The change entry is among them: references still hold.

        The record of the change is written with it, so that there is neither without the other.
        """
        check_size(len(writes), size_of(writes))
        whole = fits(writes)
        record = await self._record(edits, author, words, len(writes) if whole else DECIDING, state.change)
        try:
            if whole:
                revision = await self._recorded(before, writes, record)
            else:
                revision = await write_staged(self._store, record.expected, record.writes, writes)
        except TooLarge as error:
            raise InvalidConfig([Problem("", f"does not fit into one transaction: {error.detail}")]) from None
        self._latest, self._written_on = max(revision, self._latest), state
        return revision

    async def _record(
        self, edits: Sequence[Edit], author: str, words: str, others: int, change: int
    ) -> Prepared:
        """What is expected and written to have a change in the change entry and in the history, after `change`."""
        author, now = author[:128], self._clock()
        record = await self.history.record(edits, author, now, words, others + 1, change)
        return replace(
            record,
            expected={CHANGE: change, **record.expected},
            writes=[*record.writes, Put(CHANGE, change_value(author, now, words))],
        )

    async def _recorded(self, expected: Mapping[str, int], writes: Sequence[Write], record: Prepared) -> int:
        """Write a change with its record; return the revision."""
        try:
            revision = await self._store.commit({**expected, **record.expected}, [*writes, *record.writes])
        except StoreError:
            self.history.forget()
            raise
        self.history.recorded(record, revision)
        return revision


async def _tried(attempt: Callable[[], Awaitable[T]]) -> T:
    for _ in range(_TRIES - 1):
        with contextlib.suppress(Conflict):
            return await attempt()
    return await attempt()


def _named(kind: str, body: object, name: str | None) -> object:
    field = KINDS[kind].NAMED_BY
    return {field: name, **body} if name is not None and isinstance(body, Mapping) else body
