"""Which data planes there are, what each of them serves and reports, and the views over all of them.

Some are connected here, and others to other control planes, who tell of them: see `peers`. Knows no wire format. Only
data planes that are connected count in the views of services, circuits and limits: what was true when one left is not
known to be true now. One that left is shown for a while, so that its absence is seen.

What is kept of the instances is votes (see `verdicts`), and not what each data plane said of each.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from controlplane.fleet import reports, views
from controlplane.fleet.circuits import Circuits
from controlplane.fleet.demand import Demand, Reporting
from controlplane.fleet.reports import (
    CircuitReport,
    InstanceHealth,
    InstanceStatus,
    NodeProblem,
    NodeState,
    Rejection,
    StatsReport,
)
from controlplane.fleet.tally import Tally
from controlplane.fleet.told import Changed, Told
from controlplane.fleet.verdicts import InstanceName, Verdict, Verdicts
from controlplane.fleet.views import CircuitView, RateLimitView, ServiceView
from controlplane.model.capabilities import Lacking
from controlplane.model.resources import Service
from controlplane.model.snapshot import Snapshot
from controlplane.signal import Signal

K = TypeVar("K")
V = TypeVar("V")

KEPT = 600.0
"""Seconds that a data plane is shown after it left."""

MOST_GONE = 1000
"""Most data planes that are shown after they left."""

UNHEARD_FOR = 1.0
"""Seconds, at least, that data planes of a control plane which tells nothing may still take to be known."""


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
        self.refusals = 0
        """How often a data plane refused something."""
        self._progress: dict[str, Signal] = {}
        """The part of `moved` that is about one data plane, for those that are waited for."""
        self.asks = Signal()
        """What is asked of the data planes' reports changed: see `reporting`."""
        self.news = 0
        """Grows with everything of the own data planes that somebody may wait for; not with counters and times."""
        self.tally = Tally()
        """The connected data planes, here and elsewhere, counted."""
        self.verdicts = Verdicts()
        self.circuits = Circuits()
        self.followers: set[Touched] = set()
        """Those who follow what the views of services and circuits depend on."""
        self._now = now
        self._settle = settle
        self._started = now()
        self._wall = wall
        self._nodes: dict[str, NodeState] = {}
        self._elsewhere: dict[str, Told] = {}
        self._lost: dict[str, Told] = {}
        """What control planes that are gone told of data planes that are not back yet, by node."""
        self._left: dict[str, float] = {}
        self._left_elsewhere: dict[str, float] = {}
        self._peers_unknown = False
        self._unheard: set[str] = set()
        self._demand = Demand()
        self._counting: _Counting | None = None

    @property
    def nodes(self) -> Mapping[str, NodeState]:
        """Every data plane that is known, by name."""
        self._forget()
        if not self._elsewhere:
            return MappingProxyType(self._nodes)
        merged = dict(self._nodes)
        for told in self._elsewhere.values():
            for name, state in told.nodes.items():
                if name not in merged or _fresher(state, merged[name]):
                    merged[name] = state
        return MappingProxyType(merged)

    @property
    def own(self) -> Mapping[str, NodeState]:
        """Those that are connected to this control plane, or were before they left."""
        self._forget()
        return MappingProxyType(self._nodes)

    def state(self, node: str) -> NodeState | None:
        """What is known of one data plane."""
        found = self._nodes.get(node)
        for told in self._elsewhere.values():
            if (state := told.nodes.get(node)) is not None and (found is None or _fresher(state, found)):
                found = state
        return found

    @contextmanager
    def progress(self, node: str, wake: asyncio.Event) -> Iterator[None]:
        """Set the event whenever this data plane answers, reports what may be waited for, comes or goes."""
        signal = self._progress.setdefault(node, Signal())
        try:
            with signal.wakes(wake):
                yield
        finally:
            if not signal.heard and self._progress.get(node) is signal:
                del self._progress[node]

    def tells(self) -> Told:
        """What other control planes are told of them."""
        return Told(self.own, self.verdicts.found, self.circuits.found, self.looks)

    @property
    def alone(self) -> bool:
        """Whether there is no other control plane."""
        return not self._elsewhere and not self._unheard

    @property
    def unsettled(self) -> float:
        """Seconds for which a data plane may still come back that goes on serving meanwhile; 0: all are here."""
        if self._unheard:
            return max(self._settle, UNHEARD_FOR)
        if self._peers_unknown:
            return self._settle
        recently = self._now() - self._settle
        left = (*self._left.items(), *self._left_elsewhere.items())
        since = (at for node, at in left if at > recently and self._is_gone(node))
        return max(0.0, max((self._started, *since)) - recently)

    def _is_gone(self, node: str) -> bool:
        """Whether it was there, and is connected nowhere now."""
        return (state := self.state(node)) is not None and not state.connected

    # What other control planes tell

    def await_peers(self) -> None:
        """There may be other control planes, and with them data planes that are not known yet: see `met_peers`."""
        self._peers_unknown = True

    def met_peers(self) -> None:
        """From now on the other control planes are known, and tell of their data planes in a moment."""
        if self._peers_unknown:
            self._peers_unknown, self._started = False, self._now()
            self.moved.notify()

    @property
    def unheard(self) -> Sequence[str]:
        """Names of control planes that are there and tell nothing: which data planes they have is not known here."""
        return sorted(self._unheard)

    def expect(self, controlplane: str) -> None:
        """Another control plane is there. Until it is heard its data planes are unknown, and nothing is settled."""
        if controlplane not in self._elsewhere:
            self._unheard.add(controlplane)
            self.moved.notify()

    def hear(self, controlplane: str, told: Told, changed: Changed | None = None) -> None:
        """What another control plane knows of its data planes, in place of what it told before.

        `changed` names what is told otherwise; without it everything is compared.
        """
        self._unheard.discard(controlplane)
        before = self._elsewhere.get(controlplane, Told())
        if told.looks:
            self._demand.look(self._now())
            self.settle_demand()
        if changed is not None and not changed and controlplane in self._elsewhere:
            return
        self._elsewhere[controlplane] = told
        recently = self._now() - self._settle
        self._left_elsewhere = {node: at for node, at in self._left_elsewhere.items() if at > recently}
        for node, state in before.nodes.items():
            if state.connected and not (node in told.nodes and told.nodes[node].connected):
                self._left_elsewhere[node] = self._now()
        self._counting = None
        self._compare(before, told, changed)
        others = _others(before.nodes, told.nodes)
        for node in others:
            self._rank(node)
        self.changed.notify()
        self.moved.notify()
        if any(
            _refusal(told.nodes.get(node)) not in (None, _refusal(before.nodes.get(node))) for node in others
        ):
            self.refusals += 1
        for node in self._progress.keys() & others:
            self._progress[node].notify()

    def lose(self, controlplane: str) -> None:
        """Another control plane is gone. Its data planes are known to have been there, and will be back elsewhere."""
        self._unheard.discard(controlplane)
        before, told = self.nodes, self._elsewhere.pop(controlplane, Told())
        after = self.nodes
        for name, state in told.nodes.items():
            if name not in after or (state.connected and not after[name].connected):
                slot = self._nodes[name].slot if name in self._nodes else self.verdicts.take_slot()
                self._nodes[name] = replace(before[name], connected=False, slot=slot)
                self._lost[name] = told
                # At the end of those who left, as the last one.
                self._left.pop(name, None)
                self._left[name] = self._now()
        self._forget()
        self._recount()
        for name in told.nodes:
            self._rank(name)
        self.changed.notify()
        self.moved.notify()
        for node in self._progress.keys() & told.nodes.keys():
            self._progress[node].notify()

    # What is asked of the data planes

    def reporting(self, node: str) -> Reporting:
        """How this data plane is to report now; `asks` is given when that changed for any."""
        return self._demand.of(node, self._now())

    def look(self) -> None:
        """Somebody looks at circuits or limits, and is taken to do so for a while."""
        self._demand.look(self._now())
        self.settle_demand()

    @property
    def looks(self) -> bool:
        """Whether somebody does."""
        return self._demand.looks(self._now())

    def settle_demand(self) -> None:
        """To be called now and then: what was asked for while somebody looked ends some time later."""
        if not self._demand.changed(self._now()):
            return
        if not self._demand.details(self._now()):
            self.circuits.drop_details()
            for name, state in self._nodes.items():
                if state.stats.rate_limits:
                    self._nodes[name] = replace(state, stats=replace(state.stats, rate_limits=()))
        self.asks.notify()

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
        )
        self._moved(node)
        self.settle_demand()

    def sent(self, node: str, revision: int) -> None:
        """A revision went out to it."""
        if (known := self._nodes.get(node)) is not None:
            # Not heard of, so last_seen stays.
            self._nodes[node] = replace(known, sent_revision=revision)

    def ack(self, node: str, revision: int, digest: str) -> None:
        """It serves this revision."""
        self._update(node, applied_revision=revision, digest=digest)
        self._moved(node)

    def nack(self, node: str, revision: int, problems: Iterable[NodeProblem], digest: str = "") -> None:
        """It refuses this revision, and serves on what it had."""
        self._update(node, last_rejection=Rejection(revision, tuple(problems), self._wall(), digest))
        self._moved(node)
        self.refusals += 1

    def withhold(self, node: str, revision: int, digest: str, lacking: Lacking) -> None:
        """It is not given this revision, which needs what it does not know, and serves on what it had."""
        if (state := self._nodes.get(node)) is not None:
            problems = reports.lacking(lacking, state.version)
            self._update(
                node, last_rejection=Rejection(revision, problems, self._wall(), digest, withheld=True)
            )
            self._moved(node)
            self.refusals += 1

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
        """Its view of the instances as it served `revision`; with `changes`, what is not listed is as before.

        It does not know the `unknown` instances any more. `listed` are those of the parts of a large report that came
        before this one, the last; they come as changes, without a revision.
        """
        if (state := self._nodes.get(node)) is None:
            return
        found = list(instances)
        voted, changed = self.verdicts.say(state.slot, found)
        gone = self.verdicts.forget(state.slot, unknown)
        if not changes:
            names = {one.name for one in found}
            names.update(listed)
            gone += self.verdicts.forget_others(state.slot, names)
        voted.update(gone)
        self._touch(services={service for service, _ in changed | voted})
        served = state.health_revision if revision is None else revision
        self._update(node, health_revision=served)
        if voted or served != state.health_revision:
            self._moved(node)

    def leaving(self, node: str, requests: Mapping[tuple[str, str], int]) -> None:
        """Its requests under way at instances that take no new ones, in place of the last report."""
        self._update(node, leaving=requests)
        self._moved(node)

    def stats(self, node: str, stats: StatsReport, *, changes: bool = False) -> None:
        """Its counters, in place of the last ones; with `changes`, circuits that are not listed are as before."""
        if node not in self._nodes:
            return
        touched, turned = self.circuits.take(node, stats.circuits, changes=changes)
        self._touch(circuits=touched)
        self._update(node, stats=replace(stats, circuits=()))
        self.news += turned

    def disconnect(self, node: str) -> None:
        """Its stream ended."""
        if node in self._nodes:
            self._left[node] = self._now()
            self._nodes[node] = replace(self._nodes[node], connected=False)
            self._rank(node)
            self._demand.leave(node)
            self._recount()
            self._forget()
            self.changed.notify()
            self._moved(node)
            self.settle_demand()

    def all_serve(self, digest: str) -> bool:
        """Whether every connected data plane that serves a configuration serves this one, here and elsewhere.

        False when no data plane serves any.
        """
        here = {node.digest for node in self._nodes.values() if node.connected and node.digest}
        return here <= {digest} and self.tally.all_serve(digest)

    # Views

    def circuit_view(self, service: Service) -> CircuitView:
        """One service's breaker."""
        return views.circuit_view(service, self._circuits(service.service_name))

    def service_view(self, snapshot: Snapshot, service_name: str) -> ServiceView | None:
        """One service with its instances and their status; None when there is none of this name."""
        stamped = snapshot.resources.get((Service.KIND, service_name))
        if stamped is None or not isinstance(stamped.resource, Service):
            return None
        return views.service_view(snapshot, stamped.resource, self._count().votes)

    def services_view(self, snapshot: Snapshot) -> tuple[ServiceView, ...]:
        """Every service with its instances and their status, sorted by name."""
        return views.services(snapshot, self._count().votes)

    def vote(self, node: str, service_name: str, instance_id: str) -> tuple[InstanceStatus | None, str]:
        """What a data plane finds of an instance, None when it does not know it; and why a probe failed last."""
        name = service_name, instance_id
        for source in self._count().sources:
            if node in source.counted and (found := source.votes.get(name)) is not None:
                return found.vote(source.nodes[node].slot), found.reason
        return None, ""

    def without_health(self, instance: InstanceName) -> Iterator[str]:
        """Names of the data planes that do not find the instance healthy, beginning anywhere."""
        for source in self._count().sources:
            found = source.votes.get(instance)
            yield from source.named(source.bits & ~found.well if found else source.bits)

    def circuits_view(self, snapshot: Snapshot) -> tuple[CircuitView, ...]:
        """The breaker of every service, sorted by name."""
        return views.circuits(snapshot, self._circuits)

    def rate_limits_view(self, snapshot: Snapshot) -> tuple[RateLimitView, ...]:
        """Every bucket in use, the emptiest first."""
        self.look()
        return views.rate_limits(snapshot, {node.node: node.stats.rate_limits for node in self._connected()})

    def dataplanes_view(self, snapshot: Snapshot | None = None) -> tuple[NodeState, ...]:
        """Every data plane, sorted by name.

        One whose table has the digest of `snapshot` has applied its revision too: what changed in between meant
        nothing to data planes, and was not sent.
        """
        return tuple(up_to_date(state, snapshot) for _, state in sorted(self.nodes.items()))

    def _connected(self) -> list[NodeState]:
        return [state for state in self.nodes.values() if state.connected]

    def _circuits(self, service_name: str) -> dict[str, CircuitReport]:
        found = {
            node: report
            for source in self._count().sources
            for node, report in source.circuits.get(service_name, {}).items()
            if node in source.counted
        }
        return dict(sorted(found.items()))

    def _count(self) -> _Counting:
        if self._counting is None:
            merged = self.nodes
            own = _Source(self._nodes, self.verdicts.found, self.circuits.found, merged)
            others = (
                _Source(told.nodes, told.votes, told.circuits, merged) for told in self._elsewhere.values()
            )
            self._counting = _Counting((own, *others))
        return self._counting

    def _adopt(self, node: str, version: str) -> None:
        """Make the node an own one. What it reported elsewhere goes along until it reports again."""
        if node in self._nodes and node not in self._lost and self._home(node) is None:
            return
        told = self._lost.pop(node, None) or self._home(node)
        known = self._nodes.get(node)
        slot = known.slot if known else self.verdicts.take_slot()
        if told is not None and (there := told.nodes.get(node)) is not None:
            self.verdicts.adopt(slot, told.votes, there.slot)
            reports = [by_node[node] for by_node in told.circuits.values() if node in by_node]
            self.circuits.take(node, reports, changes=False)
        before = self.state(node) or NodeState(node, version)
        self._nodes[node] = replace(before, slot=slot)

    def _home(self, node: str) -> Told | None:
        """The other control plane that knows most of this node, if it knows more than this one."""
        if (state := self.state(node)) is None:
            return None
        return next((told for told in self._elsewhere.values() if told.nodes.get(node) is state), None)

    def _touch(self, *, services: Collection[str] = (), circuits: Collection[str] = ()) -> None:
        for follower in self.followers:
            follower.services.update(services)
            follower.circuits.update(circuits)

    def _recount(self) -> None:
        """Other data planes count than before."""
        self._counting = None
        for follower in self.followers:
            follower.everything = True

    def _compare(self, before: Told, told: Told, changed: Changed | None) -> None:
        """Another control plane told more: find what its data planes say otherwise than before."""
        if not self.followers:
            return
        counts = {name: (state.connected, state.since) for name, state in before.nodes.items()}
        if counts != {name: (state.connected, state.since) for name, state in told.nodes.items()}:
            self._recount()
            return
        if changed is not None:
            self._touch(services=changed.services, circuits=changed.circuits)
            return
        self._touch(
            services={name[0] for name in _differing(before.votes, told.votes)},
            circuits=_differing(before.circuits, told.circuits),
        )

    def _moved(self, node: str) -> None:
        self.news += 1
        self.moved.notify()
        if (signal := self._progress.get(node)) is not None:
            signal.notify()

    def _update(self, node: str, **changes: object) -> None:
        if (known := self._nodes.get(node)) is not None:
            self._nodes[node] = replace(known, last_seen=self._wall(), **changes)  # type: ignore[arg-type]
            self._rank(node)
            self.changed.notify()

    def _rank(self, node: str) -> None:
        self.tally.put(node, self.state(node))

    def _forget(self) -> None:
        # In the order in which they left.
        for node, left in list(self._left.items()):
            if left > self._now() - KEPT and len(self._left) <= MOST_GONE:
                break
            self.verdicts.free_slot(self._nodes[node].slot)
            self.circuits.drop(node)
            self._lost.pop(node, None)
            del self._left[node], self._nodes[node]


class Touched:
    """What is to be looked at anew, by those who follow: names of services."""

    def __init__(self) -> None:
        self.services: set[str] = set()
        self.circuits: set[str] = set()
        self.everything = True


class _Source:
    """What one control plane knows, and which data planes count there: each counts where it is connected now."""

    def __init__(
        self,
        nodes: Mapping[str, NodeState],
        votes: Mapping[InstanceName, Verdict],
        circuits: Mapping[str, Mapping[str, CircuitReport]],
        merged: Mapping[str, NodeState],
    ) -> None:
        here = (name for name, state in nodes.items() if state.connected and _is(merged.get(name), state))
        self.nodes = nodes
        self.votes = votes
        self.circuits = circuits
        self.counted = frozenset(here)
        self._by_slot = {slot: name for name in self.counted if (slot := nodes[name].slot) >= 0}
        self._without_slot = [name for name in self.counted if nodes[name].slot < 0]
        """Data planes that cannot vote."""
        self.bits = sum(1 << slot for slot in self._by_slot)

    def named(self, bits: int) -> Iterator[str]:
        """Names of the data planes with these bits, beginning anywhere; and of those that have none."""
        yield from self._without_slot
        middle = random.randrange(bits.bit_length() + 1)  # noqa: S311  # spreads waits, guards nothing
        high = bits >> middle << middle
        for rest in (high, bits ^ high):
            while rest:
                lowest = rest & -rest
                rest ^= lowest
                yield self._by_slot[lowest.bit_length() - 1]


class _Counting:
    """All of them; made anew when a data plane comes, goes or moves."""

    def __init__(self, sources: tuple[_Source, ...]) -> None:
        self.sources = sources
        self.votes = [(source.votes, source.bits) for source in sources]


def _differing(before: Mapping[K, V], after: Mapping[K, V]) -> set[K]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _others(before: Mapping[str, NodeState], after: Mapping[str, NodeState]) -> set[str]:
    """Names of the data planes that are told of otherwise than before."""
    gone = before.keys() - after.keys()
    return gone | {name for name, state in after.items() if before.get(name) is not state}


def _refusal(state: NodeState | None) -> Rejection | None:
    return state.last_rejection if state is not None else None


def _is(merged: NodeState | None, state: NodeState) -> bool:
    return merged is not None and (merged.since, merged.slot) == (state.since, state.slot)


def _fresher(one: NodeState, other: NodeState) -> bool:
    """Whether `one` tells more of a node than `other`: it is connected there, and later."""
    return (one.connected, one.since, one.last_seen) > (other.connected, other.since, other.last_seen)


def up_to_date(state: NodeState, snapshot: Snapshot | None) -> NodeState:
    """The state of one whose table has the digest of `snapshot`: it has applied its revision, too."""
    if snapshot is None or state.digest != snapshot.digest or state.applied_revision >= snapshot.revision:
        return state
    return replace(state, applied_revision=snapshot.revision)
