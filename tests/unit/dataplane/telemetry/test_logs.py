"""Log records: of requests, and of the service's own log."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs, SeverityNumber

from dataplane.proxy.exchange import Exchange
from dataplane.proxy.messages import Context, Provenance
from dataplane.telemetry import access_records
from dataplane.telemetry.access_records import RecordWriter
from dataplane.telemetry.service_log import ServiceLog
from dataplane.telemetry.spans import SpanIds
from tests.support.collector import texts
from tests.unit.dataplane.observe.exchanges import REQUEST_ID
from tests.unit.dataplane.telemetry.test_spans import TRACE, traced


def read(made: Exchange, *, sampled: bool = True, writer: RecordWriter | None = None) -> LogRecord:
    (record,) = ScopeLogs.FromString((writer or RecordWriter()).record(made, sampled)).log_records
    return record


def test_a_request() -> None:
    made = traced()
    record = read(made)
    assert (record.severity_text, record.event_name) == ("info", "headgate.request")
    assert record.body.string_value == "GET /orders/* 200 forwarded"
    assert (record.trace_id.hex(), record.span_id) == (REQUEST_ID.decode(), SpanIds(made).server)
    assert record.time_unix_nano == record.observed_time_unix_nano and record.flags == 1
    found = texts(record.attributes)
    assert 2990 <= int(found.pop("headgate.duration_us")) <= 3000
    assert found == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.request.body.size": 7,
        "http.response.body.size": 1024,
        "http.route": "/orders/*",
        "url.path": "/orders/1",
        "url.scheme": "https",
        "network.protocol.version": "1.1",
        "server.address": "example.org",
        "client.address": "192.0.2.1",
        "user.id": "testuser",
        "headgate.decision": "forwarded",
        "headgate.revision": 41,
        "headgate.route": "orders",
        "headgate.service": "orders",
        "headgate.instance": "orders-1",
        "headgate.request_id": REQUEST_ID.decode(),
    }


def test_a_request_within_the_trace_of_its_sender() -> None:
    made = traced()
    assert made.request is not None
    made.request.provenance = provenance = Provenance()
    provenance.context = Context(TRACE, b"00", b"1" * 16)
    record = read(made, sampled=False)
    assert record.trace_id.hex() == TRACE.decode() and record.flags == 0


@pytest.mark.parametrize(("status", "severity"), [(200, "info"), (404, "info"), (503, "error")])
def test_severity(status: int, severity: str) -> None:
    assert read(traced(status=status)).severity_text == severity


def test_a_head_that_cannot_be_read_and_many_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_records, "MOST_KINDS", 3)
    writer = RecordWriter()
    for status in range(400, 410):
        unread = traced(request=None, plan=None, endpoint=None, status=status, decision="bad_request")
        assert texts(read(unread, writer=writer).attributes)["http.response.status_code"] == status
    assert len(writer._kinds) <= 3


# --- the service's log


def written(log: ServiceLog, **fields: Any) -> LogRecord:
    found: list[bytes] = []
    log._receive = found.append
    log.handle(logging.makeLogRecord({"name": "dataplane.x", "levelno": logging.WARNING, **fields}))
    (record,) = ScopeLogs.FromString(b"".join(found)).log_records
    return record


def test_a_line_of_the_log() -> None:
    log = ServiceLog(lambda line: None, worker=1)
    record = written(
        log, levelname="WARNING", msg="circuit opened after %d", args=(5,), revision=7, problems=["a"]
    )
    assert record.severity_number == SeverityNumber.SEVERITY_NUMBER_WARN
    assert record.body.string_value == "circuit opened after 5" and record.severity_text == "warning"
    assert texts(record.attributes) == {
        "headgate.logger": "dataplane.x",
        "headgate.worker": 1,
        "headgate.revision": 7,
        "headgate.problems": "['a']",
    }


def test_an_exception() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = written(ServiceLog(lambda line: None), msg="failed", exc_info=sys.exc_info())
    found = texts(record.attributes)
    assert (found["exception.type"], found["exception.message"]) == ("ValueError", "bad")
    assert str(found["exception.stacktrace"]).endswith("ValueError: bad")


def test_what_cannot_be_written_breaks_nothing() -> None:
    log = ServiceLog(lambda line: None)
    log.handle(logging.makeLogRecord({"msg": "%d", "args": ("x",), "levelno": 20}))
    assert written(log, msg="\ud800 %s", args=(2**70,), huge=2**70).body.string_value == f"? {2**70}"
