"""The providers of OpenTelemetry's SDK, by the signals that are exported."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from opentelemetry.metrics import Meter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from controlplane.telemetry import exporters
from controlplane.telemetry.log_records import OWN, OtlpHandler, correlate
from controlplane.telemetry.metric_bridge import Bridge
from controlplane.telemetry.otel import OtelSpans
from controlplane.telemetry.spans import Spans
from controlplane.telemetry.start import SCOPE, Telemetry
from controlplane.telemetry.variables import Target

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Of the durations of requests, in seconds, as the conventions advise."""
REPEATED_AFTER = 60.0
"""Seconds after which a complaint of the exporters may be logged again."""
MOST_TOLD = 100
"""Different complaints that are remembered."""


def make(targets: Mapping[str, Target], version: str, instance: str) -> Telemetry:
    """Start what exports to these targets."""
    resource = _resource(version, instance)
    closing: list[Callable[[], None]] = []
    found = Telemetry(Spans(), close=lambda: _close(closing))
    if (target := targets.get("traces")) is not None:
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(exporters.spans(target)))
        found.spans = OtelSpans(tracers.get_tracer(SCOPE, version))
        closing.append(tracers.shutdown)
    if (target := targets.get("metrics")) is not None:
        reader = PeriodicExportingMetricReader(exporters.metrics(target))
        meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = meters.get_meter(SCOPE, version)
        found.measure, found.bridge = _measure(meter), _bridge(meter)
        closing.append(meters.shutdown)
    handlers: list[logging.Handler] = []
    if (target := targets.get("logs")) is not None:
        loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        loggers.add_log_record_processor(BatchLogRecordProcessor(exporters.logs(target)))
        handlers.append(OtlpHandler(loggers.get_logger(SCOPE, version)))
        closing.append(loggers.shutdown)
    closing.insert(0, _hear(handlers, correlated="traces" in targets))
    return found


def _resource(version: str, instance: str) -> Resource:
    """Ours, where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say nothing else."""
    own = Resource.create(
        {
            "service.name": "headgate-controlplane",
            "service.version": version,
            "service.instance.id": instance,
        }
    )
    return own.merge(OTELResourceDetector().detect())


def _measure(meter: Meter) -> Callable[[str, str, int, float], None]:
    durations = meter.create_histogram(
        "http.server.request.duration",
        "s",
        "Duration of requests to the admin API.",
        explicit_bucket_boundaries_advisory=BOUNDS,
    )

    def measure(method: str, route: str, status: int, seconds: float) -> None:
        about: dict[str, str | int] = {"http.request.method": method, "http.response.status_code": status}
        durations.record(seconds, {**about, **({"http.route": route} if route else {})})

    return measure


def _bridge(meter: Meter) -> Callable[[object], None]:
    def bridge(source: object) -> None:
        Bridge(source, asyncio.get_running_loop(), meter)  # type: ignore[arg-type]

    return bridge


def _hear(handlers: list[logging.Handler], *, correlated: bool) -> Callable[[], None]:
    """Add handlers to the log, and the ids of spans to its lines. Returns what ends that."""
    root = logging.getLogger()
    before = list(root.handlers)
    filters = [_Once().filter, *((correlate,) if correlated else ())]
    for handler in before:
        for one in filters:
            handler.addFilter(one)
    for handler in handlers:
        root.addHandler(handler)

    def end() -> None:
        for handler in handlers:
            root.removeHandler(handler)
        for handler in before:
            for one in filters:
                handler.removeFilter(one)

    return end


class _Once:
    """Lets the same complaint of the exporters pass once a minute, not once for each batch."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if record.name.partition(".")[0] not in OWN:
            return True
        now, known = time.monotonic(), self._told.get(str(record.msg))
        if known is not None and now - known < REPEATED_AFTER:
            return False
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[str(record.msg)] = now
        return True


def _close(closing: list[Callable[[], None]]) -> None:
    for one in closing:
        # A fault of the SDK must not keep the process from ending.
        with contextlib.suppress(Exception):
            one()
