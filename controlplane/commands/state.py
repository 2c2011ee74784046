"""The configuration as a command finds it, and what has to be written to change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controlplane.commands.history import LEAST_TRIMMED, OWN_WRITES
from controlplane.commands.receipts import Action, Change
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import Resource, ResourceId
from controlplane.model.stored import PREFIX, Reader, Stamped, encode, key_of
from controlplane.model.validate import Declared, check_references
from controlplane.store import MAX_OPERATIONS, Put, Store

MOST_CHANGES = MAX_OPERATIONS - 1 - OWN_WRITES - LEAST_TRIMMED
"""Resources that one change may write; the other operations go to the change entry and the history."""

_MOST_PROBLEMS = 200


@dataclass(frozen=True, slots=True)
class State:
    """Everything under our prefix at one store revision."""

    revisions: Mapping[str, int]
    """By key; what is missing has revision 0."""
    resources: Mapping[ResourceId, Stamped]
    unreadable: frozenset[ResourceId]

    def revision(self, key: str) -> int:
        """The revision of a key, 0 when absent."""
        return self.revisions.get(key, 0)

    @property
    def config(self) -> dict[ResourceId, Resource]:
        """The resources without their revisions."""
        return {identity: stamped.resource for identity, stamped in self.resources.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """One resource on its way into the store."""

    action: Action
    resource: Resource

    @property
    def change(self) -> Change:
        """The step as the caller is told."""
        return Change(self.action, self.resource.KIND, self.resource.name)

    @property
    def key(self) -> str:
        """The key that it writes."""
        return key_of(self.resource.KIND, self.resource.name)

    @property
    def put(self) -> Put:
        """The write itself."""
        return Put(self.key, encode(self.resource))


async def read_state(store: Store, reader: Reader) -> State:
    """Read everything. That the change entry is read with it makes the checks hold at the write."""
    listing = await store.list(PREFIX)
    reading = reader.read(listing.entries)
    return State(
        {entry.key: entry.revision for entry in listing.entries}, reading.resources, reading.unreadable
    )


def step_for(state: State, resource: Resource) -> Step:
    """What has to be done so that the store holds this resource."""
    key = key_of(resource.KIND, resource.name)
    stored = state.resources.get((resource.KIND, resource.name))
    if stored is not None and stored.resource == resource:
        return Step("unchanged", resource)
    return Step("update" if state.revision(key) else "create", resource)


def check(state: State, declared: tuple[Declared, ...], problems: Iterable[Problem]) -> list[Resource]:
    """The declared resources, or InvalidConfig with everything that is wrong with them by itself or within `state`."""
    found = [*problems, *check_references(state.config, declared, also=state.unreadable)]
    if found:
        raise refusal(found)
    return [item.resource for item in declared if item.resource is not None]


def refusal(problems: list[Problem]) -> InvalidConfig:
    """The error with all problems, up to a number that somebody could read."""
    more = len(problems) - _MOST_PROBLEMS
    rest = [Problem("", f"and {more} more problems")] if more > 0 else []
    return InvalidConfig(problems[:_MOST_PROBLEMS] + rest)


def check_size(steps: Iterable[Step], deletes: int = 0) -> None:
    """Refuse more writes than a transaction carries."""
    count = sum(step.action != "unchanged" for step in steps) + deletes
    if count > MOST_CHANGES:
        detail = (
            f"would change {count} resources; one change carries at most {MOST_CHANGES}: apply it in parts"
        )
        raise InvalidConfig([Problem("", detail)])


def summary(steps: Iterable[Step]) -> str:
    """The change in words, for the change entry."""
    names = [f"{step.action} {step.resource.KIND}/{step.resource.name}" for step in steps]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
