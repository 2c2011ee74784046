"""Events of services: the fleet's verdicts on instances, and the states of breakers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from controlplane.distribute.subscriber import Mark
from controlplane.distribute.watcher import Watcher
from controlplane.events.judgements import REMOVED, Judgements
from controlplane.events.log import EventLog, Kind
from controlplane.fleet.nodes import Fleet, Touched
from controlplane.fleet.reports import CircuitState, InstanceStatus
from controlplane.fleet.verdicts import InstanceName
from controlplane.fleet.views import InstanceView
from controlplane.model.resources import Instance, Service
from controlplane.model.snapshot import Snapshot

_WORDS: Mapping[CircuitState, str] = {
    CircuitState.CLOSED: "is closed",
    CircuitState.HALF_OPEN: "is half open",
    CircuitState.OPEN: "is open",
}


class ServiceEvents:
    """The last known state of services, compared with the present one, service by service."""

    def __init__(self, watcher: Watcher, fleet: Fleet, log: EventLog) -> None:
        self._watcher, self._fleet, self._log = watcher, fleet, log
        self._snapshot: Snapshot | None = None
        self._instances: dict[str, dict[str, InstanceStatus]] = {}
        """The last verdict that counted, by service and instance."""
        self._circuits: dict[str, CircuitState] = {}
        """Those that are not closed."""
        self.judgements = Judgements(lambda node: fleet.state(node) is not None)
        self._doubts: dict[InstanceName, tuple[int, ...]] = {}
        """The votes against instances at the last look, as `Overview.doubts` gives them."""

    @property
    def open(self) -> Set[str]:
        """Services whose breaker is open or half open at a data plane."""
        return self._circuits.keys()

    def due(self, snapshot: Snapshot, touched: Touched) -> Iterable[str]:
        """Services that may differ from what is known; takes the names out of `touched`."""
        before, self._snapshot = self._snapshot, snapshot
        names = touched.services | touched.circuits
        changed = self._changed(before, snapshot)
        if touched.everything or changed is None:
            names |= snapshot.instances_of.keys() | self._instances.keys()
        names |= changed or set()
        touched.services, touched.circuits, touched.everything = set(), set(), False
        return sorted(names)

    def _changed(self, before: Snapshot | None, snapshot: Snapshot) -> set[str] | None:
        """Services that differ between two snapshots, or have an instance that does; None: any may."""
        if before is snapshot:
            return set()
        delta = self._watcher.deltas.between(Mark.of(before), snapshot) if before is not None else None
        if delta is None:
            return None
        changed = (*delta.changed, *delta.removed)
        return {name.partition("/")[0] for kind, name in changed if kind in (Service.KIND, Instance.KIND)}

    def look(self, name: str, snapshot: Snapshot, at: float, *, quiet: bool) -> None:
        """Note how a service differs from the last look. `quiet`: remember it only."""
        view = self._fleet.views.service(snapshot, name)
        if view is None:
            for key in self._instances.pop(name, ()):
                self._forget((name, key))
            self._circuits.pop(name, None)
            return
        known, now = self._instances.get(name), {one.instance.instance_id: one for one in view.instances}
        verdicts = {key: _verdict(one, (known or {}).get(key)) for key, one in now.items()}
        self._instances[name] = verdicts
        if not quiet:
            self._note_votes(name, now, at)
            self._note_instances(name, known or {}, now, verdicts, snapshot.revision, at)
        self._note_circuit(view.service, snapshot.revision, at, quiet=quiet)

    def _note_votes(self, service: str, now: Iterable[str], at: float) -> None:
        for instance in now:
            name = service, instance
            doubts = self._fleet.views.doubts(name)
            if doubts == self._doubts.get(name, ()) and not self.judgements.waits(name):
                continue
            self.judgements.vote(name, self._fleet.views.ballot(name), at)
            if doubts:
                self._doubts[name] = doubts
            else:
                self._doubts.pop(name, None)

    def _note_instances(
        self,
        service: str,
        known: Mapping[str, InstanceStatus],
        now: Mapping[str, InstanceView],
        verdicts: Mapping[str, InstanceStatus],
        revision: int,
        at: float,
    ) -> None:
        for key, status in verdicts.items():
            if (before := known.get(key)) is not status:
                self._instance(service, key, str(status), before, now[key].reason, revision, at)
        for key in known.keys() - now.keys():
            self._instance(service, key, REMOVED, known[key], "", revision, at)

    def _instance(
        self,
        service: str,
        instance: str,
        state: str,
        before: InstanceStatus | None,
        reason: str,
        revision: int,
        at: float,
    ) -> None:
        fields = {
            "service_name": service,
            "instance_id": instance,
            "state": state,
            "previous": str(before) if before else None,
            "reason": reason or None,
        }
        name = service, instance
        if self.judgements.matters(name, state):
            ballot, previous = self._fleet.views.ballot(name), str(before or "")
            self.judgements.decide(name, ballot, at, status=state, previous=previous, reason=reason)
        if state == REMOVED:
            self._forget(name)
        text = f"instance {service}/{instance} is {state}" + (f": {reason}" if reason else "")
        self._log.add(Kind.INSTANCE, at, text, revision, fields)

    def _forget(self, name: InstanceName) -> None:
        """The instance is gone; its history stays."""
        self._doubts.pop(name, None)
        self.judgements.forget(name)

    def _note_circuit(self, service: Service, revision: int, at: float, *, quiet: bool) -> None:
        view = self._fleet.views.circuit(service)
        name, state = service.service_name, view.circuit.state
        before = self._circuits.get(name, CircuitState.CLOSED)
        if state is CircuitState.CLOSED:
            self._circuits.pop(name, None)
        else:
            self._circuits[name] = state
        if quiet or state is before:
            return
        nodes = [node for node, one in view.dataplanes.items() if one.state is not CircuitState.CLOSED]
        reason = view.circuit.reason
        fields = {
            "service_name": name,
            "state": str(state),
            "previous": str(before),
            "reason": reason or None,
            "dataplanes": len(nodes),
        }
        text = f"circuit of service {name} {_WORDS[state]}" + (f": {reason}" if reason else "")
        self._log.add(Kind.CIRCUIT, at, text, revision, fields)


def _verdict(view: InstanceView, known: InstanceStatus | None) -> InstanceStatus:
    """The verdict that counts: no data plane judges it for a moment after a reconnect, which changes nothing."""
    if view.status is InstanceStatus.STARTING and known is not None and known is not InstanceStatus.DRAINING:
        return known
    return view.status
