"""The traffic of the last seconds, for people who watch it live: differences between sums. Measured only on request."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dataplane.config.reports import RouteTraffic, ServiceTraffic, TrafficStats
from dataplane.observe.stats import LATENCY_BOUNDS, STATUS_CLASSES, NodeStats, Totals

T = TypeVar("T")

MOST_LISTED = 500
"""Most routes, and most services, in a report."""
EARLY = 0.5
"""Seconds that a report may come before it is due: it is measured about once a second."""
_CLIENT, _SERVER = STATUS_CLASSES.index("4xx"), STATUS_CLASSES.index("5xx")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Sums:
    """The sums at one moment."""

    at: float
    routes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    latency: Mapping[str, Sequence[float]] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)


class TrafficMeter:
    """Keeps the sums as of the last report, while reports are requested. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._before: _Sums | None = None

    def measure(self, every: float, now: float, stats: NodeStats, pids: Iterable[int]) -> TrafficStats | None:
        """The traffic since the last report, if it is at least `every` seconds ago; 0: no reports are requested.

        `pids`: the processes of the node, for their memory.
        """
        before = self._before
        if every <= 0:
            self._before = None
            return None
        if before is not None and now - before.at < every - EARLY:
            return None
        self._before = after = _sums(now, stats.totals)
        if before is None:
            return None
        return TrafficStats(
            after.at - before.at,
            *_requests(before, after),
            tuple(_busiest(_routes(before, after))),
            tuple(_busiest(_services(before, after))),
            LATENCY_BOUNDS,
            stats.in_flight,
            stats.connections,
            sum(map(_resident, pids)),
        )


def _sums(now: float, totals: Totals) -> _Sums:
    errors: dict[str, int] = {}
    for (service, _), count in totals.upstream_errors.items():
        errors[service] = errors.get(service, 0) + count
    # Sums are replaced, never changed in place: a shallow copy keeps them.
    return _Sums(now, dict(totals.requests), dict(totals.latency), errors)


def _requests(before: _Sums, after: _Sums) -> tuple[int, int, int]:
    """All requests, and those with statuses of clients' and of servers' errors."""
    grown = [_grown(before.routes.get(name), counts) for name, counts in after.routes.items()]
    classes = [sum(column) for column in zip(*grown, strict=True)] or [0] * len(STATUS_CLASSES)
    return int(sum(classes)), int(classes[_CLIENT]), int(classes[_SERVER])


def _routes(before: _Sums, after: _Sums) -> Iterator[tuple[float, RouteTraffic]]:
    for name, counts in after.routes.items():
        if counts is not (known := before.routes.get(name)):
            grown = _grown(known, counts)
            if requests := sum(grown):
                yield requests, RouteTraffic(name, int(requests), int(grown[_CLIENT]), int(grown[_SERVER]))


def _services(before: _Sums, after: _Sums) -> Iterator[tuple[float, ServiceTraffic]]:
    for name in after.latency.keys() | after.errors.keys():
        counts, errors = after.latency.get(name), after.errors.get(name, 0) - before.errors.get(name, 0)
        # The last one is the sum of the seconds.
        grown = _grown(before.latency.get(name), counts)[:-1] if counts else []
        if (requests := sum(grown)) or errors > 0:
            yield requests, ServiceTraffic(name, tuple(map(int, grown)), max(0, errors))


def _grown(before: Sequence[float] | None, after: Sequence[float]) -> list[float]:
    """The difference. A route that was deleted and created again begins anew."""
    if before is None or any(one < other for one, other in zip(after, before, strict=True)):
        return list(after)
    return [one - other for one, other in zip(after, before, strict=True)]


def _busiest(counted: Iterable[tuple[float, T]]) -> list[T]:
    ordered = sorted(counted, key=lambda pair: pair[0], reverse=True)
    return [one for _, one in ordered[:MOST_LISTED]]


def _resident(pid: int) -> int:
    """Resident memory in bytes; 0 where the system does not tell, or the process has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0
