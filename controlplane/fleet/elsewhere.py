"""The data planes of the other control planes, as these report them. Pure.

Both control planes may report a data plane for a while after it moved from one to the other. The fresher state counts:
that of the control plane to which it is connected, and to which it sent its last hello.
"""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.fleet.peer_updates import PeerState
from controlplane.fleet.reports import NodeState, Rejection


class Elsewhere:
    """The last state that each of them sent."""

    def __init__(self) -> None:
        self._states: dict[str, PeerState] = {}

    @property
    def states(self) -> Mapping[str, PeerState]:
        """By control plane."""
        return self._states

    def receive(self, controlplane: str, state: PeerState) -> PeerState:
        """Replace the state that a control plane sent; returns the previous one."""
        before = self._states.get(controlplane, PeerState())
        self._states[controlplane] = state
        return before

    def lose(self, controlplane: str) -> PeerState:
        """Forget a control plane. Returns its last state."""
        return self._states.pop(controlplane, PeerState())

    def state(self, node: str, here: NodeState | None) -> NodeState | None:
        """The known state of a data plane; `here` is this control plane's own state of it."""
        found = here
        for peer in self._states.values():
            if (state := peer.nodes.get(node)) is not None and (found is None or fresher(state, found)):
                found = state
        return found

    def merged(self, here: Mapping[str, NodeState]) -> dict[str, NodeState]:
        """Every data plane, those of this control plane included."""
        merged = dict(here)
        for peer in self._states.values():
            for name, state in peer.nodes.items():
                if name not in merged or fresher(state, merged[name]):
                    merged[name] = state
        return merged

    def home(self, node: str, here: NodeState | None) -> PeerState | None:
        """The state from the control plane that knows this data plane best; None if it is this one, or there is
        none."""
        state = self.state(node, here)
        if state is None or state is here:
            return None
        return next((peer for peer in self._states.values() if peer.nodes.get(node) is state), None)

    def home_of(self, node: str, here: NodeState | None) -> str | None:
        """The name of that control plane, if the data plane is connected to it."""
        state = self.state(node, here)
        if state is None or state is here or not state.connected:
            return None
        return next((name for name, peer in self._states.items() if peer.nodes.get(node) is state), None)


def fresher(one: NodeState, other: NodeState) -> bool:
    """Whether `one` is a fresher state of a data plane than `other`."""
    return (one.connected, one.since, one.last_seen) > (other.connected, other.since, other.last_seen)


def left(before: PeerState, after: PeerState) -> set[str]:
    """Names of the data planes that are no longer connected there."""
    return {
        node
        for node, state in before.nodes.items()
        if state.connected and not (node in after.nodes and after.nodes[node].connected)
    }


def differing(before: PeerState, after: PeerState) -> set[str]:
    """Names of the data planes whose reported state changed."""
    gone = before.nodes.keys() - after.nodes.keys()
    return gone | {name for name, state in after.nodes.items() if before.nodes.get(name) is not state}


def refused(before: PeerState, after: PeerState) -> bool:
    """Whether a data plane refused something since."""
    return any(
        state.last_rejection is not None and state.last_rejection != _refusal(before.nodes.get(name))
        for name, state in after.nodes.items()
    )


def _refusal(state: NodeState | None) -> Rejection | None:
    return state.last_rejection if state is not None else None
