"""Results of commands, and the errors they raise beside InvalidConfig and the store's. When one of these is raised,
nothing was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from controlplane.model.history import Edit
from controlplane.model.problems import InvalidConfig, Problem

Action = Literal["create", "update", "delete", "unchanged"]


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of a command on one resource, also in a dry run."""

    action: Action
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Spared:
    """A resource that a document leaves out and the selection has, and that is not deleted."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A change of configuration that was made."""

    revision: int
    """Store revision of the change; of the last earlier one when nothing had to be written."""
    changes: tuple[Change, ...]
    """One for each resource of the request, in its order by kind."""
    warnings: tuple[Problem, ...] = ()
    """Warnings about allowed but probably unintended values, by their place in the document."""
    unfinished: bool = False
    """The change is decided, but not completed yet, because the store failed meanwhile. It will be completed."""
    edits: tuple[Edit, ...] = ()
    """Of a dry run: what would change, the first of them."""
    spared: tuple[Spared, ...] = ()
    """Of a change that deletes what its document leaves out: the resources that stay."""
    plan: str = ""
    """Of a dry run: the digest of what would be done to which state."""


@dataclass(frozen=True, slots=True)
class Registration:
    """An instance that is in the table as long as its lease is kept alive."""

    lease: int
    ttl: float
    """Seconds without keep-alive after which it is removed."""
    revision: int
    workers: int = 1
    """How many hold it now."""
    replaced: str = ""
    """host:port of the registration that it replaced; empty when there was none."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A lease that was renewed."""

    ttl: float
    """Seconds that are left."""
    removed: bool = False
    """Someone other than its processes removed the instance: it stays removed."""
    draining: bool = False


class CommandError(Exception):
    """Base of these errors: a resource is not in the state that the command needs."""

    def __init__(self, kind: str, name: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.name = name


class NotFound(CommandError):
    """The resource or the revision does not exist."""

    def __init__(self, kind: str, name: str, detail: str = "") -> None:
        super().__init__(kind, name, detail or f"{kind} {name!r} does not exist")


class BuiltIn(CommandError):
    """The resource is the control plane's own."""

    def __init__(self, kind: str, name: str, consequence: str) -> None:
        force = "force=true deletes it; it is not created again"
        detail = f"{kind} {name!r} is built in: without it {consequence}. {force}"
        super().__init__(kind, name, detail)


class BuiltInChange(CommandError):
    """The change takes the admin API from the gateway."""

    def __init__(self, kind: str, name: str, consequence: str, *, built_in: bool = True) -> None:
        what = f"{kind} {name!r}{' is built in' if built_in else ''}"
        detail = f"{what}: with this change {consequence}. force=true makes the change"
        super().__init__(kind, name, detail)


class Leaving(CommandError):
    """The instance's own processes have deregistered it, and are stopping."""

    def __init__(self, name: str) -> None:
        detail = (
            f"instance {name!r} was deregistered by its own processes: it returns when they register it again"
        )
        super().__init__("instance", name, detail)


class StaleWrite(CommandError):
    """The resource is not at the revision that the caller has seen. `revision` is its present one, 0 when absent."""

    def __init__(self, kind: str, name: str, revision: int) -> None:
        state = f"is at revision {revision} now" if revision else "does not exist"
        super().__init__(kind, name, f"{kind} {name!r} {state}")
        self.revision = revision


class PlanChanged(CommandError):
    """The change would do something else than the dry run that the caller has seen."""

    def __init__(self) -> None:
        super().__init__(
            "change", "", "The configuration was changed since the dry run, so this would be another change"
        )


class AlreadyExists(StaleWrite):
    """The resource to be created exists already."""

    def __init__(self, kind: str, name: str, revision: int) -> None:
        super().__init__(kind, name, revision)
        self.args = (f"{kind} {name!r} exists already",)


class Occupied(CommandError):
    """The instance is registered at the same address: the caller joins its holders."""

    def __init__(self, name: str) -> None:
        super().__init__("instance", name, f"instance {name!r} is registered at this address already")


class DuplicateInstance(CommandError):
    """The instance is registered at another address, whose holder keeps it."""

    def __init__(self, name: str, address: str) -> None:
        super().__init__(
            "instance", name, f"instance {name!r} is registered by another process, at {address}"
        )


class StillNeeded(InvalidConfig):
    """Others name the resource that is to be deleted. `needed_by`: their kinds and names."""

    def __init__(self, problems: Iterable[Problem], needed_by: Iterable[tuple[str, str]]) -> None:
        super().__init__(problems)
        self.needed_by = tuple(needed_by)


class UnknownService(InvalidConfig):
    """An instance of a service that does not exist."""

    def __init__(self, service_name: str) -> None:
        detail = f"service {service_name!r} does not exist, and the registration does not declare it"
        super().__init__([Problem("service_name", detail)])
