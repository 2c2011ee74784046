"""Puts the parts of a peer stream together again: the counterpart of `telling`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from controlplane.fleet.reports import CircuitReport, NodeState
from controlplane.fleet.told import Changed, Part, Told
from controlplane.fleet.verdicts import MOST_INSTANCES, InstanceName, Verdict

K = TypeVar("K")
V = TypeVar("V")

MOST_NODES = 50_000
"""Data planes of one control plane that are kept; others are dropped."""
MOST_SERVICES = 50_000
"""Services whose breakers are kept; others are dropped."""


class Hearing:
    """The parts of one stream, from its beginning."""

    def __init__(self) -> None:
        self._told = Told()
        self._nodes: dict[str, NodeState] = {}
        self._votes: dict[InstanceName, Verdict] = {}
        self._circuits: dict[str, Mapping[str, CircuitReport]] = {}
        self._moved = False
        """Whether `_nodes` differs from what `_told` has."""
        self._services: set[str] = set()
        self._breakers: set[str] = set()

    def take(self, part: Part) -> tuple[Told, Changed] | None:
        """Take a part. After a complete one returns everything that has been told, and what of it changed; else None.

        What was returned is not modified later.
        """
        for node in part.gone:
            self._nodes.pop(node, None)
        for state in part.nodes:
            _put(self._nodes, state.node, state, MOST_NODES)
        self._moved |= bool(part.gone or part.nodes)
        for name, verdict in part.votes:
            _put(self._votes, name, verdict if verdict.known else None, MOST_INSTANCES)
            self._services.add(name[0])
        for service, by_node in part.circuits:
            _put(self._circuits, service, by_node or None, MOST_SERVICES)
            self._breakers.add(service)
        return self._complete(part.looks) if part.complete else None

    def _complete(self, looks: bool) -> tuple[Told, Changed]:
        before = self._told
        self._told = Told(
            dict(self._nodes) if self._moved else before.nodes,
            dict(self._votes) if self._services else before.votes,
            dict(self._circuits) if self._breakers else before.circuits,
            looks,
        )
        changed = Changed(frozenset(self._services), frozenset(self._breakers), self._moved)
        self._moved, self._services, self._breakers = False, set(), set()
        return self._told, changed


def _put(found: dict[K, V], name: K, value: V | None, most: int) -> None:
    if value is None:
        found.pop(name, None)
    elif name in found or len(found) < most:
        found[name] = value
