"""Deletion of resources that a document leaves out: the store becomes equal to it, within a selection by labels.

Some resources stay although they are selected, because others own them, or because what they hold cannot be restored.
The caller is told which, and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from controlplane.commands.errors import PlanChanged, Spared
from controlplane.commands.plan import PlanView
from controlplane.commands.plans.puts import Step, present
from controlplane.model.builtin import BUILT_IN
from controlplane.model.labels import MANAGED_BY, Wanted, selects, written
from controlplane.model.problems import Problem, join
from controlplane.model.resources import (
    Certificate,
    Instance,
    Listener,
    Resource,
    ResourceId,
    User,
    documents,
)
from controlplane.model.validate import Declared, word

MOST_SPARED = 200
"""Resources that stay, as far as they are listed."""


@dataclass(frozen=True, slots=True)
class Prune:
    """The resources that a change deletes unless its document declares them."""

    labels: Wanted = ()
    """Those with all of these; empty: every one."""
    users: bool = False
    """Users, too."""
    certificates: bool = False
    """Certificates, too. Their private keys are lost."""
    empty: bool = False
    """Also if the document declares nothing."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The resources that are deleted, and those that stay although they are selected and not declared."""

    gone: tuple[ResourceId, ...] = ()
    spared: tuple[Spared, ...] = ()

    def names(self, kind: str) -> frozenset[str]:
        """Those of a kind that are deleted."""
        return frozenset(name for of, name in self.gone if of == kind)


NOTHING = Pruned()


def prune(view: PlanView, declared: Collection[Declared], request: Prune) -> Pruned:
    """The selected resources that are not declared."""
    here = {(item.kind, item.name) for item in declared}
    gone: list[ResourceId] = []
    spared: list[Spared] = []
    for kind in (model.KIND for model in documents().values()):
        for name in view.names.get(kind, ()):
            if (kind, name) in here or (kind, name) in BUILT_IN:
                continue
            found = view.resources[kind, name].resource
            if not selects(request.labels, found.labels):
                continue
            if reason := _reason(view, found, request):
                spared.append(Spared(kind, name, reason))
            else:
                gone.append((kind, name))
    return Pruned(tuple(gone), tuple(spared))


def _reason(view: PlanView, found: Resource, request: Prune) -> str:
    """Why a resource stays; empty if it is deleted."""
    if isinstance(found, User) and not request.users:
        return "users are deleted only if that is asked for (users=true)"
    if isinstance(found, Certificate) and found.sealed and not request.certificates:
        return "certificates are deleted only if that is asked for (certificates=true)"
    owner = found.labels.get(MANAGED_BY)
    if owner is not None and (MANAGED_BY, owner) not in request.labels:
        return f"managed by {owner!r} (label {MANAGED_BY})"
    if any(kind == Instance.KIND for kind, _ in view.index.needing((found.KIND, found.name))):
        return "instances are registered"
    return ""


def complaints(
    view: PlanView, declared: Sequence[Declared], request: Prune, pruned: Pruned
) -> Iterator[Problem]:
    """Everything for which the store must not become equal to the document."""
    if not declared and not request.empty:
        yield Problem(
            "", "declares nothing, so everything that is selected would be deleted (empty=true does it)"
        )
    for item in declared:
        if item.resource is not None and not selects(request.labels, item.resource.labels):
            detail = f"must have {written(request.labels)}, as every resource of this change"
            yield Problem(join(item.where, "labels"), detail)
    yield from _needed(view, declared, pruned)


def _needed(view: PlanView, declared: Sequence[Declared], pruned: Pruned) -> Iterator[Problem]:
    """Deleted resources that others need which stay as they are. Those that are declared were checked themselves."""
    changed = {*pruned.gone, *((item.kind, item.name) for item in declared)}
    for kind, name in pruned.gone:
        for who, what in sorted(view.index.needing((kind, name)) - changed):
            detail = f"is not declared and would be deleted, but {word(who)} {what!r} needs it"
            yield Problem(f"{kind}/{name}", detail)


def take_overs(view: PlanView, declared: Iterable[Declared], request: Prune) -> Iterator[Problem]:
    """Warnings about resources of others that the change makes its own."""
    for item in declared:
        before = present(view, (item.kind, item.name))
        if before is None or item.resource is None:
            continue
        for name in dict.fromkeys((*(name for name, _ in request.labels), MANAGED_BY)):
            held = before.labels.get(name)
            if held is not None and held != item.resource.labels.get(name):
                yield Problem(join(item.where, "labels"), f"takes it over: the stored one has {name}={held}")


def remaining_listeners(view: PlanView, pruned: Pruned) -> dict[ResourceId, Listener]:
    """The listeners that are not deleted."""
    gone = pruned.names(Listener.KIND)
    found = (
        view.resources[Listener.KIND, name].resource
        for name in view.names.get(Listener.KIND, ())
        if name not in gone
    )
    return {(one.KIND, one.name): one for one in found if isinstance(one, Listener)}


def digest_of(steps: Iterable[Step]) -> str:
    """What a plan does to which state of the store: it differs when another change came between."""
    told = (f"{step.action} {step.kind} {step.name} {step.revision}\n" for step in steps)
    return hashlib.sha256("".join(sorted(told)).encode()).hexdigest()[:32]


def check_digest(steps: Iterable[Step], expected: str) -> str:
    """The digest of a plan. Raises PlanChanged unless it is the expected one; empty: any."""
    found = digest_of(step for step in steps if step.action != "unchanged")
    if expected and found != expected:
        raise PlanChanged
    return found
