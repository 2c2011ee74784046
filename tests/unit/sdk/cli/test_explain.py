"""`headgate explain` and `headgate tap`: what is asked, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from typer.testing import Result

from headgate.cli.event_stream import events_of
from tests.support.fake_admin import FakeAdmin

Run = Callable[..., Result]

STEPS: list[dict[str, Any]] = [
    {
        "stage": "route",
        "outcome": "passed",
        "text": "Route orders matches and is preferred.",
        "details": {
            "name": "orders",
            "lost": [
                {"name": "writes", "prefix": "/orders/new", "reason": "its methods are POST"},
                {"name": "whole", "path": "/orders", "reason": "its hosts are b.example"},
            ],
            "more_lost": 3,
        },
        "of_now": [],
    },
    {
        "stage": "early_limits",
        "outcome": "refused",
        "text": "Limit callers refuses the request.",
        "details": {
            "limits": [
                {
                    "name": "callers",
                    "key": "address:203.0.113.9",
                    "remaining": 0.25,
                    "burst": 10,
                    "retry_after": 0.75,
                },
                {"name": "bound", "key": "address:203.0.113.9", "under_way": 2, "most_here": 3},
            ]
        },
        "of_now": ["tokens in buckets", "requests under way"],
    },
    {
        "stage": "late_limits",
        "outcome": "not_reached",
        "text": "The request is answered before.",
        "details": {},
    },
    {
        "stage": "instance",
        "outcome": "not_reached",
        "text": "The request is answered before.",
        "details": {
            "instances": [
                {"id": "1", "state": "ejected", "returns_in": 12.5, "weight": 1, "in_flight": 0},
                {"id": "2", "state": "candidate", "weight": 2, "in_flight": 1},
            ]
        },
    },
]
FOUND: dict[str, Any] = {
    "dataplane": "gateway-1",
    "worker": 0,
    "revision": 42,
    "status": 429,
    "decision": "limited",
    "detail": "Too many requests",
    "reason": "limit callers",
    "route": "orders",
    "service": "orders",
    "instance": None,
    "steps": STEPS,
}


class Asked:
    """Answers every request, and keeps the last one."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.request: httpx.Request | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        return self.answer

    @property
    def body(self) -> Any:
        assert self.request is not None
        return json.loads(self.request.content)


@pytest.fixture
def asked(admin: FakeAdmin, logged_in: Run) -> Asked:
    admin.override = asked = Asked(httpx.Response(200, json=FOUND))
    return asked


def test_an_explanation(asked: Asked, run: Run) -> None:
    done = run(
        "explain",
        "get",
        "/orders",
        "-H",
        "X-Key: k",
        "--header",
        "x-key:l",
        "--at",
        "42",
        "--dataplane",
        "gw",
    )
    assert done.exit_code == 0, done.output
    assert asked.body == {
        "method": "GET",
        "url": "/orders",
        "headers": {"X-Key": "k", "x-key": "l"},
        "client": "127.0.0.1",
        "at": 42,
        "dataplane": "gw",
    }
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert said[0] == "GET /orders gets 429: Too many requests"
    assert said[1] == "Data plane gateway-1, worker 0, revision 42"
    for line in (
        "early_limits refused Limit callers refuses the request.",
        "late_limits not reached The request is answered before.",
        "writes /orders/new/* its methods are POST",
        "whole /orders its hosts are b.example",
        "3 more",
        "Of now, and not of revision 42: tokens in buckets, requests under way",
        "callers address:203.0.113.9 0.25 of 10 0.75 s",
        "bound address:203.0.113.9 1 of 3 under way",
        "1 ejected, 12.5 s left 1 0",
        "2 candidate 2 1",
    ):
        assert line in said


def test_a_request_that_is_forwarded(asked: Asked, run: Run) -> None:
    asked.answer = httpx.Response(200, json={**FOUND, "status": None, "instance": "orders-1"})
    said = run("explain", "GET", "/orders").stdout.splitlines()[0]
    assert said == "GET /orders is forwarded to instance orders-1 of service orders"


def test_a_token_from_standard_input(asked: Asked, run: Run) -> None:
    done = run("explain", "GET", "/orders", "--token", "-", "-o", "json", input="abc.def\n")
    assert asked.body["token"] == "abc.def" and json.loads(done.stdout) == FOUND
    assert "abc.def" not in done.output
    assert run("explain", "GET", "/orders", "--token", "-", input="").exit_code == 2


def test_headers_that_are_none(asked: Asked, run: Run) -> None:
    done = run("explain", "GET", "/orders", "-H", "secret")
    assert done.exit_code == 2 and "secret" not in done.output and asked.request is None


def stream(*events: tuple[str, Any]) -> httpx.Response:
    text = "".join(f"event: {kind}\ndata: {json.dumps(data)}\n\n: alive\n\n" for kind, data in events)
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


REQUEST = {
    "dataplane": "gateway-1",
    "time": "2026-01-02T03:04:05.678Z",
    "status": 503,
    "method": "GET",
    "host": "a.example",
    "path": "/orders",
    "query": "token=***",
    "route": "orders",
    "service": "orders",
    "instance": "1",
    "decision": "unavailable",
    "reason": "connection refused",
    "duration_us": 1500,
    "headers": {"cookie": "***"},
}
END = ("end", {"shown": 1, "skipped": 4, "problems": {"gateway-2": "It has disconnected"}})


def test_a_tap(asked: Asked, run: Run) -> None:
    asked.answer = stream(("begin", {"dataplanes": ["gateway-1"]}), ("request", REQUEST), END)
    done = run("tap", "--service", "orders", "--status", "5xx", "-n", "3", "--for", "9")
    assert done.exit_code == 0, done.output
    assert asked.request is not None and dict(asked.request.url.params) == {
        "service": "orders",
        "status": "5xx",
        "count": "3",
        "seconds": "9",
    }
    assert " ".join(done.stdout.split()) == (
        "2026-01-02T03:04:05.678Z 503 GET a.example/orders?token=*** orders -> orders/1 1.5 ms unavailable "
        "(connection refused)"
    )
    assert done.stderr.splitlines() == [
        "headgate: data plane gateway-2: It has disconnected",
        "headgate: 4 more requests matched and are not shown",
    ]
    assert json.loads(run("tap", "-o", "json").stdout) == REQUEST


def test_a_tap_without_the_scope(asked: Asked, run: Run) -> None:
    challenge = 'Bearer realm="headgate", error="insufficient_scope", scope="gateway:tap"'
    headers = {"WWW-Authenticate": challenge}
    asked.answer = httpx.Response(403, json={"detail": "Not enough permissions"}, headers=headers)
    done = run("tap")
    assert done.exit_code == 1 and "user admin lacks the scope gateway:tap" in done.stderr


def test_events_in_pieces() -> None:
    lines = ["event: a", 'data: {"x":', "data: 1}", "", ": comment", "", "data: none", "", "data: 2", ""]
    assert list(events_of(lines)) == [("a", {"x": 1}), ("message", 2)]
