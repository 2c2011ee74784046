"""Metrics of one worker: the observer that measures requests as the HTTP conventions ask for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from dataplane.observe.http_series import DURATION_BOUNDS, LENGTH, MOST_SERIES
from dataplane.proxy.exchange import Exchange
from dataplane.telemetry.attributes import scheme_of
from dataplane.telemetry.observers import Observer

_NONE: Final[list[float]] = [0] * LENGTH
_Key = tuple[str, str, str, str, str, int, str]
_OVERFLOW: Final[_Key] = ("", "", "", "", "", 0, "")


class Measured:
    """Passes exchanges on to another observer, and counts their durations."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self._series: dict[_Key, tuple[list[float], list[float]]] = {}

    def finished(self, exchange: Exchange) -> None:
        """Pass it on, and measure it."""
        self._inner.finished(exchange)
        plan, endpoint, request = exchange.plan, exchange.endpoint, exchange.request
        key = (
            "" if plan is None else plan.route_name,
            "" if plan is None else plan.service_name,
            "" if endpoint is None else endpoint.id,
            "" if request is None else request.method,
            scheme_of(exchange),
            exchange.status,
            exchange.decision,
        )
        found = self._series.get(key)
        if found is None:
            found = self._begin(key)
        ended = exchange.ended
        server, client = found
        seconds = ended - (exchange.started or ended)
        server[bisect_left(DURATION_BOUNDS, seconds)] += 1
        server[-1] += seconds
        if exchange.sent_at:
            seconds = ended - exchange.sent_at
            client[bisect_left(DURATION_BOUNDS, seconds)] += 1
            client[-1] += seconds

    def report(self) -> list[Any]:
        """What was measured since the last report, as `HttpSeries.add` reads it."""
        series, self._series = self._series, {}
        return [(key, *histograms) for key, histograms in series.items()]

    def _begin(self, key: _Key) -> tuple[list[float], list[float]]:
        if len(self._series) >= MOST_SERIES:
            key = _OVERFLOW
        return self._series.setdefault(key, (_NONE.copy(), _NONE.copy()))


def active_requests(connections: Iterable[object]) -> list[tuple[str, str, int]]:
    """Requests that are being answered, by method and scheme."""
    found: Counter[tuple[str, str]] = Counter()
    for connection in connections:
        exchange = getattr(connection, "current", None)
        if isinstance(exchange, Exchange) and exchange.request is not None:
            found[exchange.request.method, scheme_of(exchange)] += 1
    return [(*key, count) for key, count in found.items()]
