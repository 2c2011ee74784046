"""What one control plane tells the others of its data planes, as plain values: whole, and in parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.fleet.reports import CircuitReport, NodeState
from controlplane.fleet.verdicts import InstanceName, Verdict


@dataclass(frozen=True, slots=True)
class Told:
    """Slots and bits are those of the control plane that tells."""

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    votes: Mapping[InstanceName, Verdict] = field(default_factory=dict)
    circuits: Mapping[str, Mapping[str, CircuitReport]] = field(default_factory=dict)
    """By service, and then by node."""
    looks: bool = False
    """Whether somebody looks there at what is reported on demand."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Names of what is told otherwise than before."""

    services: frozenset[str]
    circuits: frozenset[str]
    nodes: bool
    """Whether any data plane is."""

    def __bool__(self) -> bool:
        return bool(self.services or self.circuits or self.nodes)


@dataclass(frozen=True, slots=True)
class Part:
    """A bounded part of what is told. What it names takes the place of what was told of that before."""

    nodes: Sequence[NodeState] = ()
    gone: Sequence[str] = ()
    """Data planes that are not known any more."""
    votes: Sequence[tuple[InstanceName, Verdict]] = ()
    """A verdict that nobody gave: the instance is not known any more."""
    circuits: Sequence[tuple[str, Mapping[str, CircuitReport]]] = ()
    """By service; empty: no breaker there has anything to tell."""
    looks: bool = False
    complete: bool = False
    """Whether what was told up to here belongs together."""
