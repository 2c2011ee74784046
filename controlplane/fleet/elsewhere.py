"""The data planes of the other control planes, as those tell of them. Pure.

A data plane that moved from one control plane to another may be told of by both for a while. The state that counts is
the fresher one: it is connected there, and said hello there last.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.fleet.reports import NodeState, Rejection
from controlplane.fleet.told import Told


class Elsewhere:
    """What each of them told last."""

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}

    @property
    def told(self) -> Mapping[str, Told]:
        """By control plane."""
        return self._told

    def hear(self, controlplane: str, told: Told) -> Told:
        """Take what a control plane tells in place of what it told before, which is returned."""
        before = self._told.get(controlplane, Told())
        self._told[controlplane] = told
        return before

    def lose(self, controlplane: str) -> Told:
        """Forget a control plane. Returns what it told."""
        return self._told.pop(controlplane, Told())

    def state(self, node: str, here: NodeState | None) -> NodeState | None:
        """What is known of a data plane; `here` is what this control plane knows of it."""
        found = here
        for told in self._told.values():
            if (state := told.nodes.get(node)) is not None and (found is None or fresher(state, found)):
                found = state
        return found

    def merged(self, here: Mapping[str, NodeState]) -> dict[str, NodeState]:
        """Every data plane, those of this control plane included."""
        merged = dict(here)
        for told in self._told.values():
            for name, state in told.nodes.items():
                if name not in merged or fresher(state, merged[name]):
                    merged[name] = state
        return merged

    def home(self, node: str, here: NodeState | None) -> Told | None:
        """What the control plane told that knows most of this data plane; None if it is this one, or there is none."""
        state = self.state(node, here)
        if state is None or state is here:
            return None
        return next((told for told in self._told.values() if told.nodes.get(node) is state), None)


def fresher(one: NodeState, other: NodeState) -> bool:
    """Whether `one` tells more of a data plane than `other`."""
    return (one.connected, one.since, one.last_seen) > (other.connected, other.since, other.last_seen)


def left(before: Told, after: Told) -> set[str]:
    """Names of the data planes that were connected there, and are not any more."""
    return {
        node
        for node, state in before.nodes.items()
        if state.connected and not (node in after.nodes and after.nodes[node].connected)
    }


def differing(before: Told, after: Told) -> set[str]:
    """Names of the data planes of which something else is told than before."""
    gone = before.nodes.keys() - after.nodes.keys()
    return gone | {name for name, state in after.nodes.items() if before.nodes.get(name) is not state}


def refused(before: Told, after: Told) -> bool:
    """Whether a data plane refused something since."""
    return any(
        state.last_rejection is not None and state.last_rejection != _refusal(before.nodes.get(name))
        for name, state in after.nodes.items()
    )


def _refusal(state: NodeState | None) -> Rejection | None:
    return state.last_rejection if state is not None else None
