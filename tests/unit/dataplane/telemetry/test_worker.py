"""A worker's end: which exchanges are written, and what happens when nobody reads."""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from dataplane.channel import Kind
from dataplane.gateway.policy.resources import BUILTIN
from dataplane.observe import http_series
from dataplane.observe.http_series import SeriesKey
from dataplane.observe.record import Recorder
from dataplane.observe.stats import NodeStats, Totals
from dataplane.options import TelemetryOptions, WorkerOptions
from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.telemetry import measured, outbox
from dataplane.telemetry.measured import Numbers, active_requests
from dataplane.telemetry.outbox import read_frame
from dataplane.telemetry.worker import WorkerTelemetry
from tests.unit.dataplane.observe.exchanges import REQUEST_ID, exchange
from tests.unit.dataplane.telemetry.test_spans import plan, traced


class Seen:
    """The observer that telemetry is put before, and the channel."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.frames: list[tuple[Kind, bytes]] = []
        self.backlog = 0

    def finished(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        self.frames.append((kind, payload))

    def spans(self) -> list[str]:
        found = []
        for kind, payload in self.frames:
            assert kind is Kind.SPANS
            count, items = read_frame(payload)
            spans = ScopeSpans.FromString(items).spans
            assert len(spans) == count
            found += [span.name for span in spans]
        return found


def options(*, ratio: float = 1.0, traces: bool = False, metrics: bool = False) -> WorkerOptions:
    return WorkerOptions(
        *("node-1", 0, 1, 3, 4, "info", None, 30.0, 0.0, 1, (), "127.0.0.1", 8001, False),
        trace_sampling=ratio,
        telemetry=TelemetryOptions(traces, metrics),
    )


def test_nothing_stands_in_the_way_without_an_export() -> None:
    seen = Seen()
    telemetry = WorkerTelemetry(options(), seen, seen)
    assert telemetry.observer is seen
    telemetry.flush()
    assert not seen.frames and not telemetry.report()


@pytest.mark.parametrize(("ratio", "spans"), [(1.0, ["GET"]), (0.5, []), (0.0, [])])
def test_requests_in_the_sample_are_written(ratio: float, spans: list[str]) -> None:
    seen = Seen()
    telemetry = WorkerTelemetry(options(ratio=ratio, traces=True), seen, seen)
    # Its second half begins with f: it is not among the lower half.
    made = exchange(sent_at=0.0, request_id=REQUEST_ID[:16] + b"f" * 16)
    telemetry.observer.finished(made)
    assert seen.exchanges == [made] and not seen.frames
    telemetry.flush()
    assert seen.spans() == spans


@pytest.mark.parametrize(("own", "spans"), [(None, []), (1.0, ["GET /orders/*"]), (0.0, [])])
def test_a_route_may_have_a_share_of_its_own(own: float | None, spans: list[str]) -> None:
    seen = Seen()
    telemetry = WorkerTelemetry(options(ratio=0.0, traces=True), seen, seen)
    made = traced(plan=plan(prefix="/orders", trace_sampling=own), sent_at=0.0)
    telemetry.observer.finished(made)
    telemetry.flush()
    assert seen.spans() == spans


def test_requests_to_the_gateway_itself_are_not_traced() -> None:
    seen = Seen()
    telemetry = WorkerTelemetry(options(traces=True), seen, seen)
    telemetry.observer.finished(exchange(plan=Forwarding(f"{BUILTIN}health", f"{BUILTIN}status")))
    telemetry.flush()
    assert len(seen.exchanges) == 1 and not seen.frames


def test_a_full_batch_does_not_wait_for_the_second() -> None:
    seen = Seen()
    telemetry = WorkerTelemetry(options(traces=True), seen, seen)
    for _ in range(outbox.BATCH + 1):
        telemetry.observer.finished(exchange(sent_at=0.0))
    assert len(seen.frames) == 1
    telemetry.flush()
    assert len(seen.spans()) == outbox.BATCH + 1


def test_what_the_supervisor_does_not_read_is_dropped_and_counted() -> None:
    seen = Seen()
    telemetry = WorkerTelemetry(options(traces=True), seen, seen)
    seen.backlog = outbox.MAX_UNREAD + 1
    for _ in range(3):
        telemetry.observer.finished(exchange(sent_at=0.0))
    telemetry.flush()
    assert telemetry.report()["telemetry_dropped"] == {"traces": 3} and not seen.frames
    seen.backlog = 0
    telemetry.observer.finished(exchange(sent_at=0.0))
    telemetry.flush()
    assert telemetry.report()["telemetry_dropped"] == {} and len(seen.spans()) == 1


# --- metrics


def test_durations_are_counted_by_what_the_conventions_ask_for() -> None:
    seen, stats = Seen(), NodeStats()
    telemetry = WorkerTelemetry(options(traces=True, metrics=True), seen, seen)
    for status in (200, 200, 404):
        telemetry.observer.finished(traced(status=status))
    telemetry.observer.finished(traced(status=503, decision="circuit_open", sent_at=0.0, endpoint=None))
    report = json.loads(json.dumps(telemetry.report()))
    stats.http.add(report["http"])
    key = SeriesKey("orders", "orders", "orders-1", "GET", "https", 200, "forwarded")
    refused = key._replace(instance="", status=503, decision="circuit_open")
    assert set(stats.http.series) == {key, key._replace(status=404), refused}
    assert stats.http.series[key].server[:2] == [2, 0] and sum(stats.http.series[refused].client) == 0
    assert abs(stats.http.series[key].server[-1] - 0.006) < 1e-6
    assert abs(stats.http.series[key].client[-1] - 0.004) < 1e-6
    assert telemetry.report()["http"] == [] and len(seen.exchanges) == 4


@given(st.lists(st.floats(0, 20), max_size=20))
def test_every_duration_is_in_its_bucket(durations: list[float]) -> None:
    numbers = Numbers()
    for seconds in durations:
        numbers.add(seconds)
    *counts, total = numbers.report()
    bounds = http_series.DURATION_BOUNDS
    assert counts == [
        sum(bisect_left(bounds, each) == bucket for each in durations) for bucket in range(len(bounds) + 1)
    ]
    assert total == pytest.approx(sum(durations))


def test_the_last_traced_request_of_each_bucket_is_its_exemplar() -> None:
    seen, totals = Seen(), Totals()
    telemetry = WorkerTelemetry(options(traces=True), seen, seen)
    for number in range(3):
        telemetry.observer.finished(traced(request_id=b"%032x" % (number + 1)))
    report = json.loads(json.dumps(telemetry.report()))
    (found,) = report["exemplars"]
    assert found[2] == f"{3:032x}" and abs(found[4] - time.time()) < 60
    assert telemetry.report()["exemplars"] == []
    empty = Recorder(None).report()
    totals.add({**empty, "exemplars": report["exemplars"]})
    (bucket,) = totals.exemplars["orders"]
    assert totals.exemplars["orders"][bucket].trace == f"{3:032x}"


def test_requests_that_are_being_answered() -> None:
    made = traced()
    assert active_requests([SimpleNamespace(current=made), SimpleNamespace(current=None), object()]) == [
        ("GET", "https", 1)
    ]


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "MOST_SERIES", 2)
    monkeypatch.setattr(http_series, "MOST_SERIES", 2)
    telemetry = WorkerTelemetry(options(metrics=True), Seen(), Seen())
    for status in range(200, 210):
        telemetry.observer.finished(traced(status=status))
    report = telemetry.report()["http"]
    assert len(report) == 3
    series = http_series.HttpSeries()
    series.add(report)
    series.add([((*report[0][0][:5], 299, "forwarded"), report[0][1], report[0][2])])
    assert len(series.series) == 3 and sum(series.series[http_series.OVERFLOW].server[:-1]) == 9
    series.keep({"orders"}, {"orders": ["orders-1"]})
    assert len(series.series) == 3
    series.keep((), {})
    assert set(series.series) == {http_series.OVERFLOW}
