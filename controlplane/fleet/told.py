"""What one control plane tells the others of its data planes, as plain values: whole, and in parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.fleet.reports import CircuitReport, NodeState
from controlplane.fleet.verdicts import InstanceName, Verdict


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that is told. Slots and bits are those of the control plane that tells."""

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    votes: Mapping[InstanceName, Verdict] = field(default_factory=dict)
    circuits: Mapping[str, Mapping[str, CircuitReport]] = field(default_factory=dict)
    """By service, and then by node."""
    looks: bool = False
    """Whether circuits or limits are looked at there."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Names of what differs from what was told before."""

    services: frozenset[str]
    circuits: frozenset[str]
    nodes: bool
    """Whether any data plane does."""

    def __bool__(self) -> bool:
        return bool(self.services or self.circuits or self.nodes)


@dataclass(frozen=True, slots=True)
class Part:
    """A bounded part of what is told. Each entry replaces what was told under its name before."""

    nodes: Sequence[NodeState] = ()
    gone: Sequence[str] = ()
    """Data planes that are not known any more."""
    votes: Sequence[tuple[InstanceName, Verdict]] = ()
    """A verdict without votes: the instance is not known any more."""
    circuits: Sequence[tuple[str, Mapping[str, CircuitReport]]] = ()
    """By service; empty when no breaker of the service is reported any more."""
    looks: bool = False
    complete: bool = False
    """Whether everything up to here may be used: it belongs together."""
