"""What one control plane tells the others of its data planes, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
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
