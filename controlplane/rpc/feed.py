"""The views that watchers of the registry get. Each is rebuilt only when something that it shows changed, once for all
watchers. Views without a watcher are not made.

Every change has a number, and a watcher remembers the last number that it saw. The cost of a change grows with its
size, and the cost of a watcher with the messages it gets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from controlplane.distribute.subscriber import Mark
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet, Touched
from controlplane.model.resources import Instance, ResourceId, Route, Service
from controlplane.model.snapshot import Snapshot
from controlplane.rpc.interests import Interest, Interests, Kind, Name
from controlplane.rpc.wire import view_messages
from controlplane.signal import Signal
from headgate_api.v1 import registry_pb2 as pb
from headgate_api.v1.resources_pb2 import ResourceName

logger = logging.getLogger(__name__)

GAP = 0.1
"""Seconds between two checks for changes: data planes report all the time, and people do not read faster."""

AT_ONCE = 50
"""Views that are made in one turn of the event loop: about a millisecond."""

CHECKED_WITHIN = 10.0
"""Seconds within which watchers that get everything each time are sent probes that changed nothing."""

MOST_REMOVED = 10_000
"""Removed names that are remembered; a watcher that missed more gets everything."""

KINDS: tuple[Kind, ...] = ("service", "route", "circuit")
View = pb.ServiceView | pb.RouteView | pb.CircuitView


@dataclass(slots=True)
class _Part:
    number: int
    view: View
    essence: object
    """Differs when more than the time of a probe differs."""


class Feed:
    """The views and their numbers, kept up to date while there is a watcher: see `watched`."""

    def __init__(self, watcher: Watcher, fleet: Fleet) -> None:
        self.changed = Signal()
        self.number = 0
        """Of the last change."""
        self.news = 0
        """Of the last change that is more than the time of a probe."""
        self.revision = 0
        self._watcher = watcher
        self._fleet = fleet
        self._touched = Touched()
        self._routes: set[str] = set()
        self._snapshot: Snapshot | None = None
        self._interests = Interests()
        self._made: frozenset[Interest] = frozenset()
        """Interests for which all views have been made."""
        self._came: set[Interest] = set()
        """Interests for which no view has been made yet."""
        self._wake = asyncio.Event()
        self._parts: dict[Name, _Part] = {}
        """The last changed at the end."""
        self._removed: dict[Name, int] = {}
        self._forgotten = 0
        """Names of removals up to this number have been forgotten."""
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def watched(self, interest: Interest) -> Iterator[None]:
        """Counts one watcher within the block."""
        if self._interests.add(interest):
            self._came.add(interest)
            self._wake.set()
        if self._task is None:
            self._fleet.followers.add(self._touched)
            # A separate event: a task that was just cancelled removes its own from the signals.
            self._wake = asyncio.Event()
            self._task = asyncio.create_task(self._follow(self._wake), name="registry: feed")
        try:
            yield
        finally:
            if self._interests.remove(interest):
                self._made -= {interest}
                self._came.discard(interest)
                self._drop_unwatched()
            if not self._interests.watchers:
                self._stop()

    def ready(self, interest: Interest) -> bool:
        """Whether all views for a watcher with this interest exist."""
        return interest in self._made

    def message(self, seen: int, interest: Interest, *, changes: bool) -> pb.WatchResponse | None:
        """The update for a watcher that has `seen` everything up to this number; -1: nothing yet. None for nothing.

        Without `changes` everything that the interest covers.
        """
        if not self.ready(interest):
            return None
        whole = not changes or seen < self._forgotten
        response = pb.WatchResponse(revision=self.revision, changes=not whole)
        for name, part in self._newest(-1 if whole else seen):
            if interest.covers(name):
                _add(response, part.view)
        if not whole:
            gone = (name for name, number in self._removed.items() if number > seen and interest.covers(name))
            response.removed.extend(ResourceName(kind=kind, name=name) for kind, name in gone)
            if not (response.services or response.routes or response.circuits or response.removed):
                return None
        if whole:
            _sort(response)
        return response

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._fleet.followers.discard(self._touched)
        self._snapshot = None
        self._removed.clear()
        self._forgotten = self.number

    def _drop_unwatched(self) -> None:
        """Views that are not kept up to date must not be shown to the next watcher."""
        for name in [name for name in self._parts if not self._interests.covers(name)]:
            del self._parts[name]

    def _newest(self, after: int) -> list[tuple[Name, _Part]]:
        found = []
        for name in reversed(self._parts):
            part = self._parts[name]
            if part.number <= after:
                break
            found.append((name, part))
        return found

    async def _follow(self, wake: asyncio.Event) -> None:
        with self._watcher.changed.wakes(wake), self._fleet.signals.changed.wakes(wake):
            while True:
                wake.clear()
                try:
                    if self._watcher.current is not None:
                        await self._refresh(self._watcher.current)
                except Exception:
                    logger.exception("views for watchers cannot be computed")
                    self._snapshot, self._came = None, set(self._interests.different)
                await asyncio.sleep(GAP if self._made else 0.0)
                await wake.wait()

    async def _refresh(self, snapshot: Snapshot) -> None:
        """Update the views to the snapshot and to the reports."""
        before = self.number, self.revision, self._made
        came, self._came = self._came, set()
        for number, name in enumerate(self._due(snapshot, came), 1):
            # Its watchers may have left meanwhile.
            if self._interests.covers(name):
                self._make(name, snapshot)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        # The views of a watcher that left and returned meanwhile are gone.
        self._made = (self._made | came) & self._interests.different - self._came
        self.revision = snapshot.revision
        while len(self._removed) > MOST_REMOVED:
            self._forgotten = self._removed.pop(next(iter(self._removed)))
        if before != (self.number, self.revision, self._made):
            self.changed.notify()

    def _due(self, snapshot: Snapshot, came: Iterable[Interest]) -> list[Name]:
        """The watched views that are out of date; `came` are interests without a view."""
        anew = self._take_in(snapshot)
        touched, routes = self._touched, self._routes
        # The set of counted data planes does not affect routes.
        everything = set(KINDS) if anew else {"service", "circuit"} if touched.everything else set()
        named: dict[Kind, set[str]] = {
            "service": touched.services,
            "route": routes,
            "circuit": touched.circuits,
        }
        touched.services, touched.circuits, touched.everything, self._routes = set(), set(), False, set()
        due: list[Name] = []
        for kind in KINDS:
            names = self._all(kind, snapshot) if kind in everything else named[kind]
            due += [(kind, name) for name in sorted(names)]
        return due + self._missing(snapshot, came)

    def _take_in(self, snapshot: Snapshot) -> bool:
        """Note the differences from the previous snapshot. Returns whether everything may differ."""
        before, self._snapshot = self._snapshot, snapshot
        if before is snapshot:
            return False
        delta = None if before is None else self._watcher.deltas.between(Mark.of(before), snapshot)
        if delta is None:
            return True
        for identity in (*delta.changed, *delta.removed):
            self._note(identity)
        return False

    def _note(self, identity: ResourceId) -> None:
        kind, name = identity
        if kind == Route.KIND:
            self._routes.add(name)
        elif kind == Service.KIND:
            self._touched.services.add(name)
            self._touched.circuits.add(name)
        elif kind == Instance.KIND:
            self._touched.services.add(name.partition("/")[0])

    def _all(self, kind: Kind, snapshot: Snapshot) -> set[str]:
        """Names of a kind, present and removed ones, that are watched."""
        names = {name for other, name in self._parts if other == kind}
        if not self._interests.wants_all(kind):
            return names | {name for other, name in self._interests.named if other == kind}
        if kind == "route":
            return names | {name for other, name in snapshot.resources if other == Route.KIND}
        return names | snapshot.instances_of.keys()

    def _missing(self, snapshot: Snapshot, came: Iterable[Interest]) -> list[Name]:
        """Views that only new watchers requested."""
        missing: set[Name] = set()
        for interest in came:
            missing |= interest.named
            for kind in interest.whole:
                missing.update((kind, name) for name in self._all(kind, snapshot))
        return sorted(missing - self._parts.keys())

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
            circuit = view_messages.circuit(self._fleet.views.circuit(resource))
            return circuit, self.number
        seen = self._fleet.views.service(snapshot, resource_name)
        assert seen is not None
        essence = stamped.revision, [(id(one.instance), one.status) for one in seen.instances]
        return view_messages.service(seen), essence


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
