"""The board: the fleet at a glance, made once for all who look, and what changed since an earlier look.

Every look has a number. A follower remembers the last number that it was sent: if it is the one before, it gets the
differences, which are encoded once for all; otherwise everything. Nothing queues up for a follower that is slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain

from controlplane.api.answers import json_text
from controlplane.api.board import troubles
from controlplane.api.board.troubles import StoreFacts, Trouble
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.board import BoardHeadShape, CountsShape
from controlplane.api.shapes.fleet import dataplane
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet, Touched
from controlplane.fleet.reports import NodeState
from controlplane.model.resources import Route, Service
from controlplane.model.snapshot import Snapshot

MOST = 200
"""Troubles that are listed."""

Json = dict[str, object]


class Board:
    """`look` brings it up to date; the rest is as of the last look."""

    def __init__(
        self, watcher: Watcher, fleet: Fleet, version: str, wall: Callable[[], float] = time.time
    ) -> None:
        self.number = 0
        """Of the last look."""
        self.head: Json = {}
        self._watcher, self._fleet = watcher, fleet
        self._version, self._wall = version, wall
        self._touched = Touched()
        self._snapshot: Snapshot | None = None
        self._routed: frozenset[str] = frozenset()
        """The services that routes lead to."""
        self._of_services: dict[str, list[Trouble]] = {}
        """Troubles of services that have some."""
        self._seen: dict[str, float] = {}
        """Since when a trouble has been seen that has no time of its own."""
        self._states: dict[str, NodeState] = {}
        self._nodes: dict[str, Json] = {}
        self._patch: Json = {}
        self._encoded: dict[bool, bytes] = {}

    def follow(self) -> None:
        """Note from now on which services change; without it, each look reads all of them."""
        self._touched.everything = True
        self._fleet.followers.add(self._touched)

    def unfollow(self) -> None:
        """Nobody follows any more."""
        self._fleet.followers.discard(self._touched)
        self._touched.everything = True

    def look(self) -> None:
        """Bring everything up to date."""
        now, current = self._wall(), self._watcher.current
        states = {state.node: state for state in self._fleet.views.dataplanes(current)}
        changed = self._take(states)
        self._look_at_services(current)
        self.number += 1
        self.head = self._make_head(states, current, now)
        gone = [name for name in self._nodes if name not in states]
        for name in gone:
            del self._nodes[name]
        self._patch = {**self.head, "changed": changed, "gone": gone}
        self._encoded = {}

    @property
    def state(self) -> Json:
        """Everything, as BoardShape says."""
        return {**self.head, "dataplanes": [self._nodes[name] for name in sorted(self._nodes)]}

    def since(self, number: int) -> tuple[str, bytes]:
        """Name and data of the event for a follower that has seen this look."""
        news = number == self.number - 1
        if news not in self._encoded:
            self._encoded[news] = json_text(self._patch if news else self.state)
        return ("patch" if news else "state"), self._encoded[news]

    def _take(self, states: dict[str, NodeState]) -> list[Json]:
        """The data planes that differ from the last look."""
        changed = []
        for name, state in states.items():
            if self._states.get(name) is state:
                continue
            shown = dataplane(state).model_dump(mode="json")
            before = self._nodes.get(name, {})
            self._nodes[name] = shown
            # Every report moves `last_seen`, which is of interest only once it has stopped moving.
            if {**shown, "last_seen": None} != {**before, "last_seen": None} or not state.connected:
                changed.append(shown)
        self._states = states
        return changed

    def _look_at_services(self, current: Snapshot | None) -> None:
        touched, views = self._touched, self._fleet.views
        followed = touched in self._fleet.followers
        if current is None:
            self._of_services = {}
            return
        services = current.of(Service)
        everything = touched.everything or not followed or current is not self._snapshot
        names = services if everything else (touched.services | touched.circuits) & services.keys()
        if everything:
            self._of_services = {}
            self._routed = troubles.routed(current.of(Route).values())
        view_of = views.viewer(current)
        for name in names:
            service = services[name]
            health = troubles.of_a_service(view_of(service), name in self._routed)
            found = [*health, *troubles.of_a_circuit(views.circuit(service))]
            self._of_services.pop(name, None)
            if found:
                self._of_services[name] = found
        touched.services, touched.circuits, touched.everything = set(), set(), False
        self._snapshot = current

    def _make_head(self, states: dict[str, NodeState], current: Snapshot | None, now: float) -> Json:
        found = sorted(self._dated(self._troubles(states, current, now), now), key=lambda one: one.order)
        standings = [troubles.standing(state, current) for state in states.values()]
        connected = sum(one != "gone" for one in standings)
        counts = CountsShape(
            connected=connected,
            serving=standings.count("serving"),
            waiting=standings.count("waiting"),
            rejecting=standings.count("rejecting"),
            gone=standings.count("gone"),
            services=len(current.of(Service)) if current else 0,
            routes=len(current.of(Route)) if current else 0,
        )
        return BoardHeadShape(
            time=moment(now),
            version=self._version,
            revision=current.revision if current else 0,
            digest=current.digest if current else "",
            published_at=moment(self._watcher.published_at),
            counts=counts,
            troubles=[one.shape() for one in found[:MOST]],
            more=max(0, len(found) - MOST),
        ).model_dump(mode="json")

    def _troubles(
        self, states: dict[str, NodeState], current: Snapshot | None, now: float
    ) -> Iterator[Trouble]:
        watcher = self._watcher
        yield from troubles.of_the_store(self._store(now))
        yield from troubles.of_the_fleet(states.values(), current, watcher.published_at, now)
        yield from chain.from_iterable(self._of_services.values())
        yield from troubles.of_discovery(watcher.discovery_states())
        yield from troubles.of_the_control_planes(self._fleet.unheard)

    def _store(self, now: float) -> StoreFacts:
        watcher = self._watcher
        lost = None
        if not watcher.connected and watcher.lost_at is not None:
            lost = now - (time.monotonic() - watcher.lost_at)
        return StoreFacts(lost, watcher.frozen, watcher.full, tuple(map(str, watcher.problems)))

    def _dated(self, found: Iterator[Trouble], now: float) -> Iterator[Trouble]:
        """With a time for those without one: when it was first seen."""
        seen: dict[str, float] = {}
        for one in found:
            if one.since:
                yield one
                continue
            key = f"{one.kind} {one.resource} {one.severity}" if one.resource else one.title
            seen[key] = self._seen.get(key, now)
            yield _since(one, seen[key])
        self._seen = seen


def _since(one: Trouble, seconds: float) -> Trouble:
    return Trouble(
        one.severity, one.kind, one.title, one.detail, seconds, one.resource, one.revision, one.nodes
    )
