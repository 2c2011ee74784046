"""The live traffic of the fleet: built once for all who watch; and a sample now and then for its history."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

from controlplane.api.answers import json_text
from controlplane.api.shapes.traffic import ServiceTrafficShape, TrafficShape
from controlplane.api.traffic_history import TrafficHistory
from controlplane.api.traffic_shaping import Shaping
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.overview import up_to_date
from controlplane.fleet.traffic import Adding, FleetTraffic, reported
from controlplane.model.snapshot import Snapshot
from controlplane.signal import Signal

AT_ONCE = 20
"""Data planes whose reports are added in one turn of the event loop."""
FIRST_WITHIN = 3.0
"""Seconds beyond an interval within which data planes have sent their first report."""

logger = logging.getLogger(__name__)


class TrafficFeed:
    """The traffic as JSON, renewed every few seconds while it is watched. `open_circuits`: services whose breaker is
    not closed everywhere."""

    def __init__(
        self,
        watcher: Watcher,
        fleet: Fleet,
        open_circuits: Callable[[], Set[str]],
        history: TrafficHistory | None = None,
    ) -> None:
        self.renewed = Signal()
        self.number = 0
        """Grows with every renewal."""
        self.latest = b""
        """Empty before the first."""
        self.history = history or TrafficHistory()
        self._watcher, self._fleet = watcher, fleet
        self._shaping = Shaping(fleet, open_circuits)
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._built: TrafficShape | None = None
        """The last one of this watch."""
        self._found: FleetTraffic | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Counts one watcher within the block."""
        self._watchers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._renew(), name="traffic feed")
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._task.cancel()
                self._task, self.latest, self._built, self._found = None, b"", None, None

    async def first(self) -> bytes:
        """The traffic, once every data plane has reported it, or some seconds have passed. Within `watched`."""
        await self._reported()
        return _text(await self._build())

    async def service(self, name: str) -> ServiceTrafficShape | None:
        """The traffic of one service, with all its instances; None if there is none of this name. Within `watched`."""
        if self._found is None:
            await self._reported()
        # What was added up for others a moment ago is good enough.
        found, snapshot = self._found or await self._add(self._watcher.current), self._watcher.current
        return self._shaping.service(found, name, snapshot) if snapshot else None

    async def record(self) -> None:
        """Fill the history, until cancelled. Data planes then report their traffic also while nobody watches."""
        if not self.history.seconds:
            return
        self._fleet.record_traffic(self.history.step)
        while True:
            await asyncio.sleep(self.history.step)
            try:
                self.history.add(time.time(), self._built or await self._build())
            except Exception:
                logger.exception("the traffic cannot be recorded")

    async def _reported(self) -> None:
        wake = asyncio.Event()
        self._fleet.watch()
        with contextlib.suppress(TimeoutError), self._fleet.signals.changed.wakes(wake):
            async with asyncio.timeout(self._fleet.traffic_every + FIRST_WITHIN):
                while not reported(self._fleet.nodes.values()):
                    wake.clear()
                    await wake.wait()

    async def _renew(self) -> None:
        while True:
            self._fleet.watch()
            try:
                self._built = await self._build()
                self.latest = _text(self._built)
            except Exception:
                logger.exception("the traffic cannot be added up")
            else:
                self.number += 1
                self.renewed.notify()
            await asyncio.sleep(self._fleet.traffic_every)

    async def _build(self) -> TrafficShape:
        snapshot = self._watcher.current
        found = await self._add(snapshot)
        if self._task is not None:
            self._found = found
        return self._shaping.whole(found, snapshot)

    async def _add(self, snapshot: Snapshot | None) -> FleetTraffic:
        adding = Adding()
        for number, state in enumerate(list(self._fleet.nodes.values()), 1):
            adding.add(up_to_date(state, snapshot))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return adding.result()


def _text(shape: TrafficShape) -> bytes:
    return json_text(shape.model_dump(mode="json"))
