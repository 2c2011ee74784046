"""The live traffic of the fleet: built once for all who watch, and only while somebody does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager

from controlplane.api.answers import json_text
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.traffic import (
    DataplaneTrafficShape,
    RouteTrafficShape,
    ServiceTrafficShape,
    TotalShape,
    TrafficShape,
)
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet
from controlplane.fleet.overview import up_to_date
from controlplane.fleet.reports import CircuitState
from controlplane.fleet.traffic import Adding, FleetTraffic, NodeTraffic, Rates, ServiceRates, reported
from controlplane.model.resources import Route
from controlplane.model.snapshot import Snapshot
from controlplane.signal import Signal

MOST_ROWS = 1000
"""Services, and routes, that are listed."""
MOST_NODES = 20
"""Data planes that are named with a breaker that is not closed."""
AT_ONCE = 20
"""Data planes whose reports are added in one turn of the event loop."""
FIRST_WITHIN = 3.0
"""Seconds beyond an interval within which data planes have sent their first report."""
DIGITS = 4

logger = logging.getLogger(__name__)


class TrafficFeed:
    """The traffic as JSON, renewed every few seconds while it is watched. `open_circuits`: services whose breaker is
    not closed everywhere."""

    def __init__(self, watcher: Watcher, fleet: Fleet, open_circuits: Callable[[], Set[str]]) -> None:
        self.renewed = Signal()
        self.number = 0
        """Grows with every renewal."""
        self.latest = b""
        """Empty before the first."""
        self._watcher, self._fleet, self._open = watcher, fleet, open_circuits
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None

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
                self._task, self.latest = None, b""

    async def first(self) -> bytes:
        """The traffic, once every data plane has reported it, or some seconds have passed. Within `watched`."""
        wake = asyncio.Event()
        self._fleet.watch()
        with contextlib.suppress(TimeoutError), self._fleet.signals.changed.wakes(wake):
            async with asyncio.timeout(self._fleet.traffic_every + FIRST_WITHIN):
                while not reported(self._fleet.nodes.values()):
                    wake.clear()
                    await wake.wait()
        return await self._build()

    async def _renew(self) -> None:
        while True:
            self._fleet.watch()
            try:
                self.latest = await self._build()
            except Exception:
                logger.exception("the traffic cannot be added up")
            else:
                self.number += 1
                self.renewed.notify()
            await asyncio.sleep(self._fleet.traffic_every)

    async def _build(self) -> bytes:
        snapshot, adding = self._watcher.current, Adding()
        for number, state in enumerate(list(self._fleet.nodes.values()), 1):
            adding.add(up_to_date(state, snapshot))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return json_text(self._shape(adding.result(), snapshot).model_dump(mode="json"))

    def _shape(self, found: FleetTraffic, snapshot: Snapshot | None) -> TrafficShape:
        revision = snapshot.revision if snapshot else 0
        return TrafficShape(
            at=moment(time.time()),
            every=self._fleet.traffic_every,
            revision=revision,
            total=_total(found),
            dataplanes=[_node(one, revision) for one in found.nodes],
            services=list(self._services(found.services, snapshot)) if snapshot else [],
            routes=[_route(name, rates, snapshot) for name, rates in found.routes[:MOST_ROWS]],
        )

    def _services(self, found: Iterable[ServiceRates], snapshot: Snapshot) -> Iterator[ServiceTrafficShape]:
        """Those with a breaker that is not closed first: they may have no requests."""
        rates = {one.name: one for one in found}
        quiet = sorted(self._open() - rates.keys())
        names = [*sorted(self._open() & rates.keys()), *quiet, *(name for name in rates)]
        rows = (self._service(name, rates.get(name), snapshot) for name in dict.fromkeys(names[:MOST_ROWS]))
        listed = [row for row in rows if row is not None]
        yield from sorted(listed, key=lambda row: (-row.requests_per_second, row.service_name))

    def _service(
        self, name: str, rates: ServiceRates | None, snapshot: Snapshot
    ) -> ServiceTrafficShape | None:
        view = self._fleet.views.service(snapshot, name)
        if view is None:
            return None  # deleted a moment ago
        circuit = self._fleet.views.circuit(view.service)
        requests, errors = (rates.requests, rates.errors) if rates else (0.0, 0.0)
        unwell = [node for node, one in circuit.dataplanes.items() if one.state is not CircuitState.CLOSED]
        return ServiceTrafficShape(
            service_name=name,
            requests_per_second=_round(requests),
            errors_per_second=_round(errors),
            error_share=_round(min(1.0, errors / requests)) if requests else 0.0,
            **_latency(rates.p50 if rates else None, rates.p99 if rates else None),
            circuit=circuit.circuit.state.value,
            open_at=unwell[:MOST_NODES],
            healthy=view.healthy,
            total=view.total,
        )


def _total(found: FleetTraffic) -> TotalShape:
    latency = _latency(found.p50, found.p99)
    return TotalShape(**_rates(found.rates), p50=latency["p50"], p99=latency["p99"])


def _node(one: NodeTraffic, revision: int) -> DataplaneTrafficShape:
    state, rates, last = one.state, one.rates, one.state.last_rejection
    newer = last is not None and last.revision > state.applied_revision
    return DataplaneTrafficShape(
        node=state.node,
        version=state.version,
        connected=state.connected,
        since=moment(state.since),
        last_seen=moment(state.last_seen),
        applied_revision=state.applied_revision,
        behind=max(0, revision - state.applied_revision),
        rejected_revision=last.revision if last is not None and newer else None,
        requests_per_second=_round(rates.requests) if rates else None,
        error_share=_round(rates.error_share) if rates else None,
        **_latency(one.p50, one.p99),
        in_flight=one.in_flight,
        connections=one.connections,
        memory_bytes=one.memory,
    )


def _route(name: str, rates: Rates, snapshot: Snapshot | None) -> RouteTrafficShape:
    stamped = snapshot.resources.get((Route.KIND, name)) if snapshot else None
    route = stamped.resource if stamped else None
    return RouteTrafficShape(
        name=name, service_name=route.service_name if isinstance(route, Route) else None, **_rates(rates)
    )


def _rates(rates: Rates) -> dict[str, float]:
    return {
        "requests_per_second": _round(rates.requests),
        "client_errors_per_second": _round(rates.client_errors),
        "server_errors_per_second": _round(rates.server_errors),
        "error_share": _round(rates.error_share),
    }


def _latency(p50: float | None, p99: float | None) -> dict[str, float | None]:
    return {"p50": None if p50 is None else _round(p50), "p99": None if p99 is None else _round(p99)}


def _round(value: float) -> float:
    return round(value, DIGITS)
