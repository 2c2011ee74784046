"""Durations of requests by all that the HTTP conventions of OpenTelemetry ask for: counted in workers, summed here.

https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any, Final, NamedTuple

DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds of the buckets that the conventions recommend, in seconds."""
LENGTH: Final = len(DURATION_BOUNDS) + 2
"""Numbers of a histogram: a count for each bound, one above, and the sum of seconds."""
MOST_SERIES: Final = 4000
"""Series of a data plane; requests of others are counted together (`OVERFLOW`)."""


class SeriesKey(NamedTuple):
    """What a series is about."""

    route: str
    service: str
    instance: str
    method: str
    scheme: str
    status: int
    decision: str


OVERFLOW: Final = SeriesKey("", "", "", "", "", 0, "")
_NO_NUMBERS: Final = (0,) * LENGTH


class Series:
    """The histograms of one key, as `LENGTH` numbers each."""

    __slots__ = ("client", "server")

    def __init__(self) -> None:
        self.server: list[float] = [0] * LENGTH
        """From the request's head to the response's end."""
        self.client: list[float] = [0] * LENGTH
        """From the head that goes to the instance to the response's end."""

    def add(self, server: Iterable[Any], client: Iterable[Any]) -> None:
        """Add a worker's numbers. Raises ValueError if there are too few or too many."""
        self.server = [a + b for a, b in zip(self.server, map(float, server), strict=True)]
        self.client = [a + b for a, b in zip(self.client, map(float, client), strict=True)]


class HttpSeries:
    """All series of a data plane, since its start."""

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}

    def add(self, reports: Iterable[Any]) -> None:
        """Add a worker's report: a list of [key, server, client]. Raises TypeError or ValueError."""
        for names, server, client in reports:
            route, service, instance, method, scheme, status, decision = names
            key = SeriesKey(route, service, instance, method, scheme, int(status), decision)
            series = self.series.get(key)
            if series is None:
                if len(self.series) >= MOST_SERIES:
                    key = OVERFLOW
                series = self.series.setdefault(key, Series())
            series.add(server, client)

    def keep(self, routes: Container[str], instances: Mapping[str, Iterable[str]]) -> None:
        """Drop the series of routes that no longer exist, and what is known of removed instances alone; `instances` are
        ids by service.

        The durations that clients saw stay in a series without an instance: the sum of a route must never fall, or
        backends take it for a restart and count everything again.
        """
        known = {service: frozenset(ids) for service, ids in instances.items()}
        for key in list(self.series):
            if key.route and key.route not in routes:
                del self.series[key]
            elif key.instance and key.instance not in known.get(key.service, ()):
                rest = self.series.setdefault(key._replace(instance=""), Series())
                rest.add(self.series.pop(key).server, _NO_NUMBERS)
