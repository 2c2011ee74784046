"""Updates between control planes: the state of its data planes that each sends to the others. Pure.

A sender gives everything first, in bounded parts, and then what changed; a receiver puts the parts together again.

    sender = UpdateSender(fleet.verdicts, fleet.circuits)
    for update in sender.updates(fleet.peer_state()): …          # called again whenever something changed

A change that happens while updates are sent is part of a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from controlplane.fleet.circuits import Circuits
from controlplane.fleet.reports import CircuitReport, NodeState
from controlplane.fleet.verdicts import MOST_INSTANCES, InstanceName, Verdict, Verdicts

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 200
"""Data planes, instances or breakers in one update: at most some milliseconds' work."""
_NO_VOTES = Verdict()
MOST_NODES = 50_000
"""Data planes of one control plane that are kept; others are dropped."""
MOST_SERVICES = 50_000
"""Services whose breakers are kept; others are dropped."""


@dataclass(frozen=True, slots=True)
class PeerState:
    """A control plane's state of its data planes. Slots and bits are the sender's."""

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    votes: Mapping[InstanceName, Verdict] = field(default_factory=dict)
    circuits: Mapping[str, Mapping[str, CircuitReport]] = field(default_factory=dict)
    """By service, and then by node."""
    looks: bool = False
    """Whether circuits or limits are read there."""
    watches: bool = False
    """Whether the traffic is watched there."""


@dataclass(frozen=True, slots=True)
class PeerChanges:
    """Names of the items that differ from the previous state."""

    services: frozenset[str]
    circuits: frozenset[str]
    nodes: bool
    """Whether any data plane does."""

    def __bool__(self) -> bool:
        return bool(self.services or self.circuits or self.nodes)


@dataclass(frozen=True, slots=True)
class PeerUpdate:
    """A bounded part of the state. Each entry replaces the previous one of its name."""

    nodes: Sequence[NodeState] = ()
    gone: Sequence[str] = ()
    """Data planes that are not known any more."""
    votes: Sequence[tuple[InstanceName, Verdict]] = ()
    """A verdict without votes: the instance is not known any more."""
    circuits: Sequence[tuple[str, Mapping[str, CircuitReport]]] = ()
    """By service; empty when no breaker of the service is reported any more."""
    looks: bool = False
    watches: bool = False
    complete: bool = False
    """Whether the state is consistent with this update, and may be used."""


class UpdateSender:
    """Remembers the state sent to one follower. `close` it when the follower is gone."""

    def __init__(self, verdicts: Verdicts, circuits: Circuits) -> None:
        self._verdicts, self._circuits = verdicts, circuits
        self._nodes: dict[str, NodeState] = {}
        self._votes: set[InstanceName] = set(verdicts.found)
        self._breakers: set[str] = set(circuits.found)
        verdicts.marks.append(self._votes)
        circuits.marks.append(self._breakers)

    def close(self) -> None:
        """Changes need not be remembered any more."""
        # By identity: sets with equal contents are equal.
        self._verdicts.marks = [one for one in self._verdicts.marks if one is not self._votes]
        self._circuits.marks = [one for one in self._circuits.marks if one is not self._breakers]

    def updates(self, state: PeerState) -> Iterator[PeerUpdate]:
        """Changes since the last call. There is at least one update, a heartbeat; the last one is complete."""
        yield from self._node_updates(state.nodes)
        while names := list(islice(self._votes, AT_ONCE)):
            self._votes.difference_update(names)
            yield PeerUpdate(votes=[(name, replace(state.votes.get(name, _NO_VOTES))) for name in names])
        while services := list(islice(self._breakers, AT_ONCE)):
            yield PeerUpdate(circuits=list(self._some_breakers(services)))
        yield PeerUpdate(looks=state.looks, watches=state.watches, complete=True)

    def _node_updates(self, nodes: Mapping[str, NodeState]) -> Iterator[PeerUpdate]:
        changed = [node for name, node in nodes.items() if self._nodes.get(name) is not node]
        gone = [name for name in self._nodes if name not in nodes]
        for name in gone:
            del self._nodes[name]
        for start in range(0, len(gone), AT_ONCE):
            yield PeerUpdate(gone=gone[start : start + AT_ONCE])
        for start in range(0, len(changed), AT_ONCE):
            some = changed[start : start + AT_ONCE]
            self._nodes.update((node.node, node) for node in some)
            yield PeerUpdate(nodes=some)

    def _some_breakers(self, services: list[str]) -> Iterator[tuple[str, Mapping[str, CircuitReport]]]:
        """Services with at most `AT_ONCE` breakers in all, but at least one service."""
        count = 0
        for name in services:
            by_node = dict(self._circuits.of(name))
            if count and count + len(by_node) > AT_ONCE:
                return
            count += len(by_node)
            self._breakers.discard(name)
            yield name, by_node


class UpdateReceiver:
    """The updates of one stream, from its beginning."""

    def __init__(self) -> None:
        self._state = PeerState()
        self._nodes: dict[str, NodeState] = {}
        self._votes: dict[InstanceName, Verdict] = {}
        self._circuits: dict[str, Mapping[str, CircuitReport]] = {}
        self._moved = False
        """Whether `_nodes` differs from `_state`."""
        self._services: set[str] = set()
        self._breakers: set[str] = set()

    def receive(self, update: PeerUpdate) -> tuple[PeerState, PeerChanges] | None:
        """Take an update. After a complete update, return the state and the changed names; else None.

        A state that was returned is not modified later.
        """
        for node in update.gone:
            self._nodes.pop(node, None)
        for state in update.nodes:
            _put(self._nodes, state.node, state, MOST_NODES)
        self._moved |= bool(update.gone or update.nodes)
        for name, verdict in update.votes:
            _put(self._votes, name, verdict if verdict.known else None, MOST_INSTANCES)
            self._services.add(name[0])
        for service, by_node in update.circuits:
            _put(self._circuits, service, by_node or None, MOST_SERVICES)
            self._breakers.add(service)
        return self._complete(update) if update.complete else None

    def _complete(self, update: PeerUpdate) -> tuple[PeerState, PeerChanges]:
        before = self._state
        self._state = PeerState(
            dict(self._nodes) if self._moved else before.nodes,
            dict(self._votes) if self._services else before.votes,
            dict(self._circuits) if self._breakers else before.circuits,
            update.looks,
            update.watches,
        )
        changed = PeerChanges(frozenset(self._services), frozenset(self._breakers), self._moved)
        self._moved, self._services, self._breakers = False, set(), set()
        return self._state, changed


def _put(found: dict[K, V], name: K, value: V | None, most: int) -> None:
    if value is None:
        found.pop(name, None)
    elif name in found or len(found) < most:
        found[name] = value
