"""The trace of one change: from the request, through etcd, to the data planes of both control planes. Everything is a
real process; the collector is the receiving side of the official packages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from demo.processes import ControlPlane, DataPlane, Etcd, Process, Secrets, answers, kill_all, wait_or_kill
from tests.support.collector import Collector, texts
from tests.support.waiting import eventually_now

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ROUTE = {
    "services": [{"service_name": "orders"}],
    "routes": [{"name": "orders", "prefix": "/orders", "service_name": "orders"}],
}


@dataclass
class Stage:
    collector: Collector
    a: ControlPlane
    b: ControlPlane

    def spans(self) -> list[Span]:
        """Those of the trace, by name and node."""
        found = [span for span in self.collector.spans() if span.trace_id.hex() == TRACE]
        return sorted(found, key=lambda span: (span.name, str(texts(span.attributes).get("headgate.node"))))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, processes = tmp_path_factory.mktemp("trace"), list[Process]()
    with Collector() as collector:
        exported = {
            "EXPOSE_ADMIN": "false",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_BLRP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
        to = {"cp-a": ("grpc", collector.endpoint), "cp-b": ("http/protobuf", collector.http_endpoint)}
        try:
            etcd, secrets = Etcd(), Secrets()
            processes.append(etcd.start(folder))
            planes = [
                ControlPlane(
                    etcd.url,
                    secrets,
                    name,
                    settings=exported
                    | {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
                )
                for name, (protocol, endpoint) in to.items()
            ]
            started = [plane.start(folder, wait=False) for plane in planes]
            processes += started
            for plane, process in zip(planes, started, strict=True):
                wait_or_kill(answers(plane.ready_url), process)
            for plane, name in zip(planes, ("dp-a", "dp-b"), strict=True):
                data = DataPlane(plane.grpc, secrets, name, settings={"WORKERS": "1", "ACCESS_LOG": "false"})
                processes.append(data.start(folder))
            yield Stage(collector, *planes)
        finally:
            kill_all(processes)


def applied(plane: ControlPlane, document: object, **headers: str) -> int:
    with plane.admin() as client:
        answer = client.post("/api/v1/apply", params={"wait": "20"}, json=document, headers=headers)
        return int(answer.raise_for_status().json()["revision"])


def test_the_trace_of_a_change(stage: Stage) -> None:
    revision = applied(stage.a, ROUTE, traceparent=TRACEPARENT)

    # The request waits for the data planes, so its own span comes after theirs.
    eventually_now(lambda: len(stage.spans()) >= 8)
    spans = stage.spans()
    assert [span.name for span in spans] == [
        "POST /api/v1/apply",
        "Txn",
        "headgate.command",
        "headgate.plan",
        "headgate.publish",
        "headgate.publish",
        "headgate.serve",
        "headgate.serve",
    ]
    request, txn, command, plan, *published, at_a, at_b = spans
    assert request.parent_span_id.hex() == TRACEPARENT.split("-")[2], (
        "the administrator's traceparent is obeyed"
    )
    assert command.parent_span_id == request.span_id
    assert {txn.parent_span_id, plan.parent_span_id} == {command.span_id}
    assert {one.parent_span_id for one in published} == {command.span_id}
    assert {at_a.parent_span_id, at_b.parent_span_id} == {one.span_id for one in published}
    about = texts(request.attributes)
    assert (about["http.response.status_code"], about["headgate.revision"]) == (200, revision)
    assert about["user.id"] == "admin"
    for span in (txn, command, *published):
        assert texts(span.attributes)["headgate.revision"] == revision
    for span, node in ((at_a, "dp-a"), (at_b, "dp-b")):
        about = texts(span.attributes)
        assert (about["headgate.node"], about["headgate.change_revision"]) == (node, revision)
        assert isinstance(about["headgate.seconds"], float) and 0 <= about["headgate.seconds"] < 30
        assert span.status.code != Status.STATUS_CODE_ERROR


def test_metrics_and_logs_arrive_with_it(stage: Stage) -> None:
    applied(stage.b, {"scopes": [{"name": "orders:read"}]}, traceparent=TRACEPARENT)
    metrics = eventually_now(
        lambda: found if "http.server.request.duration" in (found := stage.collector.metrics()) else None
    )
    assert metrics is not None
    assert metrics["headgate.controlplane.store_up"].gauge.data_points[0].as_double == 1.0
    assert metrics["headgate.controlplane.admin_requests"].sum.is_monotonic

    def request() -> bool:
        return any(
            record.body.string_value == "admin request"
            and texts(record.attributes).get("headgate.path") == "/api/v1/apply"
            for record in stage.collector.records()
        )

    eventually_now(request)
    published = [
        record for record in stage.collector.records() if record.body.string_value == "data plane connected"
    ]
    assert published and texts(published[0].attributes)["headgate.logger"] == "controlplane.rpc.config_stream"
