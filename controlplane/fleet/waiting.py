"""Waits for the progress of data planes: to a revision, to an instance's last request, or to its first healthy probe.

Nothing polls: the watcher and the fleet wake the waits. Progress is read from the answers and reports of data planes,
never from the messages sent to them.

A wait goes through two steps, and back to the first if another data plane comes:

1. Enough data planes serve the revision: see `thresholds`.
2. None of them is hindered. The wait sleeps until one hindered data plane moves, and then looks for another one.
   The choice among them is random, so that a wait seldom wakes for a data plane other than the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from controlplane.fleet.nodes import Fleet
from controlplane.fleet.overview import up_to_date
from controlplane.fleet.progress import ALL, NodeProgress, Progress, Quorum
from controlplane.fleet.reports import InstanceStatus, NodeState, Rejection
from controlplane.fleet.tally import nothing
from controlplane.fleet.thresholds import GAP, Group, Published, Thresholds
from controlplane.model.resources import Service
from controlplane.model.snapshot import Snapshot

MOST_WAIT = 300.0
"""Longest wait in seconds: proxies close connections that are silent for longer."""


@dataclass(frozen=True, slots=True)
class _Goal:
    """The goal of a wait: data planes serve `revision`, and no known reason prevents it."""

    revision: int
    group: Group
    hindrance: Callable[[NodeState], str] = lambda state: ""
    """The reason a data plane that serves the revision is not done; empty when it is."""
    hindered: Callable[[], Iterator[str]] = lambda: iter(())
    """Names of hindered data planes, starting anywhere in the order; some may not serve the revision."""


class Waiting:
    """Possible goals of a wait. Every wait ends after `seconds` at the latest, with the progress made by then."""

    def __init__(self, published: Published, fleet: Fleet) -> None:
        self._published = published
        self._fleet = fleet
        self._thresholds = Thresholds(published, fleet)

    async def served(self, revision: int, seconds: float, quorum: Quorum = ALL) -> Progress:
        """Wait until enough data planes serve `revision` or a later one; ends at once when too many refuse it."""
        return await self._until(_Goal(revision, Group(quorum, strict=True)), seconds)

    async def drained(self, service_name: str, instance_id: str, revision: int, seconds: float) -> Progress:
        """Wait until no data plane has requests under way at an instance that takes none since `revision`.

        Data planes that refuse the revision do not end the wait for the others.
        """
        name = service_name, instance_id

        def hindrance(state: NodeState) -> str:
            count = state.leaving.get(name, 0)
            return f"{count} request{'s' if count > 1 else ''} under way" if count else ""

        def hindered() -> Iterator[str]:
            return iter(self._fleet.tally.busy(name))

        return await self._until(_Goal(revision, Group(), hindrance, hindered), seconds)

    async def routable(self, service_name: str, instance_id: str, revision: int, seconds: float) -> Progress:
        """Wait until every data plane has found an instance healthy that was registered at `revision`.

        Data planes that refuse the revision do not end the wait for the others.
        """
        name = service_name, instance_id

        def hindrance(state: NodeState) -> str:
            if not self._is_sent(service_name, state):
                return ""
            if state.health_revision < revision:
                return "has not reported the health of instances yet"
            return _not_healthy(*self._fleet.views.vote(state.node, name))

        def hindered() -> Iterator[str]:
            current = self._published.current
            everyone = current is None or current.extracts is None
            for node in self._fleet.views.without_health(name):
                if everyone or (
                    (state := self._fleet.state(node)) is not None and self._is_sent(service_name, state)
                ):
                    yield node

        return await self._until(_Goal(revision, Group(reported=True), hindrance, hindered), seconds)

    async def obeyed(self, revision: int, seconds: float) -> Progress:
        """Wait until every data plane has reported how it obeyed the order of this revision to refill buckets. Older
        versions do not report it: wait until they serve the revision.

        Data planes that refuse the revision do not end the wait for the others.
        """

        def hindrance(state: NodeState) -> str:
            return "" if state.has_reset(revision) else "has not reset it yet"

        def hindered() -> Iterator[str]:
            waited = [name for name, state in self._fleet.nodes.items() if not state.has_reset(revision)]
            random.shuffle(waited)
            return iter(waited)

        return await self._until(_Goal(revision, Group(), hindrance, hindered), seconds)

    async def _until(self, goal: _Goal, seconds: float) -> Progress:
        wake = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await self._thresholds.reached(goal.revision, goal.group)
                    if (node := self._straggler(goal)) is None:
                        break
                    wake.clear()
                    with self._fleet.signals.progress(node, wake):
                        await wake.wait()
                    await asyncio.sleep(GAP)
        return self._look(goal)

    def _is_sent(self, service_name: str, state: NodeState) -> bool:
        """Whether the pool of a data plane needs the service. Without pools, every one does."""
        current = self._published.current
        part = current.extract(state.pool) if current is not None else None
        return part is current or (part is not None and (Service.KIND, service_name) in part.resources)

    def _straggler(self, goal: _Goal) -> str | None:
        """A data plane that serves the revision, but is hindered."""
        published = self._snapshot(goal)
        for node in goal.hindered():
            state = self._fleet.state(node)
            if state is not None and state.connected and _serves(up_to_date(state, published), goal):
                return node
        return None

    def _look(self, goal: _Goal) -> Progress:
        """The progress of the fleet."""
        published = self._snapshot(goal)
        digest = published.digest if published else ""
        part_of = published.extract if published else nothing
        count = self._fleet.tally.count(goal.revision, part_of, reported=goal.group.reported)
        all_done = count.done == count.connected and self._straggler(goal) is None

        def listed() -> tuple[NodeProgress, ...]:
            states = self._fleet.views.dataplanes(published)
            return tuple(
                _progress(state, published.digest_of(state.pool) if published else "", goal)
                for state in states
            )

        nodes = None if all_done or goal.group.strict else listed()
        done = count.done if nodes is None else sum(node.done for node in nodes)
        quorum = goal.group.quorum
        settled = not self._fleet.unsettled or quorum.count is not None
        problem = "" if published else self._unpublished(goal.revision)
        if published and not settled and all_done:
            problem = _unsettled(self._fleet.unheard)
        return Progress(
            goal.revision,
            digest,
            quorum.needed(count),
            done,
            listed,
            problem,
            reached=not goal.group.strict or quorum.reached(count),
            missed=goal.group.strict and quorum.missed(count),
            settled=settled,
        )

    def _unpublished(self, revision: int) -> str:
        if self._published.problems:
            return f"the content of the store cannot be published: {self._published.problems[0]}"
        return (
            f"this control plane has not read revision {revision} yet; it has read the store up to "
            f"revision {self._published.revision}"
        )

    def _snapshot(self, goal: _Goal) -> Snapshot | None:
        """The published configuration, if it includes the goal's revision."""
        current = self._published.current
        return current if current is not None and current.revision >= goal.revision else None


def _unsettled(unheard: Sequence[str]) -> str:
    if unheard:
        return (
            f"this control plane cannot follow control plane {unheard[0]}, and does not know its data "
            "planes (see the log)"
        )
    return "data planes that were connected a moment ago have not reconnected yet"


def _serves(state: NodeState, goal: _Goal) -> bool:
    return state.applied_revision >= goal.revision


def _progress(state: NodeState, digest: str, goal: _Goal) -> NodeProgress:
    if not state.connected:
        return NodeProgress(state.node, False, state.applied_revision, False, "is not connected")
    rejection, reason = None, ""
    if _serves(state, goal):
        reason = goal.hindrance(state)
    else:
        rejection = _rejection(state, goal.revision, digest)
        reason = f"serves revision {state.applied_revision}"
        if rejection is not None:
            reason = f"{reason}, {rejection}"
    return NodeProgress(state.node, True, state.applied_revision, not reason, reason, rejection)


def _not_healthy(status: InstanceStatus | None, reason: str) -> str:
    if status is None:
        return "does not know the instance"
    if status is InstanceStatus.HEALTHY:
        return ""
    return f"finds it {status}" + (f": {reason}" if reason else "")


def _rejection(state: NodeState, revision: int, digest: str) -> Rejection | None:
    """Its refusal of this revision, of a later one, or of an earlier one that was the same for data planes."""
    last = state.last_rejection
    if last is None or (last.revision < revision and (not digest or last.digest != digest)):
        return None
    return last
