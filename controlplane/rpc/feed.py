"""The views that watchers of the registry get. Each is rebuilt only when something that it shows changed, once for all
watchers.

Everything that changed has a number, and a watcher remembers the last that it saw. So a change costs what changed, and
a watcher what it is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from controlplane.distribute.subscriber import Mark
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet, Touched
from controlplane.fleet.views import ServiceView
from controlplane.model.resources import Instance, ResourceId, Route, Service
from controlplane.model.snapshot import Snapshot
from controlplane.rpc.wire import view_messages
from controlplane.signal import Signal
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1.resources_pb2 import ResourceName

logger = logging.getLogger(__name__)

GAP = 0.1
"""Seconds between two looks at what changed: data planes report all the time, and nobody reads faster."""

AT_ONCE = 50
"""Views that are made in one turn of the event loop: about a millisecond."""

CHECKED_WITHIN = 10.0
"""Seconds within which watchers who get everything each time are told of probes that changed nothing."""

MOST_REMOVED = 10_000
"""Removed names that are remembered; a watcher that missed more gets everything."""

Kind = Literal["service", "route", "circuit"]
View = pb.ServiceView | pb.RouteView | pb.CircuitView
Name = tuple[Kind, str]


@dataclass(slots=True)
class _Part:
    number: int
    view: View
    essence: object
    """Differs when more than the time of a probe does."""


class Feed:
    """The views and their numbers, kept up to date while somebody watches: see `watched`."""

    def __init__(self, watcher: Watcher, fleet: Fleet) -> None:
        self.changed = Signal()
        self.number = 0
        """Of the last change."""
        self.news = 0
        """Of the last change that is more than the time of a probe."""
        self.revision = 0
        self.ready = False
        self._watcher = watcher
        self._fleet = fleet
        self._touched = Touched()
        self._routes: set[str] = set()
        self._snapshot: Snapshot | None = None
        self._instances: dict[str, dict[str, Instance]] = defaultdict(dict)
        self._parts: dict[Name, _Part] = {}
        """The last changed at the end."""
        self._removed: dict[Name, int] = {}
        self._forgotten = 0
        """What was removed up to this number is not known by name any more."""
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody watches within the block."""
        self._watchers += 1
        if self._task is None:
            self._fleet.followers.add(self._touched)
            self._touched.everything = True
            self._task = asyncio.create_task(self._follow(), name="registry: feed")
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers and self._task is not None:
                self._task.cancel()
                self._task, self.ready = None, False
                self._fleet.followers.discard(self._touched)

    def message(self, seen: int, request: pb.WatchRequest) -> pb.WatchResponse | None:
        """What a watcher is to be told that has `seen` all up to this number, or nothing: -1. None for nothing."""
        if not self.ready:
            return None
        whole = not request.changes or seen < self._forgotten
        response = pb.WatchResponse(revision=self.revision, changes=request.changes and not whole)
        wanted = _wanted(request)
        for name, part in self._newest(-1 if whole else seen):
            if name[0] in wanted:
                _add(response, part.view)
        if not whole:
            gone = (name for name, number in self._removed.items() if number > seen)
            listed = [ResourceName(kind=kind, name=name) for kind, name in gone if kind in wanted]
            response.removed.extend(listed)
            if not (response.services or response.routes or response.circuits or response.removed):
                return None
        if whole:
            _sort(response)
        return response

    def _newest(self, after: int) -> list[tuple[Name, _Part]]:
        found = []
        for name in reversed(self._parts):
            part = self._parts[name]
            if part.number <= after:
                break
            found.append((name, part))
        return found

    async def _follow(self) -> None:
        wake = asyncio.Event()
        with self._watcher.changed.wakes(wake), self._fleet.changed.wakes(wake):
            while True:
                wake.clear()
                try:
                    if self._watcher.current is not None:
                        await self._refresh(self._watcher.current)
                except Exception:
                    logger.exception("views for watchers cannot be made")
                    self._touched.everything = True
                await asyncio.sleep(GAP if self.ready else 0.0)
                await wake.wait()

    async def _refresh(self, snapshot: Snapshot) -> None:
        """Bring the views up to the snapshot and to what was reported."""
        before = self.number, self.revision, self.ready
        if self._snapshot is not snapshot:
            self._take_in(snapshot)
        for number, name in enumerate(self._due(snapshot), 1):
            self._make(name, snapshot)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        self.revision, self.ready = snapshot.revision, True
        while len(self._removed) > MOST_REMOVED:
            self._forgotten = self._removed.pop(next(iter(self._removed)))
        if before != (self.number, self.revision, self.ready):
            self.changed.notify()

    def _take_in(self, snapshot: Snapshot) -> None:
        """Note what differs from the previous snapshot."""
        before, self._snapshot = self._snapshot, snapshot
        delta = None if before is None else self._watcher.deltas.between(Mark.of(before), snapshot)
        if delta is None:
            self._start_over(snapshot)
            return
        for identity in (*delta.changed, *delta.removed):
            self._note(identity, snapshot)

    def _start_over(self, snapshot: Snapshot) -> None:
        self._touched.everything = True
        self._instances.clear()
        for stamped in snapshot.resources.values():
            if isinstance(one := stamped.resource, Instance):
                self._instances[one.service_name][one.instance_id] = one

    def _note(self, identity: ResourceId, snapshot: Snapshot) -> None:
        kind, name = identity
        if kind == Route.KIND:
            self._routes.add(name)
        elif kind == Service.KIND:
            self._touched.services.add(name)
            self._touched.circuits.add(name)
        elif kind == Instance.KIND:
            service, _, instance_id = name.partition("/")
            self._touched.services.add(service)
            stamped = snapshot.resources.get(identity)
            if stamped is not None and isinstance(stamped.resource, Instance):
                self._instances[service][instance_id] = stamped.resource
            else:
                self._instances[service].pop(instance_id, None)

    def _due(self, snapshot: Snapshot) -> list[Name]:
        touched, routes = self._touched, self._routes
        services, circuits = touched.services, touched.circuits
        if touched.everything:
            services = {name for kind, name in snapshot.resources if kind == Service.KIND}
            routes = {name for kind, name in snapshot.resources if kind == Route.KIND}
            services |= {name for kind, name in self._parts if kind == "service"}
            routes |= {name for kind, name in self._parts if kind == "route"}
            circuits = services
        due: list[Name] = [("service", name) for name in sorted(services)]
        due += [("route", name) for name in sorted(routes)]
        due += [("circuit", name) for name in sorted(circuits)]
        touched.services, touched.circuits, touched.everything, self._routes = set(), set(), False, set()
        return due

    def _make(self, name: Name, snapshot: Snapshot) -> None:
        made = self._view(name, snapshot)
        known = self._parts.get(name)
        if made is None:
            if known is not None:
                del self._parts[name]
                self.number = self.news = self._removed[name] = self.number + 1
            return
        view, essence = made
        if known is not None and known.view == view:
            return
        self.number += 1
        if known is None or known.essence != essence:
            self.news = self.number
        self._parts.pop(name, None)
        self._removed.pop(name, None)
        self._parts[name] = _Part(self.number, view, essence)

    def _view(self, name: Name, snapshot: Snapshot) -> tuple[View, object] | None:
        kind, resource_name = name
        stamped = snapshot.resources.get((Route.KIND if kind == "route" else Service.KIND, resource_name))
        if stamped is None:
            return None
        resource = stamped.resource
        if isinstance(resource, Route):
            return view_messages.route(resource), stamped.revision
        assert isinstance(resource, Service)
        if kind == "circuit":
            circuit = view_messages.circuit(self._fleet.circuit_view(resource))
            return circuit, self.number
        instances = [one for _, one in sorted(self._instances.get(resource_name, {}).items())]
        seen = [self._fleet.instance_view(one) for one in instances]
        view = view_messages.service(ServiceView(resource, tuple(seen)))
        return view, (stamped.revision, [(id(one.instance), one.status) for one in seen])


def _wanted(request: pb.WatchRequest) -> set[str]:
    left_out = {
        "service": request.without_services,
        "route": request.without_routes,
        "circuit": request.without_circuits,
    }
    return {kind for kind, out in left_out.items() if not out}


def _add(response: pb.WatchResponse, view: View) -> None:
    if isinstance(view, pb.ServiceView):
        response.services.append(view)
    elif isinstance(view, pb.RouteView):
        response.routes.append(view)
    else:
        response.circuits.append(view)


def _sort(response: pb.WatchResponse) -> None:
    response.services.sort(key=lambda view: view.service.service_name)
    response.routes.sort(key=lambda view: view.name)
    response.circuits.sort(key=lambda view: view.circuit.service_name)
