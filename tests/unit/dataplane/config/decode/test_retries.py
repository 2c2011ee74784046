"""Time-outs and retries of routes, from the wire."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dataplane.config.decode import decode
from dataplane.config.table import UnlinkedRoute
from dataplane.gateway.policy.resources import Retries, Route
from headgate_api.v1 import resources_pb2 as pb
from tests.support import wire
from tests.unit.dataplane.config.decode.test_resource import problems


def route(**fields: Any) -> Route:
    item = decode(wire.route("orders", "orders", **fields))
    assert isinstance(item, UnlinkedRoute)
    return item.route


def test_what_is_absent_is_of_the_service() -> None:
    made = route()
    assert (made.request_timeout, made.try_timeout, made.retries) == (None, 0.0, None)


def test_everything() -> None:
    wanted = pb.RouteRetries(attempts=10, on=["reset", "429"], backoff=0.5, methods=["POST"])
    made = route(request_timeout=5, try_timeout=2, retries=wanted)
    assert (made.request_timeout, made.try_timeout) == (5, 2)
    assert made.retries == Retries(10, frozenset({"reset", "429"}), backoff=0.5, methods=frozenset({"POST"}))
    # No limit, instead of that of the service.
    assert route(request_timeout=0).request_timeout == 0
    # Retries that are switched off.
    assert route(retries=pb.RouteRetries()).retries == Retries(0, frozenset())


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"request_timeout": -1}, "request_timeout"),
        ({"request_timeout": math.inf}, "request_timeout"),
        ({"try_timeout": math.nan}, "try_timeout"),
        ({"retries": pb.RouteRetries(attempts=11)}, "retries.attempts"),
        ({"retries": pb.RouteRetries(on=["connect", "399"])}, "retries.on[1]"),
        ({"retries": pb.RouteRetries(on=["refused-stream"])}, "retries.on[0]"),
        ({"retries": pb.RouteRetries(backoff=61)}, "retries.backoff"),
        ({"retries": pb.RouteRetries(methods=["get"])}, "retries.methods[0]"),
    ],
)
def test_a_route_that_cannot_be_used(fields: dict[str, Any], wrong: str) -> None:
    assert list(problems(wire.route("orders", "orders", **fields))) == [wrong]
