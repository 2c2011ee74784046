"""Metrics as OTLP, as the generated classes read them."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ScopeMetrics

from dataplane.config.items import ResourceSet, UnlinkedRoute
from dataplane.config.table import build
from dataplane.gateway.policy.resources import Instance, Route, Service
from dataplane.observe.http_series import LENGTH, OVERFLOW, HttpSeries, SeriesKey
from dataplane.observe.metrics import NodeCollector
from dataplane.observe.stats import Seen
from dataplane.telemetry.metrics import Moment, write
from tests.support.collector import texts
from tests.unit.dataplane.observe.test_status_server import HEALTHY

KEY = SeriesKey("orders", "orders", "orders-1", "GET", "http", 200, "forwarded")
STARTED, NOW = 1_700_000_000.0, 1_700_000_060.0


def numbers(count: int, seconds: float) -> list[float]:
    """So many requests of the first bucket."""
    return [count, *[0] * (LENGTH - 2), seconds]


def moment(*reports: Any, **fields: Any) -> Moment:
    series = HttpSeries()
    series.add(reports)
    values: dict[str, Any] = {
        "started": STARTED,
        "now": NOW,
        "series": series.series,
        "active": {},
        "seen": [],
        "families": [],
        "table": HEALTHY.table,
        **fields,
    }
    return Moment(**values)


def read(made: Moment) -> dict[str, Metric]:
    points, data = write(made)
    found = {metric.name: metric for metric in ScopeMetrics.FromString(data).metrics}
    kinds = "histogram", "sum", "gauge"
    assert points == sum(
        len(getattr(metric, kind).data_points) for metric in found.values() for kind in kinds
    )
    return found


def test_a_server_duration_is_that_of_all_instances() -> None:
    other = KEY._replace(instance="orders-2")
    made = moment((KEY, numbers(2, 0.004), numbers(2, 0.002)), (other, numbers(1, 0.001), numbers(1, 0.001)))
    found = read(made)
    server, client = found["http.server.request.duration"], found["http.client.request.duration"]
    assert server.unit == client.unit == "s"
    (point,) = server.histogram.data_points
    assert (point.count, round(point.sum, 6), list(point.bucket_counts[:2])) == (3, 0.005, [3, 0])
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1 and point.explicit_bounds[0] == 0.005
    assert (point.start_time_unix_nano, point.time_unix_nano) == (int(STARTED * 1e9), int(NOW * 1e9))
    assert texts(point.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/orders/*",
        "url.scheme": "http",
        "headgate.route": "orders",
        "headgate.decision": "forwarded",
    }
    by_instance = {texts(each.attributes)["headgate.instance"]: each for each in client.histogram.data_points}
    assert {name: each.count for name, each in by_instance.items()} == {"orders-1": 2, "orders-2": 1}
    assert texts(by_instance["orders-1"].attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "10.0.0.1",
        "server.port": 80,
        "headgate.service": "orders",
        "headgate.instance": "orders-1",
    }


def test_an_instance_that_leaves_takes_no_request_of_its_route_along() -> None:
    """A cumulative sum that falls is a restart for backends: they count all of it again."""
    other = KEY._replace(instance="orders-2")
    series = HttpSeries()
    series.add([(KEY, numbers(2, 0.004), numbers(2, 0.002)), (other, numbers(1, 0.001), numbers(1, 0.001))])
    for _ in range(2):
        series.keep({"orders"}, {"orders": ["orders-1"]})
        found = read(moment(series=series.series))
        (server,) = found["http.server.request.duration"].histogram.data_points
        assert (server.count, round(server.sum, 6)) == (3, 0.005)
        (client,) = found["http.client.request.duration"].histogram.data_points
        assert texts(client.attributes)["headgate.instance"] == "orders-1" and client.count == 2
    series.add([(other, numbers(1, 0.001), numbers(1, 0.001))])
    series.keep({"orders"}, {"orders": ["orders-1"]})
    (server,) = read(moment(series=series.series))["http.server.request.duration"].histogram.data_points
    assert server.count == 4
    series.keep((), {})
    assert not series.series


def test_failures_and_what_has_no_route() -> None:
    timed_out = KEY._replace(status=504, decision="timed_out")
    refused = SeriesKey("", "", "", "BREW", "http", 404, "not_found")
    made = moment((timed_out, numbers(1, 1), numbers(1, 1)), (refused, numbers(1, 1), numbers(0, 0)))
    found = read(made)
    server = [texts(each.attributes) for each in found["http.server.request.duration"].histogram.data_points]
    assert [each.get("error.type") for each in server] == ["timed_out", None]
    assert server[1]["http.request.method"] == "_OTHER" and "http.route" not in server[1]
    (client,) = found["http.client.request.duration"].histogram.data_points
    assert texts(client.attributes)["error.type"] == "timed_out"
    assert "http.response.status_code" not in texts(client.attributes)


def test_too_many_series_are_one() -> None:
    found = read(moment((OVERFLOW, numbers(5, 1), numbers(5, 1))))
    for name in ("http.server.request.duration", "http.client.request.duration"):
        (point,) = found[name].histogram.data_points
        assert point.count == 5 and texts(point.attributes) == {"otel.metric.overflow": True}


def test_an_exemplar_is_at_its_series() -> None:
    seen = Seen(KEY, 0.002, "4b" * 16, "0f" * 8, NOW - 1)
    found = read(moment((KEY, numbers(1, 0.002), numbers(1, 0.001)), seen=[seen]))
    (point,) = found["http.server.request.duration"].histogram.data_points
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id.hex(), exemplar.span_id.hex(), exemplar.as_double) == (
        "4b" * 16,
        "0f" * 8,
        0.002,
    )


def test_active_requests() -> None:
    found = read(moment(active={("GET", "https"): 2, ("COPY", "http"): 1, ("MOVE", "http"): 3}))
    active = found["http.server.active_requests"]
    assert active.unit == "{request}" and not active.sum.is_monotonic
    assert [(point.as_int, texts(point.attributes)) for point in active.sum.data_points] == [
        (2, {"http.request.method": "GET", "url.scheme": "https"}),
        (4, {"http.request.method": "_OTHER", "url.scheme": "http"}),
    ]


def test_all_others_are_those_of_prometheus() -> None:
    families = list(NodeCollector(lambda: HEALTHY).collect())
    found = read(moment(families=families))
    assert "headgate.requests" not in found and "headgate.request_duration_seconds" not in found
    (point,) = found["headgate.refusals"].sum.data_points
    assert found["headgate.refusals"].sum.is_monotonic and point.as_int == 2
    assert texts(point.attributes) == {"headgate.route": "orders", "headgate.reason": "limited"}
    (revision,) = found["headgate.config_revision"].gauge.data_points
    assert revision.as_int == 41 and not revision.start_time_unix_nano
    prometheus = {
        f"headgate.{family.name.removeprefix('headgate_')}" for family in families if family.samples
    }
    assert prometheus - set(found) == {"headgate.requests", "headgate.request_duration_seconds"}


def test_an_instance_at_a_unix_socket() -> None:
    resources = ResourceSet.of(
        Service("orders"),
        Instance("orders", "orders-1", "unix:/run/o", 0),
        UnlinkedRoute(Route("orders", "orders", path="/o"), ()),
    )
    found = read(moment((KEY, numbers(1, 1), numbers(1, 1)), table=build(resources, 1, "d")))
    (point,) = found["http.client.request.duration"].histogram.data_points
    assert texts(point.attributes)["server.address"] == "/run/o"
    assert "server.port" not in texts(point.attributes)
