"""The views over the data planes of all control planes: services, circuits, limits, and the data planes themselves.

Only connected data planes count: the last state of one that left may be outdated. Each counts where it is connected,
although another control plane may still report it, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from controlplane.fleet import views
from controlplane.fleet.peer_updates import PeerState
from controlplane.fleet.reports import CircuitReport, InstanceStatus, NodeState, RateLimitReport
from controlplane.fleet.verdicts import InstanceName
from controlplane.fleet.views import Ballot, CircuitView, ServiceView
from controlplane.model.resources import Service
from controlplane.model.snapshot import Snapshot


class Overview:
    """Views that are made on request; the cost of each grows with its size."""

    def __init__(
        self, nodes: Callable[[], Mapping[str, NodeState]], states: Callable[[], list[PeerState]]
    ) -> None:
        """`nodes` gives every data plane, `states` what each control plane knows of its own, this one first."""
        self._nodes = nodes
        self._states = states
        self._sources: tuple[_Source, ...] | None = None

    def recount(self) -> None:
        """A data plane came, left or moved, or another control plane sent an update."""
        self._sources = None

    def services(self, snapshot: Snapshot) -> tuple[ServiceView, ...]:
        """Every service with its instances and their status, sorted by name."""
        return views.services(snapshot, self._votes())

    def service(self, snapshot: Snapshot, service_name: str) -> ServiceView | None:
        """One service with its instances and their status; None when there is none of this name."""
        stamped = snapshot.resources.get((Service.KIND, service_name))
        if stamped is None or not isinstance(stamped.resource, Service):
            return None
        return views.service_view(snapshot, stamped.resource, self._votes())

    def viewer(self, snapshot: Snapshot) -> Callable[[Service], ServiceView]:
        """Makes the views of services that the snapshot need not hold yet, as of now; for any thread."""
        votes = self._votes()
        return lambda service: views.service_view(snapshot, service, votes)

    def circuits(self, snapshot: Snapshot) -> tuple[CircuitView, ...]:
        """The breaker of every service, sorted by name."""
        return views.circuits(snapshot, self._breakers)

    def circuit(self, service: Service) -> CircuitView:
        """The breaker of one service."""
        return views.circuit_view(service, self._breakers(service.service_name))

    def buckets(self) -> Mapping[str, Sequence[RateLimitReport]]:
        """The buckets of limits that each connected data plane has reported, by its name."""
        connected = (state for state in self._nodes().values() if state.connected)
        return {state.node: state.stats.rate_limits for state in connected}

    def dataplanes(self, snapshot: Snapshot | None = None) -> tuple[NodeState, ...]:
        """Every data plane, sorted by name, as `up_to_date` with the snapshot."""
        return tuple(up_to_date(state, snapshot) for _, state in sorted(self._nodes().items()))

    def vote(self, node: str, instance: InstanceName) -> tuple[InstanceStatus | None, str]:
        """A data plane's vote on an instance (None when it does not know it), and the reason of the last failed
        probe."""
        for source in self._counted():
            if node in source.counted and (found := source.state.votes.get(instance)) is not None:
                return found.vote(source.state.nodes[node].slot), found.reason
        return None, ""

    def doubts(self, instance: InstanceName) -> tuple[int, ...]:
        """The votes against an instance: bits that mean something only in comparison; without any, it is empty."""
        found = [
            one.ill & source.bits if (one := source.state.votes.get(instance)) is not None else 0
            for source in self._counted()
        ]
        return tuple(found) if any(found) else ()

    def ballot(self, instance: InstanceName) -> Ballot:
        """The vote of each data plane on an instance."""
        well, ill, starting = list[str](), list[str](), list[str]()
        failed_at, reason = 0.0, ""
        for source in self._counted():
            if (found := source.state.votes.get(instance)) is None:
                continue
            well += source.voters(found.well)
            ill += source.voters(found.ill)
            starting += source.voters(found.known & ~found.well & ~found.ill)
            if found.reason and found.failed_at >= failed_at:
                failed_at, reason = found.failed_at, found.reason
        return Ballot(sorted(well), sorted(ill), sorted(starting), reason)

    def without_health(self, instance: InstanceName) -> Iterator[str]:
        """Names of the data planes that do not find the instance healthy, beginning anywhere."""
        for source in self._counted():
            found = source.state.votes.get(instance)
            yield from source.named(source.bits & ~found.well if found else source.bits)

    def _votes(self) -> views.Votes:
        return [(source.state.votes, source.bits) for source in self._counted()]

    def _breakers(self, service_name: str) -> dict[str, CircuitReport]:
        found = {
            node: report
            for source in self._counted()
            for node, report in source.state.circuits.get(service_name, {}).items()
            if node in source.counted
        }
        return dict(sorted(found.items()))

    def _counted(self) -> tuple[_Source, ...]:
        if self._sources is None:
            nodes = self._nodes()
            self._sources = tuple(_Source(state, nodes) for state in self._states())
        return self._sources


class _Source:
    """The state known to one control plane, and the data planes that count there."""

    def __init__(self, peer: PeerState, nodes: Mapping[str, NodeState]) -> None:
        here = (name for name, state in peer.nodes.items() if state.connected and _is(nodes.get(name), state))
        self.state = peer
        self.counted = frozenset(here)
        self._by_slot = {slot: name for name in self.counted if (slot := peer.nodes[name].slot) >= 0}
        self._without_slot = [name for name in self.counted if peer.nodes[name].slot < 0]
        """Data planes that cannot vote."""
        self.bits = sum(1 << slot for slot in self._by_slot)

    def voters(self, bits: int) -> list[str]:
        """Names of the data planes with these bits that count here."""
        bits &= self.bits
        return [name for slot, name in self._by_slot.items() if bits >> slot & 1] if bits else []

    def named(self, bits: int) -> Iterator[str]:
        """Names of the data planes with these bits, beginning anywhere; and of those that have no bit."""
        yield from self._without_slot
        middle = random.randrange(bits.bit_length() + 1)  # noqa: S311  # spreads waits, guards nothing
        high = bits >> middle << middle
        for rest in (high, bits ^ high):
            while rest:
                lowest = rest & -rest
                rest ^= lowest
                yield self._by_slot[lowest.bit_length() - 1]


def up_to_date(state: NodeState, snapshot: Snapshot | None) -> NodeState:
    """The state, with the revision of `snapshot` as the applied one where the digests are equal: the changes in between
    did not concern data planes of its pool, and were not sent.
    """
    if snapshot is None or not state.digest or state.applied_revision >= snapshot.revision:
        return state
    if state.digest != snapshot.digest_of(state.pool):
        return state
    return replace(state, applied_revision=snapshot.revision)


def _is(merged: NodeState | None, state: NodeState) -> bool:
    return merged is not None and (merged.since, merged.slot) == (state.since, state.slot)
