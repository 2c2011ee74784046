"""Metrics of one worker: the observer that measures requests as the HTTP conventions ask for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from dataplane.observe.http_series import DURATION_BOUNDS, LENGTH, MOST_SERIES
from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.proxy.pool import Endpoint
from dataplane.telemetry.attributes import scheme_of
from dataplane.telemetry.observers import Observer

_FIRST: Final = DURATION_BOUNDS[0]
_Key = tuple[Forwarding | None, Endpoint | None, str, str, int, str]
"""The plan and the instance themselves: their hashes are at hand, and they are kept for a second at most."""
_OVERFLOW: Final[_Key] = (None, None, "", "", 0, "")


class Numbers:
    """A histogram. Nearly all requests belong to its first bucket, which is counted apart."""

    __slots__ = ("_first", "_others", "_sum")

    def __init__(self) -> None:
        self._first = 0
        self._others = [0] * (LENGTH - 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        if seconds <= _FIRST:
            self._first += 1
        else:
            self._others[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self._sum += seconds

    def report(self) -> list[float]:
        """`LENGTH` numbers."""
        return [self._first, *self._others[1:], self._sum]


class Measured:
    """Passes exchanges on to another observer, and counts their durations."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self._series: dict[_Key, tuple[Numbers, Numbers]] = {}

    def finished(self, exchange: Exchange) -> None:
        """Pass it on, and measure it."""
        self._inner.finished(exchange)
        request = exchange.request
        plain = request is not None and request.provenance is None
        key = (
            exchange.plan,
            exchange.endpoint,
            "" if request is None else request.method,
            exchange.client.peer.scheme if plain else scheme_of(exchange),
            exchange.status,
            exchange.decision,
        )
        found = self._series.get(key)
        if found is None:
            found = self._begin(key)
        ended = exchange.ended
        found[0].add(ended - (exchange.started or ended))
        if exchange.sent_at:
            found[1].add(ended - exchange.sent_at)

    def report(self) -> list[Any]:
        """What was measured since the last report, as `HttpSeries.add` reads it."""
        series, self._series = self._series, {}
        return [(_names(key), server.report(), client.report()) for key, (server, client) in series.items()]

    def _begin(self, key: _Key) -> tuple[Numbers, Numbers]:
        if len(self._series) >= MOST_SERIES:
            key = _OVERFLOW
        return self._series.setdefault(key, (Numbers(), Numbers()))


def _names(key: _Key) -> tuple[str, str, str, str, str, int, str]:
    """The key as `SeriesKey` has it."""
    plan, endpoint, method, scheme, status, decision = key
    route, service = ("", "") if plan is None else (plan.route_name, plan.service_name)
    return route, service, "" if endpoint is None else endpoint.id, method, scheme, status, decision


def active_requests(connections: Iterable[object]) -> list[tuple[str, str, int]]:
    """Requests that are being answered, by method and scheme."""
    found: Counter[tuple[str, str]] = Counter()
    for connection in connections:
        exchange = getattr(connection, "current", None)
        if isinstance(exchange, Exchange) and exchange.request is not None:
            found[exchange.request.method, scheme_of(exchange)] += 1
    return [(*key, count) for key, count in found.items()]
