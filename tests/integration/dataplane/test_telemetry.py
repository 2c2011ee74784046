"""A data plane with a collector of OpenTelemetry: what arrives there, and that the gateway never waits for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint

from demo.ports import free_port
from headgate_api.v1 import config_pb2
from tests.support import wire
from tests.support.collector import Collector, texts
from tests.support.data_plane import DataPlane
from tests.support.fake_controlplane import FakeControlPlane
from tests.support.instance import Instance
from tests.support.waiting import eventually

SECRET = "s3cr3t-of-the-collector"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def configuration(orders: Instance) -> config_pb2.Snapshot:
    return wire.snapshot(
        wire.service("orders"),
        wire.instance("orders", "orders-1", orders.port),
        wire.route("orders", "orders"),
        revision=7,
    )


def plane(folder: Path, controlplane: FakeControlPlane, endpoint: str, **more: str) -> DataPlane:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        **more,
    }
    return DataPlane(folder, controlplane.address, **variables)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_request_is_a_trace(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, collector: Collector, protocol: str
) -> None:
    controlplane.publish(configuration(orders))
    endpoint = collector.endpoint if protocol == "grpc" else collector.http_endpoint
    settings = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_SERVICE_NAME": "edge"}
    async with plane(tmp_path, controlplane, endpoint, **settings) as node:
        await node.started()
        response = await node.get("/orders/1?token=secret")
        assert response.status_code == 200
        await eventually(lambda: len(collector.spans()) == 2)
        server, client = sorted(collector.spans(), key=lambda span: span.kind)
        request_id = response.headers["x-request-id"]
        sent = re.findall(rb"traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01", orders.heads[0])
        assert sent == [(server.trace_id.hex().encode(), client.span_id.hex().encode())]
        assert client.parent_span_id == server.span_id and server.trace_id.hex() == request_id
        found = texts(server.attributes)
        assert (found["headgate.request_id"], found["url.query"]) == (request_id, "token=***")
        assert (found["http.route"], found["headgate.revision"]) == ("/orders/*", 7)
        resource = texts(collector.messages["traces"][0].resource_spans[0].resource.attributes)
        assert (resource["service.name"], resource["service.instance.id"]) == ("edge", "node-1")
        assert all(fields["x-key"] == SECRET for fields in collector.fields)
        await eventually(lambda: _is(node, "headgate_telemetry_exported_total", 2, signal="traces"))
        await eventually(lambda: bool(_access(collector)))
        (record,) = _access(collector)
        assert (record.trace_id, record.span_id) == (server.trace_id, server.span_id)
        logged = texts(record.attributes)
        assert logged["headgate.request_id"] == request_id and logged["url.path"] == "/orders/1"
        lines = {line.body.string_value: texts(line.attributes) for line in collector.records()}
        assert lines["configuration applied"]["headgate.revision"] == 7
        await eventually(lambda: bool(_durations(collector)))
        (point,) = _durations(collector)
        assert point.count == 1 and point.exemplars[0].trace_id == server.trace_id
        assert texts(point.attributes)["http.route"] == "/orders/*"
        exposed = await node.status("/metrics", headers={"accept": "application/openmetrics-text"})
        assert f'trace_id="{request_id}"' in exposed.text and exposed.text.endswith("# EOF\n")
        # The end of the process takes along what has not been exported yet.
        await node.get("/none")
        assert await node.stop() == 0
        assert len(collector.spans()) == 3
        assert not any(SECRET in line for line in node.output())


async def test_requests_do_not_wait_for_a_collector_that_hangs(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance, collector: Collector
) -> None:
    controlplane.publish(configuration(orders))
    collector.hanging.set()
    settings = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_BSP_MAX_QUEUE_SIZE": "512"}
    async with plane(tmp_path, controlplane, collector.endpoint, **settings) as node:
        await node.started()

        async def dropped() -> bool:
            for _ in range(50):
                assert (await node.get("/orders/1")).status_code == 200
            return await node.metric("headgate_telemetry_dropped_total", signal="traces") > 0

        await eventually(dropped)
        collector.hanging.clear()
        await eventually(lambda: bool(collector.spans()))
        assert await node.stop() == 0


async def test_a_collector_that_is_away_is_logged_once(
    tmp_path: Path, controlplane: FakeControlPlane, orders: Instance
) -> None:
    controlplane.publish(configuration(orders))
    settings = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TIMEOUT": "200"}
    async with plane(tmp_path, controlplane, f"http://127.0.0.1:{free_port()}", **settings) as node:
        await node.started()

        def told() -> int:
            return sum(line.get("message") == "telemetry cannot be exported" for line in node.log())

        async def noticed() -> bool:
            assert (await node.get("/orders/1")).status_code == 200
            return told() > 0

        await eventually(noticed)
        assert await node.stop() == 0
        assert told() <= 3


def _durations(collector: Collector) -> list[HistogramDataPoint]:
    metric = collector.metrics().get("http.server.request.duration")
    points = metric.histogram.data_points if metric is not None else ()
    return [point for point in points if texts(point.attributes).get("headgate.route") == "orders"]


def _access(collector: Collector) -> list[LogRecord]:
    return [record for record in collector.records() if record.event_name == "headgate.request"]


async def _is(node: DataPlane, name: str, value: float, **labels: str) -> bool:
    return await node.metric(name, **labels) == value
