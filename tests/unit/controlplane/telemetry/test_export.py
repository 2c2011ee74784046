"""What is exported beside spans: metrics of every part, and log records that spoil no message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.core import GaugeMetricFamily, Metric

from controlplane.api.metrics import PartsCollector
from controlplane.telemetry import metric_bridge
from controlplane.telemetry.log_records import OtlpHandler
from controlplane.telemetry.metric_bridge import Bridge
from controlplane.telemetry.providers import MOST_TOLD, _Once
from controlplane.telemetry.texts import LONGEST
from tests.support.api import Api, running_api


async def test_limits_are_measured_from_the_start() -> None:
    """Export begins before the desk of limits is there, and adds no metric later."""
    async with running_api() as api:
        assert api.parts.desk is None
        assert {"headgate_limit_granted", "headgate_limit_bound", "headgate_limit_overshoot"} <= names(api)


def names(api: Api) -> set[str]:
    return {family.name for family in PartsCollector(api.parts).collect()}


class Source:
    def collect(self) -> Iterator[Metric]:
        for number in range(20):
            yield GaugeMetricFamily(f"headgate_controlplane_{number}", "A number.", value=number)


def test_a_busy_event_loop_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by each of the instruments, which would hold up the export for minutes."""
    monkeypatch.setattr(metric_bridge, "READ_WITHIN", 0.01)
    monkeypatch.setattr(metric_bridge, "FRESH", 600.0)
    loop, reader = asyncio.new_event_loop(), InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    bridge = Bridge(Source(), loop, meters.get_meter("test"))
    waits, collect = list[int](), bridge._collect

    async def counted() -> dict[str, Metric]:
        return await collect()

    def asked() -> object:
        waits.append(1)
        return counted()

    monkeypatch.setattr(bridge, "_collect", asked)
    reader.collect()
    assert len(waits) == 1
    loop.run_until_complete(asyncio.sleep(0.01))
    meters.shutdown()
    loop.close()


def test_texts_that_are_no_unicode_and_long_ones_spoil_no_message() -> None:
    kept = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    handler = OtlpHandler(provider.get_logger("test"))
    record = logging.LogRecord("controlplane", logging.INFO, "f", 1, "bad \ud800 %s", ("\udcff",), None)
    vars(record).update(path="/\ud800", problems=["x" * 100_000, "\ud800"])
    handler.emit(record)
    (found,) = kept.get_finished_logs()
    encoded = encode_logs([found]).SerializeToString()
    assert len(encoded) < 2 * LONGEST
    assert found.log_record.attributes is not None
    assert found.log_record.attributes["headgate.path"] == "/?"


def test_complaints_of_the_export_are_remembered_within_bounds() -> None:
    once = _Once()
    for number in range(3 * MOST_TOLD):
        record = logging.LogRecord("opentelemetry.sdk", logging.ERROR, "f", 1, f"failed {number}", (), None)
        assert once.filter(record) and not once.filter(record)
    assert len(once._told) <= MOST_TOLD
