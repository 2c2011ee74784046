"""The fleet: its data planes, the revision and reports of each, and the listeners of changes.

Knows no wire format. Some data planes are connected here, others to control planes that report them (`peers`, `links`).
Of the reports on instances only votes are kept (`verdicts`). A data plane that left is shown for a while, so that its
absence is seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from controlplane.fleet import elsewhere, reports
from controlplane.fleet.circuits import Circuits
from controlplane.fleet.demand import LOOKS, WATCHES, Demand, Reporting
from controlplane.fleet.elsewhere import Elsewhere
from controlplane.fleet.overview import Overview
from controlplane.fleet.peer_updates import PeerChanges, PeerState
from controlplane.fleet.reports import (
    MOST_RESETS,
    NO_RESETS,
    InstanceHealth,
    NodeProblem,
    NodeState,
    Rejection,
    StatsReport,
)
from controlplane.fleet.settling import Settling
from controlplane.fleet.signals import Signals
from controlplane.fleet.tally import Tally, standing_of
from controlplane.fleet.verdicts import InstanceName, Verdicts
from controlplane.model.capabilities import Lacking
from controlplane.model.pool import DEFAULT_POOL

K = TypeVar("K")
V = TypeVar("V")

KEPT = 600.0
"""Seconds that a data plane is shown after it left."""

MOST_GONE = 1000
"""Most data planes that are shown after they left."""


class Touched:
    """Names of services whose views must be rebuilt, for the registry's feed."""

    def __init__(self) -> None:
        self.services: set[str] = set()
        """Those with an instance whose verdict changed."""
        self.circuits: set[str] = set()
        """Those whose breaker changed on any data plane."""
        self.everything = True


class Fleet:
    """Kept up to date by the config stream and by the states that other control planes send."""

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        *,
        settle: float = 0.0,
    ) -> None:
        """`now` gives monotonic seconds, by which data planes are forgotten; `wall` gives the Unix seconds that are
        shown.

        `settle`: seconds in which data planes are expected back after this process started, or their stream ended.
        """
        self.signals = Signals()
        self.tally = Tally()
        """The connected data planes, here and elsewhere, counted."""
        self.verdicts = Verdicts()
        """The votes of the data planes that are connected here; so with `circuits`."""
        self.circuits = Circuits()
        self.views = Overview(lambda: self.nodes, self._all_states)
        self.followers: set[Touched] = set()
        """Sets of the registry's feed."""
        self._now = now
        self._wall = wall
        self._nodes: dict[str, NodeState] = {}
        """Data planes that are connected here, or were before they left."""
        self._left: dict[str, float] = {}
        """Monotonic times at which they left; the last one at the end."""
        self._lost: dict[str, PeerState] = {}
        """Last states, from control planes that are gone, of data planes that are not back yet, by data plane."""
        self._elsewhere = Elsewhere()
        self._settling = Settling(now(), settle)
        self._demand = Demand()
        self._looks_until = self._watches_until = -math.inf

    @property
    def nodes(self) -> Mapping[str, NodeState]:
        """Every data plane that is known, by name."""
        self._forget()
        return MappingProxyType(
            self._elsewhere.merged(self._nodes) if self._elsewhere.states else self._nodes
        )

    def state(self, node: str) -> NodeState | None:
        """The known state of one data plane."""
        return self._elsewhere.state(node, self._nodes.get(node))

    def controlplane_of(self, node: str) -> str | None:
        """The other control plane to which a data plane is connected; None if that is this one, or there is none."""
        return self._elsewhere.home_of(node, self._nodes.get(node))

    def peer_state(self) -> PeerState:
        """The state that other control planes are sent."""
        self._forget()
        nodes = MappingProxyType(self._nodes)
        return PeerState(nodes, self.verdicts.found, self.circuits.found, self.looks, self.watches)

    @property
    def pools(self) -> Set[str]:
        """The pools of the connected data planes, here and elsewhere."""
        return self.tally.pools

    def all_have_served(self, revision: int, digest: str, pool: str = DEFAULT_POOL) -> bool:
        """Whether every connected data plane of a pool that serves a configuration has served this one, here and
        elsewhere.

        Some may serve a later one already, which another control plane sent first. False when none serves this one now.
        """
        others = (
            node
            for node in self._nodes.values()
            if node.connected and node.pool == pool and node.digest not in ("", digest)
        )
        return self.tally.all_have_served(revision, digest, pool) and all(
            standing_of(node).has_served(revision, digest) for node in others
        )

    # What other control planes tell

    @property
    def alone(self) -> bool:
        """Whether there is no other control plane."""
        return not self._elsewhere.states and not self.unheard

    @property
    def unheard(self) -> Sequence[str]:
        """Names of control planes that exist but have sent nothing: their data planes are not known here."""
        return self._settling.unheard

    @property
    def unsettled(self) -> float:
        """Seconds in which a data plane that still serves traffic may reconnect; 0: all are connected."""
        return self._settling.remaining(self._now(), self._is_away)

    def await_peers(self) -> None:
        """Expect other control planes, which are not known before `met_peers`."""
        self._settling.await_peers()

    def met_peers(self) -> None:
        """The other control planes are known, and will report their data planes in a moment."""
        if self._settling.met_peers(self._now()):
            self.signals.moved.notify()

    def expect(self, controlplane: str) -> None:
        """There is another control plane. Nothing is settled before it has reported its data planes."""
        if controlplane not in self._elsewhere.states:
            self._settling.expect(controlplane)
            self.signals.moved.notify()

    def receive(self, controlplane: str, peer: PeerState, changed: PeerChanges | None = None) -> None:
        """Replace the state that another control plane sent.

        `changed` names the differences from the former state; without it everything is compared.
        """
        self._settling.heard(controlplane)
        self._take_demand(peer)
        if changed is not None and not changed and controlplane in self._elsewhere.states:
            return
        before = self._elsewhere.receive(controlplane, peer)
        for node in elsewhere.left(before, peer):
            self._settling.leave(node, self._now())
        self.views.recount()
        self._touch_changed(before, peer, changed)
        self.signals.refusals += elsewhere.refused(before, peer)
        self._move_elsewhere(elsewhere.differing(before, peer))

    def lose(self, controlplane: str) -> None:
        """Another control plane is gone. Its data planes are expected back, here or elsewhere."""
        self._settling.heard(controlplane)
        before = {
            name: self.state(name) for name in self._elsewhere.states.get(controlplane, PeerState()).nodes
        }
        peer = self._elsewhere.lose(controlplane)
        for name, state in peer.nodes.items():
            after, known = self.state(name), before[name]
            if known is not None and (after is None or (state.connected and not after.connected)):
                self._take_over(name, known, peer)
        self._forget()
        self._recount()
        self._move_elsewhere(peer.nodes.keys())

    def _take_over(self, node: str, state: NodeState, peer: PeerState) -> None:
        """Show a data plane as one that was connected here and left a moment ago."""
        known = self._nodes.get(node)
        slot = known.slot if known is not None else self.verdicts.take_slot()
        self._nodes[node] = replace(state, connected=False, slot=slot)
        self._lost[node] = peer
        self._leave(node)

    def _move_elsewhere(self, nodes: Collection[str]) -> None:
        for node in nodes:
            self.tally.put(node, self.state(node))
        self.signals.changed.notify()
        self.signals.move_elsewhere(set(nodes))

    def _is_away(self, node: str) -> bool:
        return (state := self.state(node)) is not None and not state.connected

    # What data planes are asked to report

    def reporting(self, node: str) -> Reporting:
        """The instructions to this data plane on reporting; `signals.asks` is given when that changed for any."""
        return self._demand.of(node, self._now())

    def look(self) -> None:
        """Note that circuits or limits are read here; they count as read for a while."""
        self._looks_until = self._now() + LOOKS
        self._demand.look(self._now())
        self.settle_demand()

    @property
    def looks(self) -> bool:
        """Whether they are read here. Not at another control plane: two would tell each other so for ever."""
        return self._now() < self._looks_until

    def watch(self) -> None:
        """Note that the traffic is watched here; see `look`."""
        self._watches_until = self._now() + WATCHES
        self._demand.watch(self._now())
        self.settle_demand()

    def record_traffic(self, every: float) -> None:
        """Have data planes report their traffic also while nobody watches, every so many seconds or less often."""
        self._demand.records = every
        self.settle_demand()

    @property
    def watches(self) -> bool:
        """Whether it is watched here."""
        return self._now() < self._watches_until

    def _take_demand(self, peer: PeerState) -> None:
        """Report what is read at another control plane."""
        if peer.looks:
            self._demand.look(self._now())
        if peer.watches:
            self._demand.watch(self._now())
        self.settle_demand()

    @property
    def traffic_every(self) -> float:
        """Seconds between two reports of a data plane on its traffic; 0: it is neither watched nor recorded."""
        return self._demand.traffic(self._now())

    def settle_demand(self) -> None:
        """Request fewer reports once they are no longer read. Call it now and then."""
        if not self._demand.changed(self._now()):
            return
        if not self.traffic_every:
            for name, state in self._nodes.items():
                if state.stats.traffic is not None:
                    self._nodes[name] = replace(state, stats=replace(state.stats, traffic=None))
        if not self._demand.details(self._now()):
            self.circuits.drop_details()
            for name, state in self._nodes.items():
                if state.stats.rate_limits:
                    self._nodes[name] = replace(state, stats=replace(state.stats, rate_limits=()))
        self.signals.asks.notify()

    # What data planes report

    def hello(
        self,
        node: str,
        version: str,
        revision: int = 0,
        digest: str = "",
        leaving: Mapping[InstanceName, int] = MappingProxyType({}),
        *,
        resets_unreported: bool = False,
        without_redis: bool = False,
        pool: str = DEFAULT_POOL,
    ) -> None:
        """A data plane connected, serving `revision`. Its previous report stays valid until it reports again."""
        self._adopt(node, version)
        self._left.pop(node, None)
        self._demand.come(node)
        self._recount()
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
            resets_unreported=resets_unreported,
            without_redis=without_redis,
            pool=pool,
        )
        self.signals.move(node)
        self.settle_demand()

    def sent(self, node: str, revision: int) -> None:
        """A revision was sent to it."""
        if (known := self._nodes.get(node)) is not None:
            # It was not heard of, so last_seen stays.
            self._nodes[node] = replace(known, sent_revision=revision, sent_at=self._wall())

    def ack(self, node: str, revision: int, digest: str) -> None:
        """It serves this revision."""
        arrival: dict[str, float] = {}
        if (known := self._nodes.get(node)) is not None and known.digest != digest:
            now = self._wall()
            arrival = {"applied_at": now, "took": max(0.0, now - known.sent_at) if known.sent_at else 0.0}
        self._update(node, applied_revision=revision, digest=digest, **arrival)
        self.signals.move(node)

    def nack(self, node: str, revision: int, problems: Iterable[NodeProblem], digest: str = "") -> None:
        """It refuses this revision, and still serves its former revision."""
        self._refuse(node, Rejection(revision, tuple(problems), self._wall(), digest))

    def withhold(self, node: str, revision: int, digest: str, lacking: Lacking) -> None:
        """This revision is withheld from it, because it lacks a capability; it still serves its former revision."""
        if (state := self._nodes.get(node)) is not None:
            problems = reports.lacking(lacking, state.version)
            self._refuse(node, Rejection(revision, problems, self._wall(), digest, withheld=True))

    def health(
        self,
        node: str,
        instances: Iterable[InstanceHealth],
        revision: int | None = None,
        *,
        changes: bool = False,
        unknown: Iterable[InstanceName] = (),
        listed: Iterable[InstanceName] = (),
    ) -> None:
        """Record its votes on instances as of `revision`. With `changes`, unlisted instances keep their votes.

        It does not know the `unknown` instances any more. A large report comes in parts: all but the last are given as
        changes, without a revision; the last one is given with the names that were `listed` in the others.
        """
        if (state := self._nodes.get(node)) is None:
            return
        found = list(instances)
        voted, services = self.verdicts.say(state.slot, found)
        gone = self.verdicts.forget(state.slot, unknown)
        if not changes:
            names = {one.name for one in found}
            names.update(listed)
            gone += self.verdicts.forget_others(state.slot, names)
        services.update(service for service, _ in gone)
        self._touch(services=services)
        served = state.health_revision if revision is None else revision
        self._update(node, health_revision=served)
        if voted or gone or served != state.health_revision:
            self.signals.move(node)

    def leaving(self, node: str, requests: Mapping[InstanceName, int]) -> None:
        """Its requests under way at instances that take no new ones, in place of the last report."""
        self._update(node, leaving=requests)
        self.signals.move(node)

    def stats(self, node: str, stats: StatsReport, *, changes: bool = False) -> None:
        """Its counters, in place of the last ones; with `changes`, circuits that are not listed are as before."""
        if node not in self._nodes:
            return
        touched, turned = self.circuits.take(node, stats.circuits, changes=changes)
        self._touch(circuits=touched)
        # One that came after the order to end them would never be replaced.
        traffic = (stats.traffic or self._nodes[node].stats.traffic) if self.traffic_every else None
        kept = replace(stats, circuits=(), resets=NO_RESETS, traffic=traffic, certificates=None)
        self._update(node, stats=kept)
        if stats.certificates is not None and stats.certificates != self._nodes[node].certificates:
            self._update(node, certificates=stats.certificates)
            self.signals.move(node)
        self.signals.news += turned
        if stats.resets:
            # Its first answer counts: a data plane that restarted later has no buckets to reset.
            known = {**stats.resets, **self._nodes[node].resets}
            self._update(node, resets=dict(sorted(known.items())[-MOST_RESETS:]))
            self.signals.move(node)

    def disconnect(self, node: str) -> None:
        """Its stream ended."""
        if node not in self._nodes:
            return
        self._nodes[node] = replace(self._nodes[node], connected=False)
        self._leave(node)
        self._demand.leave(node)
        self._recount()
        self._forget()
        self.tally.put(node, self.state(node))
        self.signals.changed.notify()
        self.signals.move(node)
        self.settle_demand()

    # Inside

    def _adopt(self, node: str, version: str) -> None:
        """Make the data plane one of this control plane. Its report to another control plane stays valid until it
        reports again."""
        known = self._nodes.get(node)
        home = self._elsewhere.home(node, known)
        if known is not None and node not in self._lost and home is None:
            return
        peer = self._lost.pop(node, None) or home
        slot = known.slot if known is not None else self.verdicts.take_slot()
        if peer is not None and (there := peer.nodes.get(node)) is not None:
            self.verdicts.adopt(slot, peer.votes, there.slot)
            breakers = [by_node[node] for by_node in peer.circuits.values() if node in by_node]
            self.circuits.take(node, breakers, changes=False)
        self._nodes[node] = replace(self.state(node) or NodeState(node, version), slot=slot)

    def _refuse(self, node: str, rejection: Rejection) -> None:
        self._update(node, last_rejection=rejection)
        self.signals.refusals += 1
        self.signals.move(node)

    def _update(self, node: str, **changes: object) -> None:
        if (known := self._nodes.get(node)) is not None:
            self._nodes[node] = replace(known, last_seen=self._wall(), **changes)  # type: ignore[arg-type]
            self.tally.put(node, self.state(node))
            self.signals.changed.notify()

    def _leave(self, node: str) -> None:
        self._left.pop(node, None)
        self._left[node] = self._now()
        self._settling.leave(node, self._now())

    def _forget(self) -> None:
        for node, left in list(self._left.items()):
            if left > self._now() - KEPT and len(self._left) <= MOST_GONE:
                break
            self.verdicts.free_slot(self._nodes[node].slot)
            self.circuits.drop(node)
            self._lost.pop(node, None)
            del self._left[node], self._nodes[node]

    def _all_states(self) -> list[PeerState]:
        return [self.peer_state(), *self._elsewhere.states.values()]

    def _recount(self) -> None:
        """The set of data planes that count has changed."""
        self.views.recount()
        for follower in self.followers:
            follower.everything = True

    def _touch(self, *, services: Collection[str] = (), circuits: Collection[str] = ()) -> None:
        for follower in self.followers:
            follower.services.update(services)
            follower.circuits.update(circuits)

    def _touch_changed(self, before: PeerState, peer: PeerState, changed: PeerChanges | None) -> None:
        """Note what changed at another control plane, for the registry's feed."""
        if not self.followers:
            return
        counts = {name: (state.connected, state.since) for name, state in before.nodes.items()}
        if counts != {name: (state.connected, state.since) for name, state in peer.nodes.items()}:
            self._recount()
        elif changed is not None:
            self._touch(services=changed.services, circuits=changed.circuits)
        else:
            votes = _differing(before.votes, peer.votes)
            self._touch(
                services={service for service, _ in votes},
                circuits=_differing(before.circuits, peer.circuits),
            )


def _differing(before: Mapping[K, V], after: Mapping[K, V]) -> set[K]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
