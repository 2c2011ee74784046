"""A control plane with a fleet for the dashboard: the real API on a socket, a store in memory, simulated data planes.

The data planes answer configurations and count requests like real ones, but on paper. A test says what goes wrong.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn

from controlplane.api.application import make_api
from controlplane.api.shapes.base import moment
from controlplane.api.shapes.traffic import TrafficShape
from controlplane.api.traffic_history import STEP
from controlplane.fleet.reports import (
    CircuitReport,
    CircuitState,
    InstanceHealth,
    InstanceStatus,
    InstanceTraffic,
    LimitPlace,
    LimitTraffic,
    NodeProblem,
    RateLimitReport,
    RefusalTraffic,
    RouteTraffic,
    ServiceTraffic,
    StatsReport,
    TrafficReport,
)
from controlplane.model.resources import Route, Service
from demo.ports import free_port
from tests.support.api import Api, running_api
from tests.support.waiting import eventually

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
"""Seconds: bounds of the buckets of latencies."""
TEAMS = ("orders", "payments", "inventory", "search", "customers", "shipping", "media", "reports")


def document(services: int = 8, routes: int = 16) -> dict[str, object]:
    """A configuration of this size."""
    names = [
        TEAMS[number] if number < len(TEAMS) else f"{TEAMS[number % len(TEAMS)]}-{number}"
        for number in range(services)
    ]
    return {
        "scopes": [{"name": f"{name}:read"} for name in names],
        "services": [_service(name, number) for number, name in enumerate(names)],
        "routes": [_route(names[number % services], number) for number in range(routes)],
        "rate_limits": [
            {"name": "per-caller", "per_second": 50, "burst": 100, "key": "subject"},
            {"name": "search-by-address", "per_second": 20, "burst": 40, "key": "address"},
        ],
    }


def _service(name: str, number: int) -> dict[str, object]:
    instances = [
        {"instance_id": f"{name}-{one}", "host": f"10.0.{number % 250}.{one}", "port": 8080}
        for one in (1, 2, 3)
    ]
    return {"service_name": name, "instances": instances, "labels": {"team": name.partition("-")[0]}}


def _route(service: str, number: int) -> dict[str, object]:
    suffix = "" if number < len(TEAMS) else f"-{number}"
    limits = ["search-by-address"] if service == "search" else ["per-caller"]
    return {
        "name": f"{service}{suffix}",
        "prefix": f"/{service}{suffix}",
        "methods": ["GET", "POST"] if number % 2 else ["GET"],
        "service_name": service,
        "scopes": [f"{service}:read"],
        "rate_limits": limits,
    }


@dataclass
class Plane:
    """One simulated data plane."""

    name: str
    delay: float
    """Seconds in which it applies a configuration."""
    rate: float
    total: int
    refuses: str = ""
    """The reason why it rejects the next configurations; empty: it takes them."""
    stuck: bool = False
    """It does not answer."""
    version: str = "0.2.0"


@dataclass
class Stage:
    """What a test acts on."""

    url: str
    api: Api
    planes: dict[str, Plane] = field(default_factory=dict)
    open_circuits: dict[str, float] = field(default_factory=dict)
    """Services whose breaker is open, and since when."""
    ill: dict[tuple[str, str], str] = field(default_factory=dict)
    """Instances that fail their probes, with the reason."""
    ejected: set[tuple[str, str]] = field(default_factory=set)
    """Instances that every data plane has ejected."""
    clock: float = 0.0
    _known_at: int = 0
    _by_service: dict[str, list[str]] = field(default_factory=dict)

    async def apply(self, change: dict[str, object], author: str = "admin") -> int:
        """A change as through the API; returns its revision once it is published."""
        receipt = await self.api.parts.commands.apply(change, author=author)
        await self.api.seen()
        return receipt.revision

    def join(self, count: int, seed: int = 7) -> None:
        """More data planes."""
        rng, zones = random.Random(seed), ("eu-1a", "eu-1b", "us-2a")
        for number in range(count):
            name = f"gw-{zones[number % 3]}-{number // 3 + 1:02}"
            plane = Plane(name, rng.uniform(0.01, 0.08), rng.uniform(200, 900), rng.randrange(10**6, 10**7))
            self.planes[name] = plane
            self.api.parts.fleet.hello(name, plane.version)

    async def remember(self, seconds: float = 3600.0) -> None:
        """Record the traffic of the past, as if the control plane had run for so long: with a dip and a surge."""
        feed = self.api.parts.traffic
        with feed.watched():
            now = TrafficShape.model_validate_json(await feed.first())
        for back in range(int(seconds / STEP), 0, -1):
            at, bad = self.api.wall() - back * STEP, 60 < back < 90
            share = (1 + 0.2 * math.sin(back / 20)) * (0.6 if bad else 1.0) * random.uniform(0.96, 1.04)
            rates = {
                "requests_per_second": now.total.requests_per_second * share,
                "server_errors_per_second": now.total.requests_per_second * (0.2 if bad else 0.002),
                "client_errors_per_second": now.total.client_errors_per_second * share,
            }
            total = now.total.model_copy(update=rates)
            feed.history.add(at, now.model_copy(update={"at": moment(at), "total": total}))

    async def run(self, pace: float = 0.1) -> None:
        """Let the data planes do their work until cancelled."""
        took: dict[str, float] = {}
        ticks = 0
        while True:
            current = self.api.parts.watcher.current
            for plane in self.planes.values():
                state = self.api.parts.fleet.state(plane.name)
                if current is None or state is None or not state.connected or plane.stuck:
                    continue
                if state.digest == current.digest:
                    took.pop(plane.name, None)
                elif plane.name not in took:
                    self.api.parts.fleet.sent(plane.name, current.revision)
                    took[plane.name] = plane.delay
                elif (left := took[plane.name] - pace) > 0:
                    took[plane.name] = left
                else:
                    self._answer(plane, current.revision, current.digest)
            self.api.wall.now = time.time()
            if not ticks % round(1 / pace):
                self.report()
            ticks += 1
            await asyncio.sleep(pace)

    def _answer(self, plane: Plane, revision: int, digest: str) -> None:
        fleet = self.api.parts.fleet
        if not plane.refuses:
            fleet.ack(plane.name, revision, digest)
            return
        state = fleet.state(plane.name)
        if state is None or state.last_rejection is None or state.last_rejection.digest != digest:
            resource, _, reason = plane.refuses.partition(" ")
            fleet.nack(plane.name, revision, [NodeProblem(resource, "timeout", reason)], digest)

    def report(self) -> None:
        """Data planes report their counters and their verdicts, as often as they are asked to."""
        now = self.api.wall()
        self.clock += 1
        wave = 1 + 0.25 * math.sin(self.clock / 9)
        for number, plane in enumerate(self.planes.values()):
            state = self.api.parts.fleet.state(plane.name)
            if state is None or not state.connected:
                continue
            if (self.clock + number) % self.api.parts.fleet.reporting(plane.name).pace >= 1:
                continue
            plane.total += round(plane.rate * wave * random.uniform(0.95, 1.05))
            self.api.parts.fleet.stats(plane.name, self._stats(plane, now, wave))
            self.api.parts.fleet.health(plane.name, self._verdicts(now))

    def _stats(self, plane: Plane, now: float, wave: float) -> StatsReport:
        services = self._services()
        circuits = tuple(self._circuit(name, plane, len(services)) for name in services)
        buckets = tuple(
            RateLimitReport("per-caller", f"subject:{who}", 10.0 * number, 400 - 90 * number, LimitPlace.NODE)
            for number, who in enumerate(("crawler", "batch", "mobile", "web"))
        )
        return StatsReport(now, plane.total, circuits, buckets, traffic=self._traffic(plane, wave))

    def _traffic(self, plane: Plane, wave: float) -> TrafficReport:
        """Fewer requests for each further service; those of an open circuit fail."""
        routes, services, reasons, instances = [], [], list[RefusalTraffic](), list[InstanceTraffic]()
        for number, name in enumerate(self._services()[:40]):
            requests = max(1, round(plane.rate * wave / (number + 2)))
            failed = requests // 3 if name in self.open_circuits else requests // 700
            services.append(ServiceTraffic(name, _latencies(requests, number), failed))
            instances += self._instances(name, requests, failed)
            reasons.append(RefusalTraffic("", name, "unavailable", failed))
            for route in self._routes(name)[:2]:
                routes.append(RouteTraffic(route, requests // 2, requests // 60, failed // 2))
                for decision, share in (("limited", 90), ("unauthenticated", 240), ("forbidden", 500)):
                    reasons.append(RefusalTraffic(route, "", decision, requests // share))
        limited = sum(one.requests for one in reasons if one.decision == "limited")
        all_requests = sum(one.requests for one in routes)
        return TrafficReport(
            1.0,
            all_requests,
            sum(one.client_errors for one in routes),
            sum(one.server_errors for one in routes),
            tuple(routes),
            tuple(services),
            BOUNDS,
            in_flight=round(plane.rate / 90),
            connections=round(plane.rate / 4),
            memory=round(150e6 + plane.rate * 9e4),
            refusals=tuple(one for one in reasons if one.requests),
            limits=(LimitTraffic("per-caller", limited, 0),),
            instances=tuple(instances),
        )

    def _instances(self, service: str, requests: int, failed: int) -> Iterator[InstanceTraffic]:
        """The requests of a service, evenly among those that take some."""
        names = [(service, f"{service}-{number}") for number in (1, 2, 3)]
        open_ones = [name for name in names if name not in self.ejected and name not in self.ill]
        for name in names:
            counts = (requests, failed) if name in open_ones else (0, 0)
            served, errors = (count // max(1, len(open_ones)) for count in counts)
            yield InstanceTraffic(*name, served, errors, int(name in self.ejected))

    def _circuit(self, service: str, plane: Plane, services: int) -> CircuitReport:
        total = plane.total // services
        if (since := self.open_circuits.get(service)) is None:
            return CircuitReport(service, total_requests=total, failed_requests=total // 900)
        reason = "Circuit opened after 5 failures"
        return CircuitReport(service, CircuitState.OPEN, since, total, total // 40, total // 60, 5, reason)

    def _verdicts(self, now: float) -> Iterator[InstanceHealth]:
        for name in self._services():
            for number in (1, 2, 3):
                reason = self.ill.get((name, f"{name}-{number}"), "")
                status = InstanceStatus.UNHEALTHY if reason else InstanceStatus.HEALTHY
                yield InstanceHealth(name, f"{name}-{number}", status, now, reason)

    def _routes(self, service: str) -> list[str]:
        current = self.api.parts.watcher.current
        if current is not None and self._known_at != current.revision:
            self._known_at, self._by_service = current.revision, {}
            for name, route in current.of(Route).items():
                self._by_service.setdefault(route.service_name or "", []).append(name)
        return self._by_service.get(service, [])

    def _services(self) -> list[str]:
        current = self.api.parts.watcher.current
        return list(current.of(Service)) if current else []


def _latencies(requests: int, number: int) -> tuple[int, ...]:
    """Most of them fast, few slow; slower for later services."""
    shares = (0.1, 0.35, 0.3, 0.15, 0.07, 0.02, 0.009, 0.001, 0.0)
    shift = number % 3
    moved = (0.0,) * shift + shares[: len(shares) - shift]
    return tuple(round(requests * share) for share in moved)


@asynccontextmanager
async def staged(
    planes: int = 12, *, services: int = 8, routes: int = 16, port: int | None = None, anonymous: bool = False
) -> AsyncIterator[Stage]:
    """The API on a socket, with a configuration and data planes that serve it."""
    async with running_api(anonymous_read=anonymous) as api:
        port = port or free_port()
        config = uvicorn.Config(
            make_api(api.parts),
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        stage = Stage(f"http://localhost:{port}", api)
        await stage.apply(document(services, routes))
        stage.join(planes)
        running = asyncio.create_task(stage.run())
        try:
            yield stage
        finally:
            running.cancel()
            await asyncio.wait([running])
            api.parts.streams.stopping.set()
            server.should_exit = True
            await serving
