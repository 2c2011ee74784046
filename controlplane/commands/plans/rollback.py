"""Rollback: restores the configuration of an earlier revision as a new change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from controlplane.commands.errors import Change, NotFound
from controlplane.commands.plan import Plan, PlanView, Request
from controlplane.commands.plans.puts import (
    check_built_in,
    delete_step,
    hash_of,
    lacking_keys,
    plan_steps,
    present,
    put_step,
    refusal,
    with_generation,
)
from controlplane.commands.plans.room import check_room
from controlplane.commands.staging import MOST_CHANGES
from controlplane.model.certificate import Certificate, kept_key, with_key
from controlplane.model.document import read_one
from controlplane.model.history import (
    RECORDS,
    Edit,
    Fields,
    Record,
    UnknownState,
    fields_of,
    read_records,
    undone,
)
from controlplane.model.problems import Problem
from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import KINDS, Listener, Resource, ResourceId, User
from controlplane.model.stored import StoredEntry, with_hash
from controlplane.model.validate import Declared, check_references, clashes

T = TypeVar("T")

FREED = 100
"""Edits that are freed at once."""

Past = dict[ResourceId, Fields | None]
"""Resources as they were; None: there was none."""

_ORDER = {kind: position for position, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Request):
    """Undo every change after revision `to`.

    Users stay as they are, so that no withdrawn right comes back, unless `users` is set. Then they get their former
    scopes, and are enabled or disabled as before. Passwords never change: a user that was deleted and comes back has
    none.
    """

    to: int
    users: bool = False
    force: bool = False
    """Also if it deletes or defeats a built-in resource."""
    dry_run: bool = False

    @property
    def weight(self) -> int:
        return MOST_CHANGES  # known once the history was read

    @property
    def prefixes(self) -> tuple[str, ...]:
        return (RECORDS,)


def rollback(view: PlanView, request: Rollback) -> Plan[tuple[Change, ...]]:
    """Raises NotFound for a revision that the history does not reach, InvalidConfig when the old state conflicts with
    the kept resources, and BuiltIn or BuiltInChange without `force`."""
    listing = view.listings[RECORDS]
    past = show_records(listing.entries, lambda records: past_of(records, request.to, listing.revision))
    if not request.users:
        past = {identity: fields for identity, fields in past.items() if identity[0] != "user"}
    gone = _in_order(name for name, then in past.items() if then is None and view.revision(name))
    declared = _checked(view, past, gone)
    steps = [put_step(view, _with_credentials(view, resource)) for resource in declared]
    needed = [step for step in steps if step.action != "unchanged"]
    needed += [delete_step(view, one) for one in gone]
    check_built_in(view, needed, request.force)
    check_room(view, needed)
    plan = plan_steps(view, needed, f"roll back to revision {request.to}")
    let_go(past)
    for lot in (steps, needed, declared):
        let_go(lot)
    return plan.dry() if request.dry_run else plan


def show_records(entries: Iterable[StoredEntry], shown: Callable[[Sequence[Record]], T]) -> T:
    """The records in a listing, the newest first, as converted by `shown`."""
    records = read_records(entries)
    try:
        return shown(records)
    finally:
        while records:
            let_go(list(records.pop().edits))


def let_go(values: list[Any] | dict[Any, Any]) -> None:
    """Empty a large collection in small steps: no other thread runs while Python frees connected objects."""
    while values:
        if isinstance(values, list):
            del values[-FREED:]
        else:
            values.popitem()


def compare(view: PlanView, records: Sequence[Record], latest: int, old: int, new: int | None) -> list[Edit]:
    """The difference between the configurations at revisions `old` and `new` (None: now), by kind and name.

    Raises NotFound for revisions that the history does not reach.
    """
    before = past_of(records, old, latest)
    after = past_of(records, new, latest) if new is not None else {}
    edits = []
    for identity in _in_order({*before, *after}):
        now = fields_of(present(view, identity))
        one = Edit(*identity, before.get(identity, now), after.get(identity, now))
        if one.before != one.after:
            edits.append(one)
    let_go(before)
    let_go(after)
    return edits


def past_of(records: Sequence[Record], revision: int, latest: int) -> Past:
    """The former state of every resource that was changed after `revision`. Raises NotFound."""
    if revision > latest:
        raise NotFound("revision", str(revision))
    try:
        return undone(records, revision)
    except UnknownState as error:
        raise NotFound("revision", str(revision), str(error)) from None


def _checked(view: PlanView, past: Past, gone: Sequence[ResourceId]) -> list[Resource]:
    """The old resources, checked against those that are kept. Raises InvalidConfig."""
    declared, problems = _declared(past)
    left = {identity: one.resource for identity, one in view.resources.items() if identity not in past}
    problems += check_references(left, declared, also=view.unreadable.keys() - past.keys())
    listeners = {identity: one for identity, one in left.items() if isinstance(one, Listener)}
    problems += [*clashes(ResourceIndex(listeners), declared), *lacking_keys(view, declared)]
    back = [item.resource for item in declared if item.resource is not None]
    index = ResourceIndex(left | {(one.KIND, one.name): one for one in back})
    for identity in gone:
        for kind, name in sorted(index.needing(identity)):
            where = "/".join(identity)
            problems.append(Problem(where, f"did not exist at that revision, but {kind} {name!r} needs it"))
    if problems:
        raise refusal(problems)
    return back


def _declared(past: Past) -> tuple[list[Declared], list[Problem]]:
    """The old resources, as a document would declare them now."""
    declared: list[Declared] = []
    problems: list[Problem] = []
    for identity in _in_order(past):
        if (fields := past[identity]) is not None:
            one, wrong = read_one(identity[0], fields, "/".join(identity))
            declared.append(one)
            problems += wrong
    return declared, problems


def _with_credentials(view: PlanView, resource: Resource) -> Resource:
    if isinstance(resource, Certificate):
        return with_key(resource, kept_key(resource, present(view, (resource.KIND, resource.name))))
    if not isinstance(resource, User):
        return resource
    return with_hash(with_generation(view, resource), hash_of(present(view, ("user", resource.username))))


def _in_order(identities: Iterable[ResourceId]) -> list[ResourceId]:
    """By kind and name. Names are sorted separately, which takes a few milliseconds for ten thousand. Sorting them
    together with their kinds takes tens of milliseconds, in which no other thread runs.
    """
    names: dict[str, list[str]] = {}
    for kind, name in identities:
        names.setdefault(kind, []).append(name)
    kinds = sorted(names, key=lambda kind: (_ORDER.get(kind, len(_ORDER)), kind))
    return [(kind, name) for kind in kinds for name in sorted(names[kind])]
