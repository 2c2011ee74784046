"""The traffic of the last hour or so, for people who come when something has already happened. Pure.

A sample every ten seconds: the figures of the whole fleet as numbers, for a chart; and the busiest services and routes,
packed, for a look at one moment. An hour of a large gateway takes two or three megabytes.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controlplane.api.shapes.traffic import PointShape, RouteTrafficShape, TrafficShape

STEP: Final = 10.0
"""Seconds between two samples."""
HOUR: Final = 3600.0
MOST_ROWS: Final = 60
"""Services, and routes, of a sample: the busiest, and as many routes with the most refusals and errors."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The traffic at one moment."""

    at: float
    """Unix seconds."""
    point: PointShape
    reasons: Mapping[str, float]
    packed: bytes
    """A TrafficShape without data planes."""

    def unpacked(self) -> bytes:
        """The latter as JSON."""
        return zlib.decompress(self.packed)


class TrafficHistory:
    """Samples of the last `seconds`; 0: none are kept."""

    def __init__(self, seconds: float = HOUR, step: float = STEP) -> None:
        self.seconds, self.step = seconds, step
        self._samples: deque[Sample] = deque(maxlen=max(1, int(seconds / step)))

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, at: float, traffic: TrafficShape) -> None:
        """Keep the traffic at this Unix time. Samples from a later time, before the clock was set, are dropped."""
        if not self.seconds:
            return
        while self._samples and self._samples[-1].at >= at:
            self._samples.pop()
        while self._samples and self._samples[0].at < at - self.seconds:
            self._samples.popleft()
        small = traffic.model_copy(
            update={
                "dataplanes": [],
                "services": traffic.services[:MOST_ROWS],
                "routes": _chosen(traffic.routes),
            }
        )
        packed = zlib.compress(small.model_dump_json().encode(), 1)
        self._samples.append(Sample(at, _point(traffic), traffic.total.refusals, packed))

    def near(self, at: float) -> Sample | None:
        """The sample that is nearest to this time, and not further than a minute or three steps from it."""
        times = [one.at for one in self._samples]
        place = bisect_left(times, at)
        close = [self._samples[one] for one in (place - 1, place) if 0 <= one < len(times)]
        found = min(close, key=lambda one: abs(one.at - at), default=None)
        return found if found and abs(found.at - at) <= max(60.0, 3 * self.step) else None

    def points(self) -> list[PointShape]:
        """Figures of the fleet, the oldest first."""
        return [one.point for one in self._samples]

    def reasons(self) -> dict[str, float]:
        """Requests that were refused or failed, by decision: about how many, the most first."""
        return self._summed(one.reasons for one in self._samples)

    def points_of(self, kind: str, name: str) -> tuple[list[PointShape], dict[str, float]]:
        """Figures and reasons of one of the `routes` or `services`. Takes a tenth of a second for an hour."""
        points, reasons = [], []
        for sample in list(self._samples):
            row = _row(json.loads(sample.unpacked()), kind, name)
            points.append(_point_of(sample, row))
            reasons.append(row.get("refusals") or row.get("failures") or {})
        return points, self._summed(iter(reasons))

    def _summed(self, found: Iterator[Mapping[str, float]]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for reasons in found:
            for decision, rate in reasons.items():
                sums[decision] = sums.get(decision, 0.0) + rate * self.step
        return dict(sorted(((name, round(count)) for name, count in sums.items()), key=lambda one: -one[1]))


def _chosen(routes: list[RouteTrafficShape]) -> list[RouteTrafficShape]:
    """The busiest, and those in trouble, in their order."""
    ill = sorted(
        routes[MOST_ROWS:],
        key=lambda one: -(one.server_errors_per_second + sum(one.refusals.values())),
    )
    names = {one.name for one in (*routes[:MOST_ROWS], *ill[:MOST_ROWS])}
    return [one for one in routes if one.name in names]


def _point(traffic: TrafficShape) -> PointShape:
    total = traffic.total
    return PointShape(
        at=traffic.at,
        requests_per_second=total.requests_per_second,
        client_errors_per_second=total.client_errors_per_second,
        server_errors_per_second=total.server_errors_per_second,
        p50=total.p50,
        p99=total.p99,
    )


def _point_of(sample: Sample, row: Mapping[str, Any]) -> PointShape:
    """Nothing is zero: what is not in a sample had few requests."""
    errors = row.get("server_errors_per_second", row.get("errors_per_second", 0.0))
    return PointShape(
        at=sample.point.at,
        requests_per_second=row.get("requests_per_second", 0.0),
        client_errors_per_second=row.get("client_errors_per_second", 0.0),
        server_errors_per_second=errors,
        p50=row.get("p50"),
        p99=row.get("p99"),
    )


def _row(sample: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    key = "name" if kind == "routes" else "service_name"
    return next((one for one in sample[kind] if one[key] == name), {})
