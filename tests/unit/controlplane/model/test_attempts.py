"""Time-outs and retries of routes: what is accepted, and in which words everything else is refused."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.resources import parse
from controlplane.model.route import Route
from tests.unit.controlplane.model.raw_resources import check_accepted, check_refused, route

GOOD: list[dict[str, Any]] = [
    route(request_timeout=10, try_timeout=3),
    route(request_timeout=3, try_timeout=3),
    # Gateway API, HTTPRouteTimeouts: zero disables a time-out.
    route(request_timeout=0, try_timeout=30),
    route(request_timeout=5, try_timeout=0),
    route(try_timeout=0.5, timeout=0.2),
    route(retries={}),
    route(retries={"attempts": 0}),
    route(
        retries={"attempts": 10, "on": ["connect", "reset", "timeout", 404, 429, 500, 599], "backoff": 0.1}
    ),
    route(retries={"on": ["503"], "methods": ["GET", "POST"]}),
    # The bare word in YAML 1.1.
    route(retries={True: ["reset"]}),
]


@pytest.mark.parametrize("raw", GOOD)
def test_accepted(raw: dict[str, Any]) -> None:
    check_accepted("route", raw)


BAD: list[tuple[dict[str, Any], str, str]] = [
    (route(request_timeout=-1), "request_timeout", "must be at least 0"),
    (route(request_timeout=86_401), "request_timeout", "must be at most 86400"),
    (route(try_timeout="1s"), "try_timeout", "must be a number, not a string"),
    # Gateway API, HTTPRouteTimeouts: backendRequest must be at most request.
    (
        route(request_timeout=2, try_timeout=3),
        "try_timeout",
        "must be at most request_timeout, which is 2",
    ),
    (route(retries={"attempts": 11}), "retries.attempts", "must be at most 10"),
    (route(retries={"attempts": -1}), "retries.attempts", "must be at least 0"),
    (route(retries={"backoff": 0}), "retries.backoff", "must be at least 0.001"),
    (route(retries={"methods": ["CONNECT"]}), "retries.methods[0]", ""),
    (route(retries={"methods": ["GET", "GET"]}), "retries.methods", "'GET' is there twice"),
    (route(retries={"on": [503, "503"]}), "retries.on", "503 is there twice"),
    (route(retries={"budget": 0.5}), "retries.budget", "unknown field"),
]


@pytest.mark.parametrize(("raw", "field", "detail"), BAD)
def test_refused(raw: dict[str, Any], field: str, detail: str) -> None:
    check_refused("route", raw, field, detail)


@pytest.mark.parametrize("condition", [399, 600, "gateway-error", True, None])
def test_unknown_conditions_are_refused(condition: object) -> None:
    check_refused(
        "route",
        route(retries={"on": ["connect", condition]}),
        "retries.on[1]",
        "must be connect, reset, timeout, or a status from 400 to 599",
    )


def test_what_is_left_out_is_of_the_service() -> None:
    made = parse("route", route())
    assert isinstance(made, Route)
    assert (made.request_timeout, made.try_timeout, made.retries) == (None, None, None)
    own = parse("route", route(retries={}))
    assert isinstance(own, Route) and own.retries is not None
    assert (own.retries.attempts, own.retries.on, own.retries.backoff) == (1, ("connect",), None)


def test_statuses_may_be_quoted() -> None:
    made = parse("route", route(retries={"on": ["503", 429]}))
    assert isinstance(made, Route) and made.retries is not None
    assert made.retries.on == (503, 429)
