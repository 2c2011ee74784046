"""Follows the EndpointSlices of some Services of one namespace: list, then watch from there, again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

from controlplane.discovery import backoff
from controlplane.discovery.kubernetes_api import Event, Gone, KubernetesApi, Session, Silent
from controlplane.discovery.slices import MOST_SLICES, Slice, Slices

AFTER_END = 0.5
"""Seconds at least between two watches: a server may end each at once."""


class Namespace:
    """The Services of one namespace. `changed` gets the slices of each that differs, `failed` why there are none."""

    def __init__(
        self,
        api: KubernetesApi,
        name: str,
        services: Collection[str],
        changed: Callable[[str, Sequence[Slice]], None],
        failed: Callable[[str], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._api = api
        self._name = name
        self._services = services
        self._changed = changed
        self._failed = failed
        self._chance = chance
        self._slices = Slices(services)
        self._version = ""
        """From which the watch continues; empty: list first."""
        self._silent = False

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            try:
                async with self._api.session() as session:
                    await self._follow(session)
                failures = 0
            except Gone:
                failures += 1
                self._version = ""
            except Silent as error:
                failures += 1
                self._silent = True
                self._failed(str(error))
            await asyncio.sleep(AFTER_END + (backoff.pause(failures, self._chance()) if failures else 0))

    async def _follow(self, session: Session) -> None:
        """One session: until the watch ends."""
        if not self._version:
            listing = await session.list(self._name, self._services)
            self._slices.replace(listing.slices)
            self._version = listing.version
            self._tell(self._services)
        async with session.watch(self._name, self._services, self._version) as events:
            if self._silent:
                self._tell(self._services)
            async for event in events:
                self._take(event)

    def _take(self, event: Event) -> None:
        if event.put is not None:
            self._tell(self._slices.put(event.put))
        elif event.removed:
            self._tell(self._slices.remove(event.removed))
        self._version = event.version or self._version

    def _tell(self, services: Collection[str]) -> None:
        self._silent = bool(self._slices.dropped)
        if self._silent:
            self._failed(f"namespace {self._name} has more than {MOST_SLICES} EndpointSlices")
            return
        for service in sorted(services):
            self._changed(service, self._slices.of(service))
