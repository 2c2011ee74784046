"""What is counted of an exchange, and the line that is written about it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.observe.access import AccessLog
from dataplane.observe.record import Recorder
from dataplane.observe.stats import LATENCY_BOUNDS
from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.proxy.messages import NO_IDENTITY, Context, Identity, Provenance, Request

REQUEST_ID = b"0123456789abcdef0123456789abcdef"


def exchange(**fields: Any) -> Exchange:
    """A request to /orders/1 that was forwarded and answered within 3 ms."""
    request = Request()
    request.method, request.host, request.path = "GET", "example.org", "/orders/1"
    request.provenance = request.sent_path = None
    client = SimpleNamespace(address="192.0.2.1")
    made = Exchange(cast(Any, client), request, REQUEST_ID)
    made.started = time.monotonic()
    made.sent_at, made.ended = made.started + 0.001, made.started + 0.003
    made.status, made.decision, made.revision = 200, "forwarded", 41
    made.plan = Forwarding("orders", "orders")
    made.endpoint = cast(Any, SimpleNamespace(id="orders-1"))
    made.identity = Identity("testuser", frozenset())
    made.received, made.sent, made.attempts = 7, 1024, 1
    for name, value in fields.items():
        setattr(made, name, value)
    return made


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


def line(recorder: Recorder, made: Exchange) -> dict[str, Any]:
    plan = made.plan or Forwarding("", "")
    text = recorder.line(made, plan.route_name, plan.service_name, made.ended - made.started)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    return cast(dict[str, Any], json.loads(text))


def test_the_line_of_a_forwarded_request(recorder: Recorder) -> None:
    found = line(recorder, exchange())
    at = time.strptime(found.pop("time"), "%Y-%m-%dT%H:%M:%S.%fZ")
    assert abs(time.mktime(at) - time.mktime(time.gmtime())) < 5
    assert 2990 <= found.pop("duration_us") <= 3010
    assert found == {
        "request_id": REQUEST_ID.decode(),
        "client": "192.0.2.1",
        "method": "GET",
        "host": "example.org",
        "path": "/orders/1",
        "status": 200,
        "decision": "forwarded",
        "revision": 41,
        "route": "orders",
        "service": "orders",
        "instance": "orders-1",
        "subject": "testuser",
        "attempts": 1,
        "received": 7,
        "sent": 1024,
    }


def test_a_refusals_reason_is_in_the_line(recorder: Recorder) -> None:
    assert line(recorder, exchange(decision="unavailable", reason='refused: "x"'))["reason"] == 'refused: "x"'
    assert "reason" not in line(recorder, exchange())


def test_what_limits_would_have_refused_is_marked_and_counted(recorder: Recorder) -> None:
    assert line(recorder, exchange(shadowed=("trial", "daily")))["shadowed"] == "trial daily"
    assert "shadowed" not in line(recorder, exchange())
    for shadowed in (("trial",), ("trial", "daily"), ()):
        recorder.finished(exchange(shadowed=shadowed))
    assert recorder.report()["shadowed"] == {"trial": 2, "daily": 1}
    assert recorder.report()["shadowed"] == {}


def test_attempts_after_the_first_are_counted_by_service(recorder: Recorder) -> None:
    for attempts in (1, 2, 4):
        recorder.finished(exchange(attempts=attempts))
    assert recorder.report()["retries"] == {"orders": 4}
    assert recorder.report()["retries"] == {}


def test_the_line_of_a_request_that_could_not_be_read(recorder: Recorder) -> None:
    bad = exchange(request=None, plan=None, endpoint=None, identity=NO_IDENTITY, status=400)
    found = line(recorder, bad)
    assert (found["method"], found["path"], found["route"], found["instance"], found["subject"]) == ("",) * 5


@pytest.mark.parametrize(
    "nasty", ['"', "\\", '","status":200,"x":"', "\n", "\x00", "ä", "\u2028", "</script>"]
)
def test_nothing_a_caller_sends_breaks_out_of_its_field(recorder: Recorder, nasty: str) -> None:
    made = exchange(identity=Identity(nasty, frozenset()), status=404)
    assert made.request is not None
    made.request.path = f"/a{nasty}b"
    found = line(recorder, made)
    assert (found["path"], found["subject"], found["status"]) == (f"/a{nasty}b", nasty, 404)


def test_behind_a_trusted_proxy_the_client_is_who_it_says(recorder: Recorder) -> None:
    assert line(recorder, exchange(address="203.0.113.9"))["client"] == "203.0.113.9"


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


def test_a_request_within_somebody_elses_trace_names_it(recorder: Recorder) -> None:
    made = exchange()
    assert made.request is not None
    assert "trace_id" not in line(recorder, made)
    made.request.provenance = provenance = Provenance()
    assert "trace_id" not in line(recorder, made)
    provenance.context = Context(b"4bf92f3577b34da6a3ce929d0e0e4736", b"01")
    assert line(recorder, made)["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
