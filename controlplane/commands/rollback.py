"""The past of the configuration: looked at, compared, and put in force again as a new change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.commands.config import ConfigCommands
from controlplane.commands.errors import NotFound
from controlplane.commands.receipts import Change, Receipt
from controlplane.commands.secrets import Passwords
from controlplane.commands.state import State, Step, check_size, read_state, refusal, step_for
from controlplane.model.document import read_one
from controlplane.model.history import Edit, Fields, Record, Unknown, edit, fields_of, undone
from controlplane.model.problems import Problem
from controlplane.model.resources import KINDS, Resource, ResourceId
from controlplane.model.stored import CHANGE, key_of
from controlplane.model.validate import Declared, check_references, referrers
from controlplane.store import Delete, Write

Past = Mapping[ResourceId, Fields | None]

_ORDER = {kind: position for position, kind in enumerate(KINDS)}


class RollbackCommands(ConfigCommands):
    """Commands on the history. Revisions that it does not reach are NotFound."""

    async def changes(self) -> list[Record]:
        """Every change that is on record, the newest first."""
        return await self.history.records()

    async def change(self, revision: int) -> Record:
        """The change that made this revision."""
        for record in await self.history.records():
            if record.revision == revision:
                return record
        raise NotFound("change", str(revision))

    async def compare(self, old: int, new: int | None = None) -> list[Edit]:
        """What leads from the configuration at revision `old` to that at `new`, None for now; by kind and name."""
        records = await self.history.records()
        state = await read_state(self._store, self._reader)
        await self._check_reached(old, new)
        before = _past(records, old)
        after = _past(records, new) if new is not None else {}
        edits = []
        for identity in sorted({*before, *after}, key=_place):
            present = fields_of(_present(state, identity))
            one = Edit(*identity, before.get(identity, present), after.get(identity, present))
            if one.before != one.after:
                edits.append(one)
        return edits

    async def rollback(self, to: int, *, author: str, dry_run: bool = False) -> Receipt:
        """Make the configuration again what it was at revision `to`, in one change; what is on record is undone.

        Users keep the passwords they have; one that comes back from a deletion has none. Raises InvalidConfig when
        the old state does not go together with what is there now.
        """

        async def attempt() -> Receipt:
            state = await read_state(self._store, self._reader)
            await self._check_reached(to)
            plan = await self._plan(state, _past(await self.history.records(), to))
            changes = tuple(plan.changes)
            if dry_run or not plan.writes:
                return Receipt(state.revision(CHANGE), changes)
            keys = [write.key for write in plan.writes]
            words = f"roll back to revision {to}"
            return Receipt(
                await self._commit(state, keys, plan.writes, author, words, plan.edits(state)), changes
            )

        return await self._again(attempt)

    async def _check_reached(self, *revisions: int | None) -> None:
        latest = await self.history.revision()
        for revision in revisions:
            if revision is not None and revision > latest:
                raise NotFound("revision", str(revision))

    async def _plan(self, state: State, past: Past) -> _Plan:
        gone = [name for name, then in past.items() if then is None and state.revision(key_of(*name))]
        declared, problems = _declared(past)
        left = {identity: one for identity, one in state.config.items() if identity not in past}
        problems += check_references(left, declared, also=state.unreadable - set(past))
        whole = left | {
            (item.kind, item.name): item.resource for item in declared if item.resource is not None
        }
        for identity in gone:
            for kind, name in referrers(whole, identity):
                where = "/".join(identity)
                problems.append(Problem(where, f"did not exist then, and is needed by {kind} {name!r}"))
        if problems:
            raise refusal(problems)
        passwords = Passwords(self._hasher, [])
        steps = [
            step_for(state, await passwords.settle(item.resource, state.resources))
            for item in declared
            if item.resource is not None
        ]
        plan = _Plan([step for step in steps if step.action != "unchanged"], sorted(gone, key=_place))
        check_size(plan.steps, len(plan.gone))
        return plan


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a rollback has to do."""

    steps: list[Step]
    gone: list[ResourceId]

    @property
    def writes(self) -> list[Write]:
        return [*(step.put for step in self.steps), *(Delete(key_of(*identity)) for identity in self.gone)]

    @property
    def changes(self) -> Iterable[Change]:
        yield from (step.change for step in self.steps)
        yield from (Change("delete", *identity) for identity in self.gone)

    def edits(self, state: State) -> list[Edit]:
        put = [
            edit(step.resource.KIND, step.resource.name, _present(state, _id(step.resource)), step.resource)
            for step in self.steps
        ]
        return [*put, *(edit(*identity, _present(state, identity), None) for identity in self.gone)]


def _past(records: list[Record], revision: int) -> Past:
    try:
        return undone(records, revision)
    except Unknown as error:
        raise NotFound("revision", str(revision), str(error)) from None


def _declared(past: Past) -> tuple[list[Declared], list[Problem]]:
    """The resources of then, as somebody would write them now."""
    declared: list[Declared] = []
    problems: list[Problem] = []
    for identity, fields in sorted(past.items(), key=lambda item: _place(item[0])):
        if fields is not None:
            one, wrong = read_one(identity[0], fields, "/".join(identity))
            declared.append(one)
            problems += wrong
    return declared, problems


def _present(state: State, identity: ResourceId) -> Resource | None:
    stamped = state.resources.get(identity)
    return stamped.resource if stamped else None


def _id(resource: Resource) -> ResourceId:
    return resource.KIND, resource.name


def _place(identity: ResourceId) -> tuple[int, str]:
    return _ORDER.get(identity[0], len(_ORDER)), identity[1]
