"""What one follower is told of this control plane's data planes: first everything, then what changed. Pure.

    telling = Telling(fleet.verdicts, fleet.circuits)
    for part in telling.parts(fleet.tells()): …          # called again for every update

A change that happens while parts are sent is told in a later part, or in the next update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from controlplane.fleet.circuits import Circuits
from controlplane.fleet.reports import CircuitReport, NodeState
from controlplane.fleet.told import Part, Told
from controlplane.fleet.verdicts import InstanceName, Verdict, Verdicts

AT_ONCE = 200
"""Data planes, instances or breakers in one part: at most some milliseconds' work."""
_NOBODY = Verdict()


class Telling:
    """Remembers what a follower was told. `close` it when the follower is gone."""

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

    def parts(self, told: Told) -> Iterator[Part]:
        """What changed since the last call. There is at least one part, the sign of life; the last one is complete."""
        yield from self._tell_nodes(told.nodes)
        while names := list(islice(self._votes, AT_ONCE)):
            self._votes.difference_update(names)
            yield Part(votes=[(name, replace(told.votes.get(name, _NOBODY))) for name in names])
        while services := list(islice(self._breakers, AT_ONCE)):
            yield Part(circuits=list(self._some_breakers(services)))
        yield Part(looks=told.looks, complete=True)

    def _tell_nodes(self, nodes: Mapping[str, NodeState]) -> Iterator[Part]:
        changed = [node for name, node in nodes.items() if self._nodes.get(name) is not node]
        gone = [name for name in self._nodes if name not in nodes]
        for name in gone:
            del self._nodes[name]
        for start in range(0, len(gone), AT_ONCE):
            yield Part(gone=gone[start : start + AT_ONCE])
        for start in range(0, len(changed), AT_ONCE):
            some = changed[start : start + AT_ONCE]
            self._nodes.update((node.node, node) for node in some)
            yield Part(nodes=some)

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
