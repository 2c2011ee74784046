"""One data plane, as a control plane knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.publish.reports import InstanceHealth, NodeProblem, StatsReport


@dataclass(frozen=True, slots=True)
class Rejection:
    """A revision that a data plane refused."""

    revision: int
    problems: tuple[NodeProblem, ...]
    at: float
    """Unix seconds."""
    digest: str = ""
    """Of the refused table: a later revision with the same one is refused, too."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What is known of one data plane. Times are Unix seconds."""

    node: str
    version: str
    connected: bool = True
    since: float = 0.0
    """When its stream was opened, by the clock of the control plane that it was opened to."""
    sent_revision: int = 0
    """The last revision handed to its stream; 0 before the first."""
    applied_revision: int = 0
    """Every worker of the node serves this revision; 0 when there is none."""
    digest: str = ""
    """Digest of the applied revision."""
    last_seen: float = 0.0
    """When it was last heard of."""
    last_rejection: Rejection | None = None
    health: tuple[InstanceHealth, ...] = ()
    health_revision: int = 0
    """What every worker served when that was reported."""
    leaving: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests under way at instances that take no new ones, by service and id; complete as of the applied revision."""
    stats: StatsReport = field(default_factory=StatsReport)
