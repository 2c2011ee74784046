"""From the store to the data planes: watch, publish, fan out, and what the fleet answers.

store ─▶ Watcher ─▶ snapshot ─▶ Hub ─▶ Session (Subscriber) ─▶ stream
                                             Fleet ◀─ acks, nacks, reports
"""

from __future__ import annotations

from controlplane.publish.fleet import Fleet
from controlplane.publish.guard import WHAT_TO_DO
from controlplane.publish.hub import Ending, Hub, Session
from controlplane.publish.messages import Messages
from controlplane.publish.node import NodeState, Rejection
from controlplane.publish.peers import Peers
from controlplane.publish.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    RateLimitReport,
    StatsReport,
)
from controlplane.publish.signal import Signal
from controlplane.publish.subscriber import Mark, Whole
from controlplane.publish.views import CircuitView, InstanceView, RateLimitView, ServiceView
from controlplane.publish.watcher import Watcher

__all__ = [
    "WHAT_TO_DO",
    "CircuitReport",
    "CircuitState",
    "CircuitView",
    "Ending",
    "Fleet",
    "Hub",
    "InstanceHealth",
    "InstanceStatus",
    "InstanceView",
    "Mark",
    "Messages",
    "NodeProblem",
    "NodeState",
    "Peers",
    "RateLimitReport",
    "RateLimitView",
    "Rejection",
    "ServiceView",
    "Session",
    "Signal",
    "StatsReport",
    "Watcher",
    "Whole",
]
