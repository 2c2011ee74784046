"""The traffic of the last seconds, for people who watch it live: differences between sums. Measured only on request."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dataplane.config.reports import (
    InstanceTraffic,
    LimitTraffic,
    RefusalTraffic,
    RouteTraffic,
    ServiceTraffic,
    TrafficStats,
)
from dataplane.observe.stats import LATENCY_BOUNDS, STATUS_CLASSES, NodeStats, Totals

K = TypeVar("K")
T = TypeVar("T")

MOST_LISTED = 500
"""Most routes, services, reasons of refusals, and limits in a report."""
MOST_INSTANCES = 1000
"""Most instances in a report."""
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
    errors: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By service and decision."""
    refusals: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By route and decision."""
    limited: Mapping[str, int] = field(default_factory=dict)
    shadowed: Mapping[str, int] = field(default_factory=dict)


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
            stats.take_instances()
            return None
        if before is not None and now - before.at < every - EARLY:
            return None
        self._before = after = _sums(now, stats.totals)
        instances = stats.take_instances()
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
            tuple(_busiest(_refusals(before, after))),
            tuple(_busiest(_limits(before, after))),
            tuple(_instances(instances, stats.ejected())),
        )


def _sums(now: float, totals: Totals) -> _Sums:
    # Sums are replaced, never changed in place: a shallow copy keeps them.
    return _Sums(
        now,
        dict(totals.requests),
        dict(totals.latency),
        dict(totals.upstream_errors),
        dict(totals.refusals),
        dict(totals.limited),
        dict(totals.shadowed),
    )


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
    failed: dict[str, int] = {}
    for (service, _), count in _grown_counts(before.errors, after.errors):
        failed[service] = failed.get(service, 0) + count
    for name in after.latency.keys() | failed.keys():
        counts, errors = after.latency.get(name), failed.get(name, 0)
        # The last one is the sum of the seconds.
        grown = _grown(before.latency.get(name), counts)[:-1] if counts else []
        if (requests := sum(grown)) or errors > 0:
            yield requests, ServiceTraffic(name, tuple(map(int, grown)), errors)


def _refusals(before: _Sums, after: _Sums) -> Iterator[tuple[float, RefusalTraffic]]:
    for (route, decision), count in _grown_counts(before.refusals, after.refusals):
        yield count, RefusalTraffic(route, "", decision, count)
    for (service, decision), count in _grown_counts(before.errors, after.errors):
        yield count, RefusalTraffic("", service, decision, count)


def _limits(before: _Sums, after: _Sums) -> Iterator[tuple[float, LimitTraffic]]:
    refused = dict(_grown_counts(before.limited, after.limited))
    shadowed = dict(_grown_counts(before.shadowed, after.shadowed))
    for name in refused.keys() | shadowed.keys():
        counts = refused.get(name, 0), shadowed.get(name, 0)
        yield sum(counts), LimitTraffic(name, *counts)


def _instances(
    counted: Mapping[tuple[str, str], Sequence[int]], ejected: Mapping[str, int]
) -> Iterable[InstanceTraffic]:
    """`ejected`: workers by "<service>/<id>"."""
    quiet = {
        (service, identity): (0, 0) for service, _, identity in (name.partition("/") for name in ejected)
    }
    found = [
        InstanceTraffic(service, identity, requests, errors, ejected.get(f"{service}/{identity}", 0))
        for (service, identity), (requests, errors) in {**quiet, **counted}.items()
    ]
    return sorted(found, key=lambda one: (-one.ejected_by, -one.requests))[:MOST_INSTANCES]


def _grown_counts(before: Mapping[K, int], after: Mapping[K, int]) -> Iterator[tuple[K, int]]:
    """What came in between; counts of a name that was removed and came again begin anew."""
    for key, count in after.items():
        known = before.get(key, 0)
        if count != known:
            yield key, count - known if count > known else count


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
