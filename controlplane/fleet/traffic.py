"""The traffic of the fleet, from the last reports of its data planes: rates, shares of errors and latencies. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controlplane.fleet.reports import NodeState, TrafficReport
from controlplane.fleet.traffic_details import Details

UNBOUNDED = float("inf")


@dataclass(frozen=True, slots=True)
class Rates:
    """Requests a second."""

    requests: float = 0.0
    client_errors: float = 0.0
    server_errors: float = 0.0

    @property
    def error_share(self) -> float:
        """Share of the responses with a status from 500."""
        return self.server_errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class NodeTraffic:
    """One data plane; without rates while it has not reported its traffic."""

    state: NodeState
    rates: Rates | None = None
    p50: float | None = None
    """Of forwarded requests, in seconds; None without any."""
    p99: float | None = None
    in_flight: int | None = None
    connections: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceRates:
    """Requests that were forwarded to one service."""

    name: str
    requests: float
    errors: float
    """Those that an instance did not answer properly."""
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class FleetTraffic:
    """All connected data planes together."""

    rates: Rates
    p50: float | None
    p99: float | None
    nodes: tuple[NodeTraffic, ...]
    """Sorted by name; those that left a moment ago too."""
    services: tuple[ServiceRates, ...]
    """Those with requests, the busiest first."""
    routes: tuple[tuple[str, Rates], ...]
    """Likewise; the empty name stands for requests without a route."""
    details: Details = field(default_factory=Details)


@dataclass(slots=True)
class _Service:
    requests: float = 0.0
    errors: float = 0.0
    latency: dict[float, float] = field(default_factory=lambda: defaultdict(float))


class Adding:
    """Adds the reports of data planes up. One by one, so that other tasks take their turns in between."""

    def __init__(self) -> None:
        self._nodes: list[NodeTraffic] = []
        self._all = [0.0, 0.0, 0.0]
        self._routes: dict[str, list[float]] = {}
        self._services: dict[str, _Service] = defaultdict(_Service)
        self._latency: dict[float, float] = defaultdict(float)
        self._details = Details()

    def add(self, state: NodeState) -> None:
        """One data plane."""
        report = state.stats.traffic if state.connected else None
        if report is None:
            self._nodes.append(NodeTraffic(state))
            return
        counts = report.requests, report.client_errors, report.server_errors
        _add(self._all, counts, report.seconds)
        for name, *requests in report.routes:
            _add(self._routes.setdefault(name, [0.0, 0.0, 0.0]), requests, report.seconds)
        own = self._add_services(report)
        self._details.add(report)
        self._nodes.append(
            NodeTraffic(
                state,
                Rates(*(count / report.seconds for count in counts)),
                quantile(own, 0.5),
                quantile(own, 0.99),
                report.in_flight,
                report.connections,
                report.memory or None,
            )
        )

    def _add_services(self, report: TrafficReport) -> Mapping[float, float]:
        """Returns the latencies of all services together."""
        bounds, own = (*report.bounds, UNBOUNDED), defaultdict[float, float](float)
        for one in report.services:
            service = self._services[one.name]
            service.requests += sum(one.latency) / report.seconds
            service.errors += one.errors / report.seconds
            for bound, count in zip(bounds, one.latency, strict=False):
                # Rates, because data planes may report at different intervals.
                rate = count / report.seconds
                service.latency[bound] += rate
                own[bound] += rate
        for bound, rate in own.items():
            self._latency[bound] += rate
        return own

    def result(self) -> FleetTraffic:
        """The data planes that were added."""
        services = [
            ServiceRates(name, one.requests, one.errors, *_both(one.latency))
            for name, one in self._services.items()
        ]
        routes = [(name, Rates(*counts)) for name, counts in self._routes.items()]
        return FleetTraffic(
            Rates(*self._all),
            *_both(self._latency),
            tuple(sorted(self._nodes, key=lambda one: one.state.node)),
            tuple(sorted(services, key=lambda one: (-one.requests, one.name))),
            tuple(sorted(routes, key=lambda one: (-one[1].requests, one[0]))),
            self._details,
        )


def reported(states: Iterable[NodeState]) -> bool:
    """Whether every connected data plane has reported its traffic."""
    return all(state.stats.traffic is not None for state in states if state.connected)


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """The duration below which this share of the requests ended, interpolated within its bucket.

    None without requests. In the bucket without a bound it is the greatest bound: the truth is at least that.
    """
    total = sum(buckets.values())
    if total <= 0:
        return None
    wanted, below, lower = share * total, 0.0, 0.0
    for bound in sorted(buckets):
        if bound == UNBOUNDED:
            return lower
        inside = buckets[bound]
        if inside and below + inside >= wanted:
            return lower + (bound - lower) * (wanted - below) / inside
        below, lower = below + inside, bound
    return lower


def _both(buckets: Mapping[float, float]) -> tuple[float | None, float | None]:
    return quantile(buckets, 0.5), quantile(buckets, 0.99)


def _add(sums: list[float], counts: Sequence[int], seconds: float) -> None:
    for at, count in enumerate(counts):
        sums[at] += count / seconds
