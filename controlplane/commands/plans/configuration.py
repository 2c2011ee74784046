"""Changes that people make: a whole document, one resource, a deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice

from controlplane.commands.errors import (
    AlreadyExists,
    BuiltIn,
    Change,
    NotFound,
    Spared,
    StaleWrite,
    StillNeeded,
)
from controlplane.commands.plan import Plan, PlanView, Request
from controlplane.commands.plans.pruning import (
    NOTHING,
    Prune,
    Pruned,
    check_digest,
    complaints,
    prune,
    remaining_listeners,
    take_overs,
)
from controlplane.commands.plans.puts import (
    check_built_in,
    delete_step,
    lacking_keys,
    plan_steps,
    present,
    put_step,
    refusal,
    with_passwords,
)
from controlplane.commands.plans.room import check_room
from controlplane.commands.staging import MOST_CHANGES
from controlplane.model.builtin import BUILT_IN
from controlplane.model.document import MOST_WARNINGS, Document, read_named
from controlplane.model.history import Edit
from controlplane.model.merge import patched
from controlplane.model.problems import InconsistentConfig, Problem
from controlplane.model.resource_index import ResourceIndex
from controlplane.model.resources import Resource, ResourceId, Route
from controlplane.model.stored import Stamped
from controlplane.model.validate import Declared, check_references, clashes, overlaps, stranded, word


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply(Request):
    """Create or update everything that the document declares; resources that it leaves out do not change."""

    document: Document
    force: bool = False
    """Also changes that defeat a built-in resource."""
    prune: Prune | None = None
    """Delete what is selected and not declared."""
    plan: str = ""
    """Only if a dry run had this digest; empty: in any case."""
    dry_run: bool = False

    @property
    def weight(self) -> int:
        # A selection looks at every resource.
        return MOST_CHANGES if self.prune else len(self.document.declared)


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of `apply`."""

    changes: tuple[Change, ...]
    overlaps: tuple[Problem, ...] = ()
    """Routes with the match of another one, routes that no data plane serves, and resources taken over."""
    edits: tuple[Edit, ...] = ()
    """Of a dry run: what would change, as far as it is shown."""
    spared: tuple[Spared, ...] = ()
    digest: str = ""
    """As in Receipt."""


MOST_SHOWN = 200
"""Edits that a dry run shows."""


def apply(view: PlanView, request: Apply) -> Plan[Applied]:
    """Raises InvalidConfig with all problems, BuiltInChange without `force`, and PlanChanged."""
    wanted, all_declared = request.prune, request.document.declared
    pruned = prune(view, all_declared, wanted) if wanted else NOTHING
    complaints_of_it = complaints(view, all_declared, wanted, pruned) if wanted else ()
    declared = _checked(view, all_declared, (*request.document.problems, *complaints_of_it), pruned)
    resources, passwords = with_passwords(view, declared, request.hashes, dry_run=request.dry_run)
    if passwords:
        return Plan(Applied(()), passwords=passwords)
    steps = [put_step(view, resource) for resource in resources]
    steps += [delete_step(view, identity) for identity in pruned.gone]
    digest = check_digest(steps, request.plan)
    check_built_in(view, steps, request.force)
    check_room(view, steps)
    plan = plan_steps(view, steps)
    found = _warnings(view, request, pruned)
    edits = tuple(islice(plan.edits, MOST_SHOWN)) if request.dry_run else ()
    receipt = Applied(plan.receipt, found, edits, pruned.spared, digest)
    made = replace(plan, receipt=receipt)  # type: ignore[arg-type]
    return made.dry() if request.dry_run else made  # type: ignore[return-value]


def _warnings(view: PlanView, request: Apply, pruned: Pruned) -> tuple[Problem, ...]:
    declared = request.document.declared
    rivals = overlaps(view.index, declared, _ages(view), pruned.names(Route.KIND))
    others = take_overs(view, declared, request.prune) if request.prune else ()
    lost = stranded(view.resources, declared)
    return tuple(islice(chain(others, rivals, lost), MOST_WARNINGS))


def _ages(view: PlanView) -> Callable[[str], int | None]:
    """The revision at which a route was created; None: there is none yet."""

    def created(name: str) -> int | None:
        stamped = view.resources.get((Route.KIND, name))
        return stamped.created if stamped else None

    return created


@dataclass(frozen=True, slots=True, kw_only=True)
class PutOne(Request):
    """Create a resource or replace it as a whole."""

    declared: Declared
    problems: tuple[Problem, ...] = ()
    """Problems of the resource by itself."""
    if_match: int | None = None
    """Only if it is at this revision."""
    only_new: bool = False
    """Only if there is none yet."""
    force: bool = False
    """Also a change that defeats a built-in resource."""
    dry_run: bool = False

    @property
    def small(self) -> bool:
        return True


def put(view: PlanView, request: PutOne) -> Plan[Stamped]:
    """Raises InvalidConfig, StaleWrite, AlreadyExists, BuiltInChange without `force`.

    The receipt has the revision before the change; 0 for a dry run that finds a change.
    """
    kind, name = request.declared.kind, request.declared.name
    revision = view.revision((kind, name))
    # A wrong body is refused before the conditions are checked (RFC 9110, 13.2.1).
    if not request.problems and request.only_new and revision:
        raise AlreadyExists(kind, name, revision)
    if not request.problems and request.if_match is not None and revision != request.if_match:
        raise StaleWrite(kind, name, revision)
    declared = _checked(view, (request.declared,), request.problems)
    (resource,), passwords = with_passwords(view, declared, request.hashes, dry_run=request.dry_run)
    receipt = Stamped(resource, revision)
    if passwords:
        return Plan(receipt, passwords=passwords)
    step = put_step(view, resource)
    check_built_in(view, [step], request.force)
    check_room(view, [step])
    plan = plan_steps(view, [step])
    if request.dry_run:
        return Plan(Stamped(resource, 0) if plan.writes else receipt)
    return Plan(receipt, plan.writes, plan.expects, plan.summary, plan.edits)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOne(Request):
    """Change some fields of a resource (RFC 7396)."""

    kind: str
    name: str
    patch: Mapping[str, object]
    if_match: int | None = None
    force: bool = False
    dry_run: bool = False
    """Both as in PutOne."""

    @property
    def small(self) -> bool:
        return True


def patch(view: PlanView, request: PatchOne) -> Plan[Stamped]:
    """Raises NotFound, and what `put` raises; InconsistentConfig when the stored value cannot be read."""
    kind, name = request.kind, request.name
    revision, before = view.revision((kind, name)), present(view, (kind, name))
    if not revision:
        raise NotFound(kind, name)
    if request.if_match is not None and revision != request.if_match:
        raise StaleWrite(kind, name, revision)
    if before is None:
        raise InconsistentConfig([Problem(f"{kind}/{name}", "cannot be read: replace it as a whole")])
    declared, problems = read_named(kind, patched(before, request.patch), name)
    whole = PutOne(
        author=request.author,
        hashes=request.hashes,
        declared=declared,
        problems=problems,
        force=request.force,
        dry_run=request.dry_run,
    )
    return put(view, whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOne(Request):
    """Remove a resource that no other resource needs."""

    kind: str
    name: str
    if_match: int | None = None
    force: bool = False
    """Built-in resources, too."""
    dry_run: bool = False

    @property
    def small(self) -> bool:
        return True


def delete(view: PlanView, request: DeleteOne) -> Plan[tuple[Change, ...]]:
    """Raises NotFound, StaleWrite, BuiltIn or BuiltInChange without `force`, and StillNeeded naming the resources that
    need it."""
    kind, name = request.kind, request.name
    revision = view.revision((kind, name))
    if request.if_match is not None and revision != request.if_match:
        raise StaleWrite(kind, name, revision)
    if not revision:
        raise NotFound(kind, name)
    if not request.force and (consequence := BUILT_IN.get((kind, name))):
        raise BuiltIn(kind, name, consequence)
    if needing := view.index.needing((kind, name)):
        users, needed = sorted(needing), f"{word(kind)} {name!r} is needed by"
        told = refusal([Problem("", f"{needed} {word(who)} {what!r}") for who, what in users])
        raise StillNeeded(told.problems, users)
    steps = [delete_step(view, (kind, name))]
    check_built_in(view, steps, request.force)
    plan = plan_steps(view, steps)
    return plan.dry() if request.dry_run else plan


def _checked(
    view: PlanView,
    declared: tuple[Declared, ...],
    problems: Iterable[Problem],
    pruned: Pruned = NOTHING,
) -> list[Resource]:
    """The declared resources, or InvalidConfig with everything that is wrong with them by themselves or in the view."""
    left: Mapping[ResourceId, object] = view.resources
    index = view.index
    if pruned.gone:
        gone = set(pruned.gone)
        left = {identity: one for identity, one in view.resources.items() if identity not in gone}
        index = ResourceIndex(dict(remaining_listeners(view, pruned)))
    found = [*problems, *check_references(left, declared, also=view.unreadable)]
    found += [*clashes(index, declared), *lacking_keys(view, declared)]
    if found:
        raise refusal(found)
    return [item.resource for item in declared if item.resource is not None]
