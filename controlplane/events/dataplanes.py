"""Events of data planes: connects, ends of streams, rejections, and the moment when all serve a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.distribute.watcher import Watcher
from controlplane.events.log import EventLog, Kind
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.reports import NodeState, Rejection
from controlplane.model.words import count

MOST_PROBLEMS = 20
"""Problems of a rejection that an event lists."""


@dataclass(frozen=True, slots=True)
class _Known:
    connected: bool
    since: float
    rejection: Rejection | None


class DataplaneEvents:
    """Compares the data planes with their last known state; at first there are none."""

    def __init__(self, watcher: Watcher, fleet: Fleet, log: EventLog, wall: Callable[[], float]) -> None:
        """`wall` gives Unix seconds."""
        self._watcher, self._fleet, self._log, self._wall = watcher, fleet, log, wall
        self._known: dict[str, _Known] = {}
        self._digest = ""
        """The configuration whose way to the data planes is followed; empty once it has arrived."""
        self._published_at = 0.0
        self._published = watcher.published

    def look(self, at: float) -> None:
        """Note what differs; `at` in Unix seconds."""
        nodes = self._fleet.nodes
        before, self._known = self._known, {name: _known(state) for name, state in nodes.items()}
        for name, state in nodes.items():
            if before.get(name) != self._known[name]:
                self._note(state, before.get(name), at)
        self._note_served(at)

    def _note(self, state: NodeState, before: _Known | None, at: float) -> None:
        was_open = before is not None and before.connected
        if state.connected and not (was_open and before is not None and before.since == state.since):
            self._connection(state, state.since or at)
        elif was_open and not state.connected:
            self._connection(state, at)
        last = state.last_rejection
        if last is not None and last != (before.rejection if before else None):
            self._rejection(state, last, at)

    def _connection(self, state: NodeState, at: float) -> None:
        word = "connected" if state.connected else "disconnected"
        serves = f", serves revision {state.applied_revision}" if state.applied_revision else ""
        fields = {"node": state.node, "state": word, "version": state.version}
        text = f"data plane {state.node} {word}{serves}"
        self._log.add(Kind.DATAPLANE, at, text, state.applied_revision, fields)

    def _rejection(self, state: NodeState, last: Rejection, at: float) -> None:
        problems = [
            {"resource": one.resource, "field": one.field, "detail": one.detail}
            for one in last.problems[:MOST_PROBLEMS]
        ]
        state_word = "withheld" if last.withheld else "rejected"
        fields = {"node": state.node, "state": state_word, "problems": problems}
        self._log.add(Kind.REJECTED, at, f"data plane {state.node}: {last}", last.revision, fields)

    def _note_served(self, at: float) -> None:
        """Once for each published configuration that reaches all data planes before the next one."""
        current = self._watcher.current
        if current is None:
            return
        if self._watcher.published != self._published:
            self._published, self._digest = self._watcher.published, current.digest
            self._published_at = self._watcher.published_at
        if not self._digest or self._digest != current.digest:
            return
        found = self._fleet.tally.count(current.revision, current.extract)
        if found.connected and found.done == found.connected:
            seconds = round(max(0.0, self._wall() - self._published_at), 3)
            fields = {"dataplanes": found.connected, "seconds": seconds}
            who = "the data plane serves" if found.connected == 1 else "all data planes serve"
            text = f"{who} revision {current.revision} after {seconds} s ({count(found.connected, 'data plane')})"
            self._log.add(Kind.SERVED, at, text, current.revision, fields)
            self._digest = ""


def _known(state: NodeState) -> _Known:
    return _Known(state.connected, state.since, state.last_rejection)
