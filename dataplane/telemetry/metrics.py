"""Metrics as OTLP: those of the HTTP conventions, and Prometheus' own as far as these have none.

Sums are cumulative since the start of the data plane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as Message
from prometheus_client import Metric

from dataplane.config.table import Table
from dataplane.observe.http_series import DURATION_BOUNDS, LENGTH, OVERFLOW, Series, SeriesKey
from dataplane.observe.record import UPSTREAM_ERRORS
from dataplane.observe.stats import Seen
from dataplane.telemetry.attributes import STANDARD, Value, key_values, path_template

REPLACED: Final = frozenset({"headgate_requests", "headgate_request_duration_seconds"})
"""Metrics of Prometheus that the conventions have names for."""
_CUMULATIVE: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
Attributes = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """The numbers of a data plane at one time. A copy: it may be read in a thread."""

    started: float
    """Unix time at which counting began."""
    now: float
    series: Mapping[SeriesKey, Series]
    active: Mapping[tuple[str, str], int]
    """Requests being answered, by method and scheme."""
    seen: Iterable[Seen]
    """Sampled requests, for exemplars."""
    families: Iterable[Metric]
    """The metrics of Prometheus."""
    table: Table


def write(moment: Moment) -> tuple[int, bytes]:
    """All metrics as fields `metrics` of ScopeMetrics, and the number of data points."""
    found = [*_durations(moment), _active(moment), *_others(moment)]
    scope = ScopeMetrics(metrics=filter(_points, found))
    return sum(map(_points, scope.metrics)), scope.SerializeToString()


def _points(metric: Message) -> int:
    return len(getattr(metric, str(metric.WhichOneof("data"))).data_points)


# --- the HTTP conventions


def _durations(moment: Moment) -> Iterator[Message]:
    servers: dict[Attributes, list[float]] = {}
    clients: dict[Attributes, list[float]] = {}
    addresses = {
        (service, instance.id): (instance.host, instance.port)
        for service, instances in moment.table.instances.items()
        for instance in instances
    }
    for key, series in moment.series.items():
        _sum(servers, _server_attributes(key, moment.table), series.server)
        if any(series.client):
            place = addresses.get((key.service, key.instance), ("", 0))
            _sum(clients, _client_attributes(key, place), series.client)
    exemplars: dict[Attributes, list[Seen]] = {}
    for seen in moment.seen:
        exemplars.setdefault(_server_attributes(seen.key, moment.table), []).append(seen)
    yield _histogram(
        "http.server.request.duration", "Duration of HTTP server requests.", moment, servers, exemplars
    )
    yield _histogram("http.client.request.duration", "Duration of HTTP client requests.", moment, clients, {})


def _sum(into: dict[Attributes, list[float]], key: Attributes, numbers: list[float]) -> None:
    known = into.get(key)
    into[key] = numbers if known is None else [a + b for a, b in zip(known, numbers, strict=True)]


def _server_attributes(key: SeriesKey, table: Table) -> Attributes:
    if key == OVERFLOW:
        return (("otel.metric.overflow", True),)
    route = table.routes.get(key.route)
    failed = key.decision in UPSTREAM_ERRORS or not key.status
    found: list[tuple[str, Value]] = [
        ("http.request.method", _method(key.method)),
        ("url.scheme", key.scheme),
        ("http.route", "" if route is None else path_template(route)),
        ("error.type", key.decision if failed else (str(key.status) if key.status >= 500 else "")),
        ("headgate.route", key.route),
        ("headgate.decision", key.decision),
    ]
    if key.status:
        found.append(("http.response.status_code", key.status))
    return tuple(found)


def _client_attributes(key: SeriesKey, place: tuple[str, int]) -> Attributes:
    if key == OVERFLOW:
        return (("otel.metric.overflow", True),)
    answered = key.decision == "forwarded" and key.status
    found: list[tuple[str, Value]] = [
        ("http.request.method", _method(key.method)),
        ("server.address", place[0].removeprefix("unix:")),
        ("error.type", key.decision if not answered else (str(key.status) if key.status >= 400 else "")),
        ("headgate.service", key.service),
        ("headgate.instance", key.instance),
    ]
    if place[1]:
        found.append(("server.port", place[1]))
    if answered:
        found.append(("http.response.status_code", key.status))
    return tuple(found)


def _method(method: str) -> str:
    return method if method in STANDARD else "_OTHER"


def _histogram(
    name: str,
    text: str,
    moment: Moment,
    series: Mapping[Attributes, list[float]],
    exemplars: Mapping[Attributes, list[Seen]],
) -> Message:
    points = [
        HistogramDataPoint(
            attributes=key_values(attributes),
            start_time_unix_nano=_nanoseconds(moment.started),
            time_unix_nano=_nanoseconds(moment.now),
            count=int(sum(numbers[: LENGTH - 1])),
            sum=numbers[-1],
            bucket_counts=map(int, numbers[: LENGTH - 1]),
            explicit_bounds=DURATION_BOUNDS,
            exemplars=map(_exemplar, exemplars.get(attributes, ())),
        )
        for attributes, numbers in series.items()
    ]
    histogram = Histogram(data_points=points, aggregation_temporality=_CUMULATIVE)
    return Message(name=name, description=text, unit="s", histogram=histogram)


def _exemplar(seen: Seen) -> Exemplar:
    return Exemplar(
        time_unix_nano=_nanoseconds(seen.at),
        as_double=seen.seconds,
        trace_id=bytes.fromhex(seen.trace),
        span_id=bytes.fromhex(seen.span),
    )


def _active(moment: Moment) -> Message:
    counts: dict[tuple[str, str], int] = {}
    for (method, scheme), count in moment.active.items():
        key = _method(method), scheme
        counts[key] = counts.get(key, 0) + count
    points = [
        _number(moment, (("http.request.method", method), ("url.scheme", scheme)), float(count), whole=True)
        for (method, scheme), count in counts.items()
    ]
    return Message(
        name="http.server.active_requests",
        description="Number of active HTTP server requests.",
        unit="{request}",
        sum=Sum(data_points=points, aggregation_temporality=_CUMULATIVE, is_monotonic=False),
    )


# --- all others


def _others(moment: Moment) -> Iterator[Message]:
    for family in moment.families:
        if family.name in REPLACED or not family.name.startswith("headgate_"):
            continue
        points = [
            _number(
                moment,
                tuple((f"headgate.{label}", value) for label, value in sample.labels.items()),
                sample.value,
                started=family.type == "counter",
            )
            for sample in family.samples
        ]
        message = Message(name=f"headgate.{family.name[9:]}", description=family.documentation)
        if family.type == "counter":
            message.sum.CopyFrom(
                Sum(data_points=points, aggregation_temporality=_CUMULATIVE, is_monotonic=True)
            )
        else:
            message.gauge.CopyFrom(Gauge(data_points=points))
        yield message


def _number(
    moment: Moment, attributes: Attributes, value: float, *, started: bool = True, whole: bool = False
) -> NumberDataPoint:
    point = NumberDataPoint(attributes=key_values(attributes), time_unix_nano=_nanoseconds(moment.now))
    if started:
        point.start_time_unix_nano = _nanoseconds(moment.started)
    if whole or float(value).is_integer():
        point.as_int = int(value)
    else:
        point.as_double = value
    return point


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
