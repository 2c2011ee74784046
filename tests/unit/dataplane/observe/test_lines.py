"""The line that is written about an exchange: in its usual form, with chosen fields, and as a text."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.observe.line_format import COMBINED, read_format
from dataplane.observe.lines import Lines, make_lines
from dataplane.observe.log_fields import REQUEST
from dataplane.proxy.exchange import Exchange, Forwarding
from dataplane.proxy.messages import NO_IDENTITY, Context, Identity, Provenance
from tests.unit.dataplane.observe.exchanges import REQUEST_ID, exchange


def text(lines: Lines, made: Exchange) -> str:
    plan = made.plan or Forwarding("", "")
    found = lines.line(made, plan.route_name, plan.service_name, made.ended - made.started)
    assert found.endswith("\n")
    assert found.count("\n") == 1
    return found[:-1]


def line(made: Exchange) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(text(make_lines(None), made)))


def chosen(made: Exchange, *fields: str, redact: tuple[str, ...] = ()) -> dict[str, Any]:
    lines = make_lines(read_format("json", fields), redact)
    return cast(dict[str, Any], json.loads(text(lines, made)))


def written(made: Exchange, form: str, redact: tuple[str, ...] = ()) -> str:
    return text(make_lines(read_format(form), redact), made)


def asked(target: bytes = b"/orders/1", /, **headers: str) -> Exchange:
    """An exchange with this target and these headers."""
    made = exchange()
    assert made.request is not None
    made.request.target = target
    for name, value in headers.items():
        made.request.fields += [b"\r\n%b: " % name.replace("_", "-").encode(), value.encode()]
    return made


def test_the_line_of_a_forwarded_request() -> None:
    found = line(exchange())
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


def test_a_refusals_reason_is_in_the_line() -> None:
    assert line(exchange(decision="unavailable", reason='refused: "x"'))["reason"] == 'refused: "x"'
    assert "reason" not in line(exchange())


def test_the_line_of_a_request_that_could_not_be_read() -> None:
    bad = exchange(request=None, plan=None, endpoint=None, identity=NO_IDENTITY, status=400)
    found = line(bad)
    assert (found["method"], found["path"], found["route"], found["instance"], found["subject"]) == ("",) * 5


@pytest.mark.parametrize(
    "nasty", ['"', "\\", '","status":200,"x":"', "\n", "\x00", "ä", "\u2028", "</script>"]
)
def test_nothing_a_caller_sends_breaks_out_of_its_field(nasty: str) -> None:
    made = exchange(identity=Identity(nasty, frozenset()), status=404)
    assert made.request is not None
    made.request.path = f"/a{nasty}b"
    found = line(made)
    assert (found["path"], found["subject"], found["status"]) == (f"/a{nasty}b", nasty, 404)


def test_behind_a_trusted_proxy_the_client_is_who_it_says() -> None:
    assert line(exchange(address="203.0.113.9"))["client"] == "203.0.113.9"


def test_a_request_within_somebody_elses_trace_names_it() -> None:
    made = exchange()
    assert made.request is not None
    assert "trace_id" not in line(made)
    made.request.provenance = provenance = Provenance()
    assert "trace_id" not in line(made)
    provenance.context = Context(b"4bf92f3577b34da6a3ce929d0e0e4736", b"01")
    assert line(made)["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_limits_in_shadow_mode_are_named() -> None:
    assert line(exchange(shadowed=("trial", "daily")))["shadowed"] == "trial daily"
    assert "shadowed" not in line(exchange())


@given(
    reason=st.text(),
    subject=st.text(),
    path=st.text(),
    status=st.integers(0, 599),
    shadowed=st.lists(st.sampled_from(["trial", "daily"]), unique=True),
    traced=st.booleans(),
    read=st.booleans(),
)
def test_all_usual_fields_chosen_are_the_usual_line(
    reason: str, subject: str, path: str, status: int, shadowed: list[str], traced: bool, read: bool
) -> None:
    made = exchange(reason=reason, status=status, identity=Identity(subject, frozenset()))
    made.shadowed = tuple(shadowed)
    assert made.request is not None
    made.request.path = path
    if traced:
        made.request.provenance = provenance = Provenance()
        provenance.context = Context(b"4bf92f3577b34da6a3ce929d0e0e4736", b"01")
    if not read:
        made.request = made.endpoint = None
    usual, found = line(made), chosen(made, *REQUEST)
    assert list(found) == list(usual)
    # Each writer has compared the clocks itself, a moment apart.
    assert {**found, "time": ""} == {**usual, "time": ""}


def test_chosen_fields_come_in_their_order() -> None:
    made = asked(b"/orders/1?b=2", user_agent="curl/8", x_tenant="blue")
    fields = ("status", "query", "header:X-Tenant", "protocol", "scheme", "user_agent")
    assert list(chosen(made, *fields).items()) == [
        ("status", 200),
        ("query", "b=2"),
        ("header:x-tenant", "blue"),
        ("protocol", "HTTP/1.1"),
        ("scheme", "https"),
        ("user_agent", "curl/8"),
    ]


def test_a_request_that_could_not_be_read_has_empty_fields() -> None:
    bad = exchange(request=None, plan=None, endpoint=None, identity=NO_IDENTITY, status=400)
    fields = ("path", "query", "protocol", "user_agent", "referer", "header:x-tenant")
    assert chosen(bad, *fields) == dict.fromkeys(fields, "")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ""),
        ("page=2&token=abc&x", "page=2&token=***&x"),
        ("TOKEN=abc", "TOKEN=***"),
        ("to%6ben=abc", "to%6ben=***"),
        ("access_token=a=b&token=", "access_token=***&token=***"),
        ("tenant=blue&X-Amz-Signature=0af", "tenant=***&X-Amz-Signature=***"),
        ("token", "token"),
        ("q=token=abc", "q=token=abc"),
        ("page=2;token=abc;x=1", "page=2;token=***;x=1"),
        ("accessToken=abc&api-key=abc&+token=abc", "accessToken=***&api-key=***&+token=***"),
        ("user[password]=abc&user%5Bpassword%5D=abc", "user[password]=***&user%5Bpassword%5D=***"),
        ("token[]=abc&tokens=3", "token[]=***&tokens=3"),
        ("q=ä", "q=ä"),
    ],
)
def test_secrets_in_queries_are_not_shown(query: str, shown: str) -> None:
    assert chosen(asked(f"/orders?{query}".encode()), "query", redact=("Tenant",)) == {"query": shown}


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "Cookie", "proxy-authorization", "X-Api-Key", "X-Tenant-Key", "X-Auth-Token"),
        "Sec-WebSocket-Protocol",
    ],
)
def test_secrets_in_headers_are_not_shown(name: str) -> None:
    made = asked(b"/orders/1", **{name.replace("-", "_"): "s3cret"})
    assert chosen(made, f"header:{name}", redact=("x_tenant_key",)) == {f"header:{name.lower()}": "***"}
    assert chosen(exchange(), f"header:{name}") == {f"header:{name.lower()}": ""}


@pytest.mark.parametrize(
    ("referer", "shown"),
    [
        ("https://example.org/a?token=abc#b", "https://example.org/a"),
        ("https://user:s3cret@example.org/a", "https://example.org/a"),
        ("/a?token=abc", "/a"),
        ("https://[::1/a?token=abc", "https://[::1/a"),
        ("user:s3cret@example.org/a", "user:example.org/a"),
        ("https:/user:s3cret@example.org/a@b", "https:/example.org/a@b"),
    ],
)
def test_a_referer_has_no_query(referer: str, shown: str) -> None:
    made = asked(referer=referer)
    assert chosen(made, "referer", "header:referer") == {"referer": shown, "header:referer": shown}


@pytest.mark.parametrize("name", ["x-original-url", "X-Forwarded-Uri", "x-envoy-original-path"])
def test_an_address_that_a_proxy_adds_has_no_query(name: str) -> None:
    made = asked(**{name.replace("-", "_"): "/a?token=abc"})
    assert chosen(made, f"header:{name}") == {f"header:{name.lower()}": "/a"}


def test_the_combined_log() -> None:
    made = asked(b"/orders/1", user_agent="curl/8", referer="https://example.org/")
    found = written(made, "combined")
    assert found == written(made, COMBINED)
    at = datetime.fromisoformat(line(made)["time"]).strftime("%d/%b/%Y:%H:%M:%S +0000")
    assert found == (
        f'192.0.2.1 - testuser [{at}] "GET /orders/1 HTTP/1.1" 200 1024 "https://example.org/" "curl/8"'
    )


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (1_791_846_000.001, "12/Oct/2026:23:00:00 +0000"),
        (1_791_846_000.999, "12/Oct/2026:23:00:00 +0000"),
        (1_767_225_600.5, "01/Jan/2026:00:00:00 +0000"),
    ],
)
def test_the_time_of_the_combined_log(at: float, shown: str) -> None:
    lines, made = make_lines(read_format("{time_clf}")), exchange()
    with patch("time.time", return_value=at), patch("time.monotonic", return_value=made.ended):
        lines.set_clock()
    assert text(lines, made) == shown


def test_a_header_in_utf8_is_shown_as_its_own_bytes() -> None:
    made = asked(user_agent="ä")
    assert chosen(made, "user_agent") == {"user_agent": "ä"}
    assert written(made, "{user_agent}") == "\\xC3\\xA4"


def test_a_text_with_braces_and_without_values() -> None:
    made = exchange(identity=NO_IDENTITY, reason="")
    assert written(made, "{{{status}}} [{subject}]\t{reason}|{header:x-tenant}") == "{200} [-]\t-|-"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('a"b', "a\\x22b"),
        ("a\\b", "a\\x5Cb"),
        ("a\nb", "a\\x0Ab"),
        ("\x00", "\\x00"),
        ("ä", "\\xC3\\xA4"),
        ("a b", "a b"),
    ],
)
def test_in_a_text_no_value_ends_its_field_or_its_line(value: str, shown: str) -> None:
    assert written(exchange(identity=Identity(value, frozenset())), '"{subject}"') == f'"{shown}"'
