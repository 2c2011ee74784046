"""Waiting until data planes got somewhere: to a revision, to an instance's last request, to its first.

Nothing is asked again and again: the watcher and the fleet wake whoever waits. What is waited for is read from what
the data planes answered and reported, never from what they were sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from controlplane.fleet.nodes import Fleet, up_to_date
from controlplane.fleet.reports import InstanceStatus, NodeState, Rejection
from controlplane.model.problems import Problem
from controlplane.model.snapshot import Snapshot
from controlplane.signal import Signal

MOST_WAIT = 300.0
"""Longest wait in seconds: a connection that is silent for longer is cut by somebody on the way."""

GAP = 0.005
"""Seconds between two looks at the fleet: a thousand data planes report all the time."""


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of the connected data planes are enough: a number, a percentage, or, without either, all."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Quorum:
        """`all`, `2` or `50%`. Raises ValueError."""
        if text == "all":
            return cls()
        if match := re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)%", text, re.ASCII):
            percent = float(match[1])
            if 0 < percent <= 100:
                return cls(percent=percent)
        elif re.fullmatch(r"\d{1,6}", text, re.ASCII) and int(text) > 0:
            return cls(count=int(text))
        raise ValueError("quorum must be all, a number from 1 or a percentage such as 50%")

    def of(self, connected: int) -> int:
        """How many are needed when so many are connected."""
        if self.count is not None:
            return self.count
        share = 100.0 if self.percent is None else self.percent
        # Rounded up; the subtrahend keeps the error of floats from asking for one more.
        return math.ceil(connected * share / 100 - 1e-9)


ALL = Quorum()


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """One data plane's progress."""

    node: str
    connected: bool
    applied_revision: int
    done: bool
    reason: str = ""
    """Why it is not done, in words."""
    rejection: Rejection | None = None
    """Set when it refused what is waited for."""

    def __str__(self) -> str:
        return f"{self.node} ({self.reason})" if self.reason else self.node


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the fleet is with `revision`. Only data planes that are connected count."""

    revision: int
    digest: str
    """Of the published table that holds the revision; empty when none does yet."""
    needed: int
    nodes: tuple[NodeProgress, ...]
    problem: str = ""
    """Why no data plane can serve it now; empty when there is no known reason."""
    settled: bool = True
    """Whether nobody is missing who was connected a moment ago, and goes on serving what it has."""

    @property
    def done(self) -> int:
        """How many got there."""
        return sum(node.done for node in self.nodes)

    @property
    def complete(self) -> bool:
        """Whether enough did."""
        return bool(self.digest) and self.settled and self.done >= self.needed

    @property
    def rejected(self) -> bool:
        """Whether so many refuse that the rest is not enough."""
        willing = sum(node.connected and node.rejection is None for node in self.nodes)
        refusing = any(node.rejection for node in self.nodes)
        return not self.complete and refusing and willing < self.needed

    @property
    def hopeless(self) -> bool:
        """Whether all that is left to wait for are data planes that refuse."""
        return not self.complete and bool(self.stragglers) and all(node.rejection for node in self.stragglers)

    @property
    def stragglers(self) -> tuple[NodeProgress, ...]:
        """Those that are connected and did not get there."""
        return tuple(node for node in self.nodes if node.connected and not node.done)


class Published(Protocol):
    """What is published to data planes now. `distribute.watcher.Watcher` implements it."""

    changed: Signal

    @property
    def current(self) -> Snapshot | None:
        """The published snapshot; None before the first."""

    @property
    def revision(self) -> int:
        """The store was read up to this revision."""

    @property
    def problems(self) -> Sequence[Problem]:
        """Why the store's present content is not published; empty when it is."""


class Waiting:
    """What may be waited for. Every wait ends after `seconds` at the latest, with the progress made by then."""

    def __init__(self, published: Published, fleet: Fleet) -> None:
        self._published = published
        self._fleet = fleet

    async def served(self, revision: int, seconds: float, quorum: Quorum = ALL) -> Progress:
        """Wait until enough data planes serve `revision` or a later one; at once over when too many refuse it."""

        goal = _Goal(revision, quorum, lambda state: "", strict=True)
        return await self._until(goal, lambda seen: seen.complete or seen.rejected, seconds)

    async def drained(self, service_name: str, instance_id: str, revision: int, seconds: float) -> Progress:
        """Wait until no data plane has requests under way at an instance that takes none since `revision`."""
        name = service_name, instance_id

        def hindrance(state: NodeState) -> str:
            count = state.leaving.get(name, 0)
            return f"{count} request{'s' if count > 1 else ''} under way" if count else ""

        return await self._by_all(revision, hindrance, seconds)

    async def routable(self, service_name: str, instance_id: str, revision: int, seconds: float) -> Progress:
        """Wait until every data plane has found an instance healthy that was registered at `revision`."""

        def hindrance(state: NodeState) -> str:
            if state.health_revision < revision:
                return "has not reported the health of instances yet"
            return _not_healthy(*self._fleet.vote(state.node, service_name, instance_id))

        return await self._by_all(revision, hindrance, seconds)

    async def _by_all(self, revision: int, hindrance: Callable[[NodeState], str], seconds: float) -> Progress:
        """Wait for every data plane; those that refuse the revision do not end the wait for the others."""

        goal = _Goal(revision, ALL, hindrance)
        return await self._until(goal, lambda seen: seen.complete or seen.hopeless, seconds)

    def _look(self, goal: _Goal) -> Progress:
        """The whole fleet, held against the goal."""
        revision, quorum, published = goal.revision, goal.quorum, self._snapshot(goal)
        digest = published.digest if published else ""
        nodes = tuple(
            _progress(state, revision, digest, goal.hindrance)
            for state in self._fleet.dataplanes_view(published)
        )
        needed = quorum.of(sum(node.connected for node in nodes))
        problem = "" if published else self._unpublished(revision)
        settled = not self._fleet.unsettled or quorum.count is not None
        if not settled and published and all(node.done for node in nodes if node.connected):
            problem = _unsettled(self._fleet.unheard)
        return Progress(revision, digest, needed, nodes, problem, settled)

    def _unpublished(self, revision: int) -> str:
        if self._published.problems:
            return f"what is in the store cannot be published: {self._published.problems[0]}"
        return f"revision {revision} has not arrived here; the store was at {self._published.revision}"

    def _snapshot(self, goal: _Goal) -> Snapshot | None:
        """What is published, if the goal's revision is in it."""
        current = self._published.current
        return current if current is not None and current.revision >= goal.revision else None

    async def _until(self, goal: _Goal, over: Callable[[Progress], bool], seconds: float) -> Progress:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    looked, seen = loop.time(), self._look(goal)
                    if over(seen):
                        return seen
                    if goal.quorum != ALL or not await self._stragglers(goal):
                        await self._news(goal, over)
                    await asyncio.sleep(max(0.0, looked + GAP - loop.time()))
        except TimeoutError:
            return self._look(goal)

    async def _stragglers(self, goal: _Goal) -> bool:
        """Wait for one data plane after the other, each until it is done, refuses or leaves.

        So a wait costs what these do, and not what the whole fleet does. Returns whether there was one to wait for, or
        somebody refused.
        """
        waited, wake, refusals = False, asyncio.Event(), self._fleet.refusals
        for node in list(self._fleet.nodes):
            with self._fleet.progress(node, wake), self._fleet.refused.wakes(wake):
                while self._pending(goal, node):
                    if goal.strict and self._fleet.refusals != refusals:
                        return True
                    waited = True
                    await wake.wait()
                    wake.clear()
        return waited

    def _pending(self, goal: _Goal, node: str) -> bool:
        published, state = self._snapshot(goal), self._fleet.state(node)
        if published is None or state is None or not state.connected:
            return False
        up_to = up_to_date(state, published)
        seen = _progress(up_to, goal.revision, published.digest, goal.hindrance)
        return not seen.done and seen.rejection is None

    async def _news(self, goal: _Goal, over: Callable[[Progress], bool]) -> None:
        """Return when anything happened, or nobody is expected back any more."""
        wake = asyncio.Event()
        with self._published.changed.wakes(wake), self._fleet.moved.wakes(wake):
            # What happened before somebody listened was not heard.
            if not over(self._look(goal)):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._fleet.unsettled or None):
                        await wake.wait()


def _unsettled(unheard: Sequence[str]) -> str:
    if unheard:
        return f"the data planes of control plane {unheard[0]} are not known here: it cannot be followed (see the log)"
    return "data planes that were connected a moment ago are not back yet"


@dataclass(frozen=True, slots=True)
class _Goal:
    """What is waited for: that data planes serve `revision`, and that nothing hinders."""

    revision: int
    quorum: Quorum
    hindrance: Callable[[NodeState], str]
    """Why a data plane that serves the revision is not done; empty when it is."""
    strict: bool = False
    """Whether one that refuses may end the wait, whatever the others do."""


def _progress(
    state: NodeState, revision: int, digest: str, hindrance: Callable[[NodeState], str]
) -> NodeProgress:
    if not state.connected:
        return NodeProgress(state.node, False, state.applied_revision, False, "is not connected")
    rejection, reason = None, ""
    if state.applied_revision < revision:
        rejection = _rejection(state, revision, digest)
        reason = f"serves revision {state.applied_revision}"
        if rejection is not None:
            reason = f"{reason}, {rejection}"
    else:
        reason = hindrance(state)
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
