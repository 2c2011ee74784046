"""The past of the configuration: looked at, compared, and put in force again as a new change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.commands.config import ConfigCommands
from controlplane.commands.errors import NotFound
from controlplane.commands.receipts import Change, Receipt
from controlplane.commands.secrets import Passwords
from controlplane.commands.state import Step, check_size, present, read_state, refusal, step_for
from controlplane.model.config import View
from controlplane.model.document import read_one
from controlplane.model.history import Edit, Fields, Record, Unknown, edit, fields_of, undone
from controlplane.model.links import Links
from controlplane.model.problems import Problem
from controlplane.model.resources import KINDS, Resource, ResourceId
from controlplane.model.stored import key_of
from controlplane.model.validate import Declared, check_references
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
        state = await read_state(self._store, self._follower)
        await self._check_reached(old, new)
        before = _past(records, old)
        after = _past(records, new) if new is not None else {}
        edits = []
        for identity in sorted({*before, *after}, key=_place):
            now = fields_of(present(state, identity))
            one = Edit(*identity, before.get(identity, now), after.get(identity, now))
            if one.before != one.after:
                edits.append(one)
        return edits

    async def rollback(self, to: int, *, author: str, dry_run: bool = False) -> Receipt:
        """Make the configuration again what it was at revision `to`, in one change; what is on record is undone.

        Users keep the passwords they have; one that comes back from a deletion has none. Raises InvalidConfig when
        the old state does not go together with what is there now.
        """

        async def attempt(state: View) -> Receipt:
            await self._check_reached(to)
            plan = await self._plan(state, _past(await self.history.records(), to))
            changes = tuple(plan.changes)
            if dry_run or not plan.writes:
                return Receipt(state.change, changes)
            words = f"roll back to revision {to}"
            return Receipt(
                await self._commit(state, plan.before(state), plan.writes, author, words, plan.edits(state)),
                changes,
            )

        return await self._on_state(attempt)

    async def _check_reached(self, *revisions: int | None) -> None:
        latest = await self.history.revision()
        for revision in revisions:
            if revision is not None and revision > latest:
                raise NotFound("revision", str(revision))

    async def _plan(self, state: View, past: Past) -> _Plan:
        gone = [name for name, then in past.items() if then is None and state.revision(name)]
        declared, problems = _declared(past)
        left = {name: one.resource for name, one in state.resources.items() if name not in past}
        problems += check_references(left, Links(left), declared, also=state.unreadable.keys() - past.keys())
        whole = left | {
            (item.kind, item.name): item.resource for item in declared if item.resource is not None
        }
        links = Links(whole)
        for identity in gone:
            for kind, name in sorted(links.needing(identity)):
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
        check_size(len(plan.steps) + len(plan.gone))
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

    def before(self, state: View) -> Mapping[str, int]:
        """The revisions of everything that is written, as they were read."""
        gone = {key_of(*identity): state.revision(identity) for identity in self.gone}
        return {step.key: step.before for step in self.steps} | gone

    def edits(self, state: View) -> list[Edit]:
        put = [
            edit(step.resource.KIND, step.resource.name, present(state, _id(step.resource)), step.resource)
            for step in self.steps
        ]
        return [*put, *(edit(*identity, present(state, identity), None) for identity in self.gone)]


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


def _id(resource: Resource) -> ResourceId:
    return resource.KIND, resource.name


def _place(identity: ResourceId) -> tuple[int, str]:
    return _ORDER.get(identity[0], len(_ORDER)), identity[1]
