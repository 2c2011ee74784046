"""What is counted of an exchange, and which exchanges are logged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from dataplane.observe.access import AccessLog
from dataplane.observe.record import Recorder
from dataplane.observe.stats import LATENCY_BOUNDS
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.fields.trace import threshold
from dataplane.proxy.messages import Provenance
from tests.unit.dataplane.observe.exchanges import Place, exchange


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(None)


@pytest.fixture
def logged() -> Iterator[tuple[Recorder, int]]:
    reading, writing = os.pipe()
    log = AccessLog(writing)
    yield Recorder(log), reading
    log.close()
    os.close(reading)
    os.close(writing)


def test_what_limits_would_have_refused_is_counted(recorder: Recorder) -> None:
    for shadowed in (("trial",), ("trial", "daily"), ()):
        recorder.finished(exchange(shadowed=shadowed))
    assert recorder.report()["shadowed"] == {"trial": 2, "daily": 1}
    assert recorder.report()["shadowed"] == {}


def test_attempts_after_the_first_are_counted_by_service(recorder: Recorder) -> None:
    for attempts in (1, 2, 4):
        recorder.finished(exchange(attempts=attempts))
    assert recorder.report()["retries"] == {"orders": 4}
    assert recorder.report()["retries"] == {}


def test_requests_are_counted_by_the_instance_that_got_them_last(recorder: Recorder) -> None:
    place = Place("orders", "orders-1")
    for fields in ({}, {"status": 503}, {"status": 404}, {"endpoint": None, "status": 503}):
        recorder.finished(exchange(**{"endpoint": place, **fields}))
    assert recorder.report()["instances"] == [("orders", "orders-1", 3, 1)]
    assert recorder.report()["instances"] == []


def test_counts_by_route_and_class(recorder: Recorder) -> None:
    for fields in ({}, {}, {"status": 404}, {"status": 503}, {"status": 0}, {"plan": None, "status": 404}):
        recorder.finished(exchange(**fields))
    assert recorder.report()["requests"] == {
        "orders": [1, 0, 2, 0, 1, 1, 0, 0, 0, 0],
        "": [0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    }


def test_latency_by_service_of_those_that_were_sent(recorder: Recorder) -> None:
    for seconds in (0.0005, 0.001, 0.003, 99.0):
        made = exchange()
        made.ended = made.started + seconds
        recorder.finished(made)
    recorder.finished(exchange(sent_at=0.0))
    (latency,) = recorder.report()["latency"].values()
    assert sum(latency[:-1]) == 4
    assert (latency[len(LATENCY_BOUNDS)], latency[LATENCY_BOUNDS.index(0.005)]) == (1, 1)
    assert latency[-1] == pytest.approx(99.0045)


def test_refusals_and_upstream_errors_are_told_apart(recorder: Recorder) -> None:
    for decision in ("limited", "limited", "unauthenticated", "unavailable", "timed_out", "client_left"):
        recorder.finished(exchange(decision=decision))
    report = recorder.report()
    assert sorted(report["refusals"]) == [
        ("orders", "client_left", 1),
        ("orders", "limited", 2),
        ("orders", "unauthenticated", 1),
    ]
    assert sorted(report["upstream_errors"]) == [("orders", "timed_out", 1), ("orders", "unavailable", 1)]


def test_a_report_is_what_came_since_the_last(recorder: Recorder) -> None:
    recorder.finished(exchange())
    first = recorder.report()
    recorder.finished(exchange(status=500))
    assert json.loads(json.dumps(first))["requests"]["orders"][2] == 1
    assert recorder.report()["requests"] == {"orders": [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]}
    assert recorder.report()["requests"] == {}


def test_a_request_whose_client_left_before_its_turn_took_no_time(recorder: Recorder) -> None:
    left = exchange(started=0.0, sent_at=0.0, status=0, decision="client_left")
    recorder.finished(left)
    assert recorder.report()["requests"]["orders"][0] == 1


def test_every_exchange_has_its_line(logged: tuple[Recorder, int]) -> None:
    recorder, reading = logged
    for status in (200, 404):
        recorder.finished(exchange(status=status))
    recorder.report()
    lines = os.read(reading, 65536).splitlines()
    assert [json.loads(line)["status"] for line in lines] == [200, 404]


class Kept(AccessLog):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


def sampled(ratio: float, *exchanges: Exchange) -> list[int]:
    """The statuses of those that are logged."""
    log = Kept()
    recorder = Recorder(log, sampled=threshold(ratio))
    for one in exchanges:
        recorder.finished(one)
    return [json.loads(line)["status"] for line in log.lines]


def test_of_good_requests_a_sample_is_logged_and_everything_else_always() -> None:
    good = [exchange(request_id=b"%032x" % (number << 56)) for number in range(256)]
    assert len(sampled(0.25, *good)) == 64
    assert sampled(0, *good) == []
    assert sampled(1, *good) == [200] * 256
    others = [
        exchange(decision="limited", status=429),
        exchange(status=503),
        exchange(status=404),
        exchange(attempts=2, status=201),
        exchange(shadowed=("daily",), status=202),
        exchange(decision="client_left", status=0),
    ]
    assert sampled(0, *others) == [429, 503, 404, 201, 202, 0]


def test_a_client_cannot_choose_whether_it_is_logged() -> None:
    made = exchange(request_id=b"0" * 32)
    assert made.request is not None
    made.request.provenance = Provenance()
    made.request.provenance.fresh_id = b"f" * 32
    assert sampled(0.5, made) == []
