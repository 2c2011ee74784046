"""Follows the EndpointSlices of some Services of one namespace: list, then watch from there, again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

from controlplane.discovery import backoff
from controlplane.discovery.kubernetes_api import ApiUnavailable, Event, Garbled, Gone, KubernetesApi, Session
from controlplane.discovery.slices import MOST_SLICES, Slice, Slices

AFTER_END = 0.5
"""Seconds at least between two watches: a server may end each at once."""
BRIEF, AFTER_BRIEF = 5.0, 2.0
"""Seconds; after a watch that its server ended so early, the pause is longer."""
STEADY = 120.0
"""Seconds; a failure after so long is the first one."""
MOST_GONE = 3
"""Versions in a row that are gone at once, until that is a problem."""
GATHER = 0.2
"""Seconds in which the changes of a Service are gathered, so that its endpoints are not gone through for each of them.
The first one is told at once."""


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
        """Whether a problem was told, and nothing since."""
        self._differing: set[str] = set()
        """Services whose slices are to be told."""
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_on(), name=f"namespace {self._name}: follow")
            tasks.create_task(self._tell_on(), name=f"namespace {self._name}: tell")

    async def _follow_on(self) -> None:
        failures, clock = 0, asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                async with self._api.session() as session:
                    await self._follow(session)
                failures = 0
                pause = AFTER_BRIEF if clock() < began + BRIEF else AFTER_END
            except (Gone, ApiUnavailable) as error:
                failures = 1 if clock() > began + STEADY else failures + 1
                self._note(error, failures)
                pause = AFTER_END + backoff.pause(failures, self._chance())
            await asyncio.sleep(pause)

    def _note(self, error: Gone | ApiUnavailable, failures: int) -> None:
        """A single failure of a server that has answered before is no problem yet: the next try may succeed."""
        if isinstance(error, ApiUnavailable):
            if failures > 1 or not self._version:
                self._fail(str(error))
        elif failures > MOST_GONE:
            self._fail("the API server has not the version that it has listed")
        if isinstance(error, Gone | Garbled):
            # From the same version the same would come again.
            self._version = ""

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
            if self._slices.dropped:
                # There is room again for slices that were left out.
                raise Gone
        self._version = event.version or self._version

    def _fail(self, reason: str) -> None:
        self._silent = True
        self._differing.clear()
        self._failed(reason)

    def _tell(self, services: Collection[str]) -> None:
        if self._slices.dropped:
            self._fail(f"namespace {self._name} has more than {MOST_SLICES} EndpointSlices")
            return
        self._silent = False
        self._differing.update(services)
        self._news.set()

    async def _tell_on(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            for service in sorted(self._differing):
                # A failure meanwhile has cleared them.
                if service in self._differing:
                    self._differing.discard(service)
                    self._changed(service, self._slices.of(service))
                    await asyncio.sleep(0)
            await asyncio.sleep(GATHER)
