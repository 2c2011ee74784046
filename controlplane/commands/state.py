"""The configuration as a command finds it, and what has to be written to change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from controlplane.commands.receipts import Action, Change
from controlplane.commands.staging import MOST_BYTES, MOST_CHANGES, finish
from controlplane.model.config import Config, View
from controlplane.model.problems import InvalidConfig, Problem
from controlplane.model.resources import Resource, ResourceId
from controlplane.model.stored import CHANGE, COMMITS, PREFIX, encode, key_of
from controlplane.model.validate import Declared, check_references
from controlplane.store import Put, Store

SEEN_WITHIN = 2.0
"""Seconds that a command waits for the watcher to see the last change, before it reads the store itself."""

_MOST_PROBLEMS = 200


class Follower(Protocol):
    """Who knows the configuration without asking the store: the watcher."""

    async def view(self, after: int, within: float) -> View | None:
        """The configuration as of revision `after` or later; None when it is not known within some seconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """One resource on its way into the store."""

    action: Action
    resource: Resource
    before: int
    """Revision of what it replaces; 0 when there is nothing."""

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


async def read_state(store: Store, follower: Follower | None) -> View:
    """The configuration as of now, or newer.

    Only the change entry is read: every change by command writes it, so that whoever has seen its revision has seen
    them all. A change by other hands may not be seen yet; the expectations of the write find out.
    """
    change = await store.get(CHANGE)
    if follower is not None:
        view = await follower.view(change.revision if change else 0, SEEN_WITHIN)
        if view is not None:
            return view
    return await list_state(store)


async def list_state(store: Store) -> View:
    """The configuration, read as a whole. A change that is decided and not all there is finished first."""
    while True:
        config = Config((await store.list(PREFIX)).entries)
        if not config.decided:
            return config.view()
        for key in config.decided:
            await finish(store, key.removeprefix(COMMITS))


def step_for(state: View, resource: Resource) -> Step:
    """What has to be done so that the store holds this resource."""
    identity = resource.KIND, resource.name
    stored, before = state.resources.get(identity), state.revision(identity)
    if stored is not None and stored.resource == resource:
        return Step("unchanged", resource, before)
    return Step("update" if before else "create", resource, before)


def check(state: View, declared: tuple[Declared, ...], problems: Iterable[Problem]) -> list[Resource]:
    """The declared resources, or InvalidConfig with everything that is wrong with them by itself or within `state`."""
    found = [*problems, *check_references(state.resources, state.links, declared, also=state.unreadable)]
    if found:
        raise refusal(found)
    return [item.resource for item in declared if item.resource is not None]


def refusal(problems: list[Problem]) -> InvalidConfig:
    """The error with all problems, up to a number that somebody could read."""
    more = len(problems) - _MOST_PROBLEMS
    rest = [Problem("", f"and {more} more problems")] if more > 0 else []
    return InvalidConfig(problems[:_MOST_PROBLEMS] + rest)


def check_size(count: int, size: int = 0) -> None:
    """Refuse more than one change may carry, in resources and in bytes of their values."""
    if count > MOST_CHANGES:
        detail = (
            f"would change {count} resources; one change carries at most {MOST_CHANGES}: apply it in parts"
        )
        raise InvalidConfig([Problem("", detail)])
    if size > MOST_BYTES:
        raise InvalidConfig([Problem("", f"has {size} bytes; one change carries at most {MOST_BYTES}")])


def present(state: View, identity: ResourceId) -> Resource | None:
    """A resource as it is; None when there is none that can be read."""
    stamped = state.resources.get(identity)
    return stamped.resource if stamped else None


def summary(steps: Iterable[Step]) -> str:
    """The change in words, for the change entry."""
    names = [f"{step.action} {step.resource.KIND}/{step.resource.name}" for step in steps]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
