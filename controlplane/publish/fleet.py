"""Which data planes there are, what each of them serves and reports, and the views over all of them.

Knows no wire format. Only data planes that are connected count in the views of services, circuits and limits: what
was true when one left is not known to be true now. One that left is shown for a while, so that its absence is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from controlplane.model.snapshot import Snapshot
from controlplane.publish import views
from controlplane.publish.reports import InstanceHealth, NodeProblem, StatsReport
from controlplane.publish.signal import Signal
from controlplane.publish.views import CircuitView, RateLimitView, ServiceView

KEPT = 600.0
"""Seconds that a data plane is shown after it left."""

MOST_GONE = 1000
"""Most data planes that are shown after they left."""


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


class Fleet:
    """Kept up to date by the config stream, read by both edges. `changed` wakes those who watch the views."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        """`now` gives monotonic seconds and decides who is forgotten; `wall` gives the Unix seconds that are shown."""
        self.changed = Signal()
        self.moved = Signal()
        """The part of `changed` that may end a wait: answers, comings and goings, health, requests that ended."""
        self._now = now
        self._wall = wall
        self._nodes: dict[str, NodeState] = {}
        self._left: dict[str, float] = {}

    @property
    def nodes(self) -> Mapping[str, NodeState]:
        """Every data plane that is known, by name."""
        self._forget()
        return MappingProxyType(self._nodes)

    # What the config stream reports

    def hello(
        self,
        node: str,
        version: str,
        revision: int = 0,
        digest: str = "",
        leaving: Mapping[tuple[str, str], int] = MappingProxyType({}),
    ) -> None:
        """A data plane connected, serving `revision`. What it reported before stands until it reports again."""
        before = self._nodes.get(node, NodeState(node, version))
        self._left.pop(node, None)
        self._nodes[node] = before
        self._update(
            node,
            version=version,
            connected=True,
            sent_revision=0,
            applied_revision=revision,
            digest=digest,
            health_revision=0,
            leaving=leaving,
        )
        self.moved.notify()

    def sent(self, node: str, revision: int) -> None:
        """A revision went out to it."""
        if (known := self._nodes.get(node)) is not None:
            # Not heard of, so last_seen stays.
            self._nodes[node] = replace(known, sent_revision=revision)

    def ack(self, node: str, revision: int, digest: str) -> None:
        """It serves this revision."""
        self._update(node, applied_revision=revision, digest=digest)
        self.moved.notify()

    def nack(self, node: str, revision: int, problems: Iterable[NodeProblem], digest: str = "") -> None:
        """It refuses this revision, and serves on what it had."""
        self._update(node, last_rejection=Rejection(revision, tuple(problems), self._wall(), digest))
        self.moved.notify()

    def health(self, node: str, instances: Iterable[InstanceHealth], revision: int = 0) -> None:
        """Its whole view of the instances as it served `revision`, in place of the last one."""
        self._update(node, health=tuple(instances), health_revision=revision)
        self.moved.notify()

    def leaving(self, node: str, requests: Mapping[tuple[str, str], int]) -> None:
        """Its requests under way at instances that take no new ones, in place of the last report."""
        self._update(node, leaving=requests)
        self.moved.notify()

    def stats(self, node: str, stats: StatsReport) -> None:
        """Its counters, in place of the last ones."""
        self._update(node, stats=stats)

    def disconnect(self, node: str) -> None:
        """Its stream ended."""
        if node in self._nodes:
            self._left[node] = self._now()
            self._nodes[node] = replace(self._nodes[node], connected=False)
            self._forget()
            self.changed.notify()
            self.moved.notify()

    # Views

    def services_view(self, snapshot: Snapshot) -> tuple[ServiceView, ...]:
        """Every service with its instances and their status, sorted by name."""
        return views.services(snapshot, [node.health for node in self._connected()])

    def circuits_view(self, snapshot: Snapshot) -> tuple[CircuitView, ...]:
        """The breaker of every service, sorted by name."""
        return views.circuits(snapshot, {node.node: node.stats.circuits for node in self._connected()})

    def rate_limits_view(self, snapshot: Snapshot) -> tuple[RateLimitView, ...]:
        """Every bucket in use, the emptiest first."""
        return views.rate_limits(snapshot, {node.node: node.stats.rate_limits for node in self._connected()})

    def dataplanes_view(self, snapshot: Snapshot | None = None) -> tuple[NodeState, ...]:
        """Every data plane, sorted by name.

        One whose table has the digest of `snapshot` has applied its revision too: what changed in between meant
        nothing to data planes, and was not sent.
        """
        return tuple(_up_to(state, snapshot) for _, state in sorted(self.nodes.items()))

    def _connected(self) -> list[NodeState]:
        return [state for state in self._nodes.values() if state.connected]

    def _update(self, node: str, **changes: object) -> None:
        if (known := self._nodes.get(node)) is not None:
            self._nodes[node] = replace(known, last_seen=self._wall(), **changes)  # type: ignore[arg-type]
            self.changed.notify()

    def _forget(self) -> None:
        # In the order in which they left.
        for node, left in list(self._left.items()):
            if left > self._now() - KEPT and len(self._left) <= MOST_GONE:
                break
            del self._left[node], self._nodes[node]


def _up_to(state: NodeState, snapshot: Snapshot | None) -> NodeState:
    if snapshot is None or state.digest != snapshot.digest or state.applied_revision >= snapshot.revision:
        return state
    return replace(state, applied_revision=snapshot.revision)
