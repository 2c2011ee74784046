"""The spans of an exchange, as the generated classes read them."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from dataplane.gateway.backends import Backend
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.store import NoStore
from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.messages import Context, Provenance
from dataplane.telemetry import spans
from dataplane.telemetry.spans import SpanIds, SpanWriter
from tests.support.collector import texts
from tests.unit.dataplane.observe.exchanges import REQUEST_ID, exchange

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"


def traced(**fields: Any) -> Exchange:
    """A request that an instance answered, on a route of prefix /orders."""
    return exchange(**{"plan": plan(), "endpoint": instance("orders-1", 9001), **fields})


def plan(**route: Any) -> Plan:
    found = Route("orders", "orders", **(route or {"prefix": "/orders"}))
    return Plan(found, None, Backend("orders"), None, Limiter(), NoStore())


def instance(name: str, port: int) -> Any:
    spec = SimpleNamespace(host="10.0.0.1", port=port)
    return _Endpoint(id=name, instance=spec, authority=b"10.0.0.1:%d" % port, tls=None)


class _Endpoint(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]


def read(made: Exchange, writer: SpanWriter | None = None) -> list[Span]:
    data, count = (writer or SpanWriter()).spans(made, SpanIds(made))
    found = list(ScopeSpans.FromString(data).spans)
    assert len(found) == count
    return found


def test_a_forwarded_request_is_a_server_span_with_a_client_span_in_it() -> None:
    made = traced()
    made.request.fields = [b"\r\nUser-Agent: ", b"curl/8.1"]  # type: ignore[union-attr]
    server, client = read(made)
    assert (server.name, server.kind, server.trace_id.hex()) == ("GET /orders/*", 2, REQUEST_ID.decode())
    assert texts(server.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/orders/*",
        "url.path": "/orders/1",
        "url.scheme": "https",
        "network.protocol.version": "1.1",
        "server.address": "example.org",
        "client.address": "192.0.2.1",
        "user_agent.original": "curl/8.1",
        "headgate.decision": "forwarded",
        "headgate.revision": 41,
        "headgate.route": "orders",
        "headgate.service": "orders",
        "headgate.instance": "orders-1",
        "headgate.request_id": REQUEST_ID.decode(),
    }
    assert (client.name, client.kind, client.parent_span_id) == ("GET", 3, server.span_id)
    assert client.trace_id == server.trace_id and client.span_id.hex() == REQUEST_ID[16:].decode()
    assert texts(client.attributes) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "server.address": "10.0.0.1",
        "server.port": 9001,
        "url.full": "http://10.0.0.1:9001/orders/1",
        "headgate.service": "orders",
        "headgate.instance": "orders-1",
    }
    assert server.status.code == client.status.code == Status.STATUS_CODE_UNSET
    assert not server.parent_span_id and server.span_id not in (b"\0" * 8, client.span_id)


def test_times_are_those_of_the_exchange() -> None:
    made = traced()
    server, client = read(made)
    assert abs(server.start_time_unix_nano / 1e9 - time.time()) < 60
    assert abs(server.end_time_unix_nano - server.start_time_unix_nano - 3_000_000) < 1000
    assert abs(client.start_time_unix_nano - server.start_time_unix_nano - 1_000_000) < 1000
    assert client.end_time_unix_nano == server.end_time_unix_nano


def test_a_trace_goes_on_with_the_senders_span_as_parent() -> None:
    made = traced()
    assert made.request is not None
    made.request.provenance = provenance = Provenance()
    provenance.context, provenance.fresh_id = Context(TRACE, b"01", PARENT), b"f" * 16 + b"e" * 16
    provenance.tracestate = b"vendor=1"
    server, client = read(made)
    assert server.trace_id.hex() == client.trace_id.hex() == TRACE.decode()
    assert server.parent_span_id.hex() == PARENT.decode() and server.flags == 0x301
    assert client.span_id.hex() == "e" * 16 and client.flags == 0x101
    assert server.trace_state == client.trace_state == "vendor=1"


def test_each_request_has_another_server_span() -> None:
    ids = {SpanIds(traced(request_id=b"0" * 16 + b"%016x" % count)).server for count in range(1, 100)}
    assert len(ids) == 99 and b"\0" * 8 not in ids


@pytest.mark.parametrize(
    ("status", "server_error", "client_error"),
    [(200, "", ""), (404, "", "404"), (429, "", "429"), (500, "500", "500"), (503, "503", "503")],
)
def test_errors_of_a_server_are_5xx_and_those_of_a_client_are_4xx_too(
    status: int, server_error: str, client_error: str
) -> None:
    for span, error in zip(read(traced(status=status)), (server_error, client_error), strict=True):
        assert span.status.code == (Status.STATUS_CODE_ERROR if error else Status.STATUS_CODE_UNSET)
        assert texts(span.attributes).get("error.type", "") == error


def test_an_instance_that_does_not_answer() -> None:
    server, client = read(
        traced(status=504, decision="timed_out", reason="no response", result=Result.FAILED)
    )
    for span in (server, client):
        assert texts(span.attributes)["error.type"] == "timed_out"
        assert span.status.code == Status.STATUS_CODE_ERROR
    assert texts(server.attributes)["headgate.reason"] == "no response"
    assert "http.response.status_code" not in texts(client.attributes)


def test_a_response_that_is_cut_off_is_an_error_whatever_its_status() -> None:
    server, client = read(traced(result=Result.FAILED))
    assert texts(server.attributes)["error.type"] == texts(client.attributes)["error.type"] == "cut_off"
    assert server.status.code == Status.STATUS_CODE_ERROR


def test_a_refusal_has_no_client_span() -> None:
    refused = traced(
        status=429,
        decision="limited",
        reason="limit callers",
        sent_at=0.0,
        endpoint=None,
        shadowed=("a", "b"),
    )
    (server,) = read(refused)
    found = texts(server.attributes)
    assert (found["headgate.limit"], found["headgate.limits.shadowed"]) == ("callers", "a b")
    assert server.status.code == Status.STATUS_CODE_UNSET
    (server,) = read(traced(status=503, decision="circuit_open", sent_at=0.0, endpoint=None))
    assert texts(server.attributes)["headgate.breaker"] == "open"


def test_a_request_that_matches_nothing_or_cannot_be_read() -> None:
    (server,) = read(traced(plan=None, endpoint=None, sent_at=0.0, status=404, decision="not_found"))
    assert server.name == "GET" and "http.route" not in texts(server.attributes)
    (server,) = read(
        traced(plan=None, endpoint=None, sent_at=0.0, request=None, status=400, decision="bad_request")
    )
    assert server.name == "HTTP" and texts(server.attributes)["http.request.method"] == "_OTHER"


def test_a_route_is_named_by_what_it_matches() -> None:
    for route, name in (
        ({"path": "/a"}, "/a"),
        ({"pattern": "/a/[0-9]+"}, "/a/[0-9]+"),
        ({"prefix": "/"}, "/*"),
    ):
        server, _ = read(traced(plan=plan(**route)))
        assert server.name == f"GET {name}" and texts(server.attributes)["http.route"] == name


def test_a_method_that_the_conventions_do_not_know() -> None:
    made = traced()
    made.request.method = "PROPFIND"  # type: ignore[union-attr]
    server, client = read(made)
    assert (server.name, client.name) == ("HTTP /orders/*", "HTTP")
    found = texts(server.attributes)
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "PROPFIND")


def test_secrets_in_queries_are_not_shown() -> None:
    made = traced()
    made.request.target = b"/orders/1?page=2&token=abc&tenant=x"  # type: ignore[union-attr]
    server, client = read(made, SpanWriter(redact=("tenant",)))
    assert texts(server.attributes)["url.query"] == "page=2&token=***&tenant=***"
    assert str(texts(client.attributes)["url.full"]).endswith("/orders/1?page=2&token=***&tenant=***")


def test_retries_are_events_of_the_client_span() -> None:
    made = traced(attempts=2, tried=(instance("orders-2", 9002),), endpoint=instance("orders-1", 9001))
    made.failures = ((made.started + 0.0005, "connect"),)
    _, client = read(made)
    (event,) = client.events
    assert event.name == "headgate.retry"
    assert texts(event.attributes) == {"headgate.instance": "orders-2", "headgate.cause": "connect"}
    assert client.start_time_unix_nano <= event.time_unix_nano <= client.end_time_unix_nano
    assert texts(client.attributes)["http.request.resend_count"] == 1


def test_bytes_that_are_no_utf8_do_not_spoil_the_message() -> None:
    made = traced()
    assert made.request is not None
    made.request.fields = [b"\r\nuser-agent: ", b"\xff\xfe agent"]
    made.request.target, made.request.path = b"/orders/\xff?q=\xff", "/orders/\xff"
    server, client = read(made)
    assert texts(server.attributes)["user_agent.original"] == "\ufffd\ufffd agent"
    assert texts(server.attributes)["url.path"] == "/orders/\xff"
    assert texts(client.attributes)["url.full"] == "http://10.0.0.1:9001/orders/\ufffd?q=\ufffd"


def test_kinds_of_spans_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MOST_KINDS", 10)
    writer = SpanWriter()
    for status in range(200, 250):
        server, _ = read(traced(status=status), writer)
        assert texts(server.attributes)["http.response.status_code"] == status
    assert len(writer._server) <= 10


def test_a_new_revision_is_another_kind() -> None:
    writer = SpanWriter()
    read(traced(), writer)
    server, _ = read(traced(revision=42, plan=plan(path="/orders/1")), writer)
    assert (server.name, texts(server.attributes)["headgate.revision"]) == ("GET /orders/1", 42)


def test_a_tunnel_has_a_client_span_though_its_sending_time_is_unknown() -> None:
    made = traced(status=101, sent_at=0.0)
    made.streamed_at = made.ended
    assert [span.kind for span in read(made)] == [2, 3]


def test_neither_paths_nor_user_agents_give_secrets_away() -> None:
    made = traced()
    assert made.request is not None
    made.request.sent_path = "/cart;jsessionid=s3cret"
    made.request.target = b"/cart;jsessionid=s3cret?x=1"
    made.request.fields = [b"\r\nuser-agent: ", b"bot (https://bot.example/?token=s3cret)"]
    server, client = read(made)
    found = texts(server.attributes)
    assert texts(client.attributes)["url.full"] == "http://10.0.0.1:9001/cart;jsessionid=***?x=1"
    assert found["url.path"] == "/cart;jsessionid=***"
    assert found["user_agent.original"] == "bot (https://bot.example/?token=***"
