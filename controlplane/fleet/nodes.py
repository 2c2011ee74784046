"""Which data planes there are, what each of them serves and reports, and the views over all of them.

Some are connected here, and others to other control planes, who tell of them: see `peers`. Knows no wire format. Only
data planes that are connected count in the views of services, circuits and limits: what was true when one left is not
known to be true now. One that left is shown for a while, so that its absence is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from controlplane.fleet import views
from controlplane.fleet.reports import InstanceHealth, NodeProblem, NodeState, Rejection, StatsReport
from controlplane.fleet.views import CircuitView, RateLimitView, ServiceView
from controlplane.model.snapshot import Snapshot
from controlplane.signal import Signal

KEPT = 600.0
"""Seconds that a data plane is shown after it left."""

MOST_GONE = 1000
"""Most data planes that are shown after they left."""


class Fleet:
    """Kept up to date by the config stream, read by both edges. `changed` wakes those who watch the views."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        *,
        settle: float = 0.0,
    ) -> None:
        """`now` gives monotonic seconds and decides who is forgotten; `wall` gives the Unix seconds that are shown.

        `settle`: seconds in which data planes are expected back after this process started, or their stream ended.
        """
        self.changed = Signal()
        self.moved = Signal()
        """The part of `changed` that may end a wait: answers, comings and goings, health, requests that ended."""
        self._now = now
        self._settle = settle
        self._started = now()
        self._wall = wall
        self._nodes: dict[str, NodeState] = {}
        self._elsewhere: dict[str, Mapping[str, NodeState]] = {}
        self._left: dict[str, float] = {}
        self._left_elsewhere: dict[str, float] = {}
        self._among_strangers = False

    @property
    def nodes(self) -> Mapping[str, NodeState]:
        """Every data plane that is known, by name."""
        self._forget()
        if not self._elsewhere:
            return MappingProxyType(self._nodes)
        merged = dict(self._nodes)
        for states in self._elsewhere.values():
            for name, state in states.items():
                if name not in merged or _fresher(state, merged[name]):
                    merged[name] = state
        return MappingProxyType(merged)

    @property
    def own(self) -> Mapping[str, NodeState]:
        """Those that are connected to this control plane, or were before they left."""
        self._forget()
        return MappingProxyType(self._nodes)

    @property
    def alone(self) -> bool:
        """Whether no other control plane has told of itself."""
        return not self._elsewhere

    @property
    def unsettled(self) -> float:
        """Seconds for which a data plane may still come back that goes on serving meanwhile; 0: all are here."""
        if self._among_strangers:
            return self._settle
        nodes = self.nodes
        left = (*self._left.items(), *self._left_elsewhere.items())
        since = (at for node, at in left if node in nodes and not nodes[node].connected)
        return max(0.0, max((self._started, *since)) + self._settle - self._now())

    # What other control planes tell

    def await_peers(self) -> None:
        """There may be other control planes, and with them data planes that are not known yet: see `met_peers`."""
        self._among_strangers = True

    def met_peers(self) -> None:
        """From now on the other control planes are known, and tell of their data planes in a moment."""
        if self._among_strangers:
            self._among_strangers, self._started = False, self._now()
            self.moved.notify()

    def hear(self, controlplane: str, states: Iterable[NodeState]) -> None:
        """Another control plane's data planes, in place of what it told before."""
        before = self._elsewhere.get(controlplane, {})
        after = self._elsewhere[controlplane] = {state.node: state for state in states}
        recently = self._now() - self._settle
        self._left_elsewhere = {node: at for node, at in self._left_elsewhere.items() if at > recently}
        for node, state in before.items():
            if state.connected and not (node in after and after[node].connected):
                self._left_elsewhere[node] = self._now()
        self.changed.notify()
        self.moved.notify()

    def lose(self, controlplane: str) -> None:
        """Another control plane is gone. Its data planes are known to have been there, and will be back elsewhere."""
        before, told = self.nodes, self._elsewhere.pop(controlplane, {})
        after = self.nodes
        for name, state in told.items():
            if name not in after or (state.connected and not after[name].connected):
                self._nodes[name] = replace(before[name], connected=False)
                # At the end of those who left, as the last one.
                self._left.pop(name, None)
                self._left[name] = self._now()
        self._forget()
        self.changed.notify()
        self.moved.notify()

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
        before = self.nodes.get(node, NodeState(node, version))
        self._left.pop(node, None)
        self._nodes[node] = before
        self._update(
            node,
            version=version,
            connected=True,
            since=self._wall(),
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

    def all_serve(self, digest: str) -> bool:
        """Whether every connected data plane that serves a configuration serves this one, here and elsewhere.

        False when no data plane serves any.
        """
        for nodes in (self.own, self.nodes):
            serving = [node for node in nodes.values() if node.connected and node.digest]
            if any(node.digest != digest for node in serving):
                return False
        return bool(serving)

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
        return [state for state in self.nodes.values() if state.connected]

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


def _fresher(one: NodeState, other: NodeState) -> bool:
    """Whether `one` tells more of a node than `other`: it is connected there, and later."""
    return (one.connected, one.since, one.last_seen) > (other.connected, other.since, other.last_seen)


def _up_to(state: NodeState, snapshot: Snapshot | None) -> NodeState:
    if snapshot is None or state.digest != snapshot.digest or state.applied_revision >= snapshot.revision:
        return state
    return replace(state, applied_revision=snapshot.revision)
