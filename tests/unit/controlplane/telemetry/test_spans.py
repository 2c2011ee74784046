"""Spans of requests: whose traceparent is obeyed, and what a change carries into the store."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from controlplane.model.stored import CHANGE
from controlplane.telemetry import start as starting
from controlplane.telemetry.otel import OtelSpans
from controlplane.telemetry.spans import Spans
from controlplane.telemetry.start import Telemetry
from tests.support.api import READER, Api, running_api
from tests.support.collector import Collector

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
DOCUMENT = {"services": [{"service_name": "orders"}]}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> OtelSpans:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtelSpans(provider.get_tracer("test"))


@pytest.fixture
async def api(spans: OtelSpans) -> AsyncIterator[Api]:
    async with running_api(spans=spans) as api:
        yield api


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return found


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


async def test_a_change_carries_the_trace_of_its_request(api: Api, exporter: InMemorySpanExporter) -> None:
    answer = await api.client.post("/api/v1/apply", json=DOCUMENT, headers={**await api.token(), **SENT})
    request, command = named(exporter, "POST /api/v1/apply"), named(exporter, "headgate.command")
    assert trace_of(request) == trace_of(command) == TRACE
    assert request.attributes is not None and command.context is not None
    assert request.attributes["headgate.revision"] == answer.json()["revision"]
    assert request.attributes["http.response.status_code"] == 200
    stored = await api.store.get(CHANGE)
    assert stored is not None
    assert json.loads(stored.value)["trace"] == f"00-{TRACE}-{command.context.span_id:016x}-01"
    await api.seen()
    (change,) = api.parts.watcher.changes.after(0)
    assert change.trace == json.loads(stored.value)["trace"] and change.seen > 0


async def test_readers_cannot_demand_a_trace(api: Api, exporter: InMemorySpanExporter) -> None:
    await api.client.get("/api/v1/services", headers={**await api.token(READER), **SENT})
    span = named(exporter, "GET /api/v1/services")
    assert span.parent is None and trace_of(span) != TRACE
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]


async def test_who_is_not_authorized_makes_no_spans(api: Api, exporter: InMemorySpanExporter) -> None:
    assert (await api.client.get("/api/v1/services", headers=SENT)).status_code == 401
    await api.client.get("/health", headers=SENT)
    assert not exporter.get_finished_spans()


async def test_a_refused_change_says_so(api: Api, exporter: InMemorySpanExporter) -> None:
    headers = await api.token()
    await api.client.post("/api/v1/apply", json={"routes": [{"name": "x"}]}, headers=headers)
    span = named(exporter, "POST /api/v1/apply")
    assert span.attributes is not None and span.attributes["http.response.status_code"] == 400
    assert span.status.status_code is StatusCode.UNSET
    api.store.available = False
    await api.client.post("/api/v1/apply", json=DOCUMENT, headers=headers)
    assert exporter.get_finished_spans()[-1].status.status_code is StatusCode.ERROR


def test_a_call_is_linked_and_remembers_what_it_wrote(
    spans: OtelSpans, exporter: InMemorySpanExporter
) -> None:
    with spans.call("headgate.v1.RegistryService", "Register", SENT):
        spans.wrote(7)
    assert [one.context.trace_id for one in exporter.get_finished_spans()[0].links] == [int(TRACE, 16)]
    spans.rollouts.published(8, [])
    assert named(exporter, "headgate.publish").parent is not None


def test_steps_of_nothing_are_no_spans(spans: OtelSpans, exporter: InMemorySpanExporter) -> None:
    with spans.step("headgate.plan", {}):
        assert spans.carried() == ""
        spans.wrote(7)
    spans.rollouts.published(8, [])
    assert not exporter.get_finished_spans()


def test_nothing_of_opentelemetry_is_imported_without_an_endpoint(tmp_path: Path) -> None:
    code = (
        "import sys, controlplane.app\n"
        "from controlplane.telemetry.start import start\n"
        "assert start('1', 'a').close is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    root = Path(__file__).parents[4]
    environment = {"PYTHONPATH": f"{root}:{root / 'proto'}"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


async def test_the_end_waits_for_no_hanging_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "END_WITHIN", 0.05)
    with Collector() as collector:
        collector.hanging.set()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        telemetry = starting.start("1.2.3", "cp-1")
        with telemetry.spans.request("GET", "/", {}, obeyed=False, attributes={}):
            pass
        began = asyncio.get_running_loop().time()
        await telemetry.end()
        assert asyncio.get_running_loop().time() - began < 5.0


async def test_without_telemetry_the_end_is_at_once() -> None:
    await Telemetry(Spans()).end()
