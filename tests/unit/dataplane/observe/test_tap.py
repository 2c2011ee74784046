"""Taps: which requests they show, how many, and what of them is never shown."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.observe.tap import LONGEST_FIELD, MOST_HEADERS, MOST_PER_SECOND, Filter, Tap, TappedRecorder
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.nobody import Nobody
from dataplane.proxy.parsed import read_head
from dataplane.proxy.trust import Peer, TrustedProxies

HEAD = (
    b"POST /a/b?token=secret1&page=2 HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer secret2\r\n"
    b"Cookie: secret3\r\nX-Tenant: secret4\r\nX-Two: one\r\nX-Two: two\r\nReferer: http://x/?secret5\r\n"
    b"Transfer-Encoding: chunked\r\nX-Long: " + b"v" * 1000 + b"\r\n\r\n"
)


class Behind:
    """The usual recorder."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []

    def finished(self, exchange: Exchange) -> None:
        self.seen.append(exchange)


def ended(status: int = 200, at: float = 10.0, head: bytes = HEAD, route: str = "a") -> Exchange:
    exchange = read_head(head, Nobody(Peer("203.0.113.9")), cast(Any, None), Bounds(), TrustedProxies(()))
    exchange.status, exchange.started, exchange.ended, exchange.decision = status, at - 0.5, at, "forwarded"
    exchange.plan = cast(Any, SimpleNamespace(route_name=route, service_name="orders"))
    return exchange


@pytest.fixture
def recorder() -> TappedRecorder:
    return TappedRecorder(Behind(), ("x-tenant",))


ANY = Filter()


def tapped(recorder: TappedRecorder, wanted: Filter = ANY, count: int = 1000, until: float = 99.0) -> Tap:
    tap = recorder.taps[f"{len(recorder.taps)}"] = Tap(wanted, count, until)
    return tap


def test_what_is_shown_and_what_is_not(recorder: TappedRecorder) -> None:
    tap = tapped(recorder)
    recorder.finished(ended(503))
    (line,), skipped = tap.take()
    shown = json.loads(line)
    assert "secret" not in line.replace("***", "") and not skipped
    assert (shown["method"], shown["path"], shown["query"]) == ("POST", "/a/b", "token=***&page=2")
    assert (shown["status"], shown["route"], shown["client"], shown["duration_us"]) == (
        503,
        "a",
        "203.0.113.9",
        500_000,
    )
    assert shown["headers"] == {
        "host": "a.example",
        "authorization": "***",
        "cookie": "***",
        "x-tenant": "***",
        "x-two": "one, two",
        "referer": "http://x/",
        "transfer-encoding": "chunked",
        "x-long": "v" * 255 + "…",
    }
    assert tap.take() == ([], 0)


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (Filter(), 3),
        (Filter(route="a"), 2),
        (Filter(service="other"), 0),
        (Filter(least_status=500, most_status=599), 1),
        (Filter(route="b", least_status=200, most_status=299), 1),
    ],
)
def test_filters(recorder: TappedRecorder, wanted: Filter, shown: int) -> None:
    tap = tapped(recorder, wanted)
    for exchange in (ended(), ended(500), ended(route="b")):
        recorder.finished(exchange)
    assert len(tap.take()[0]) == shown


def test_bounds(recorder: TappedRecorder) -> None:
    rate, few, over = tapped(recorder), tapped(recorder, count=2), tapped(recorder, until=10.0)
    for number in range(2 * MOST_PER_SECOND):
        recorder.finished(ended(at=10.0 + number / 100))
    recorder.finished(ended(at=11.5))
    assert [(len(shown), skipped) for shown, skipped in (rate.take(), few.take(), over.take())] == [
        (MOST_PER_SECOND + 1, MOST_PER_SECOND),
        (2, 2 * MOST_PER_SECOND - 1),
        (0, 2 * MOST_PER_SECOND + 1),
    ]
    assert few.ended(0.0) and over.ended(10.0) and not rate.ended(98.0)
    behind = recorder._behind
    assert isinstance(behind, Behind) and len(behind.seen) == 2 * MOST_PER_SECOND + 1


def test_what_is_long_is_cut(recorder: TappedRecorder) -> None:
    """Twenty heads a second with paths of 64 KiB would fill the way to an operator."""
    tap = tapped(recorder)
    target = b"/" + b"p" * 3_000 + b"?q=" + b"v" * 3_000
    recorder.finished(
        ended(head=b"GET " + target + b" HTTP/1.1\r\nHost: a.example\r\nX-Callback: /a?token=x\r\n\r\n")
    )
    (line,), _ = tap.take()
    shown = json.loads(line)
    assert len(line) < 6000 and (len(shown["path"]), len(shown["query"])) == (LONGEST_FIELD, LONGEST_FIELD)
    assert shown["path"].endswith("p…") and shown["headers"]["x-callback"] == "/a?token=***"


def test_heads_that_are_none_and_very_many_headers(recorder: TappedRecorder) -> None:
    tap = tapped(recorder)
    recorder.finished(ended(head=b"nonsense\r\n\r\n"))
    many = b"".join(b"X-%d: y\r\n" % number for number in range(100))
    recorder.finished(ended(head=b"GET / HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n"))
    first, second = (json.loads(line) for line in tap.take()[0])
    assert first["headers"] == {} and len(second["headers"]) == MOST_HEADERS
