"""The time and the tries of a request, from route and service. Sources: Gateway API, HTTPRouteTimeouts (GEP-1742) and
HTTPRouteRetry (GEP-1731)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.resources import Retries, Service, Timeouts
from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.messages import IDEMPOTENT
from tests.unit.dataplane.gateway.explaining import explained, step
from tests.unit.dataplane.gateway.line import ONE, TWO, Line, circuit_of, orders

SERVICE = Service("orders", timeouts=Timeouts(connect=4, response=15, idle=300, total=60))
ALL = frozenset({"connect", "reset", "timeout", "429", "503"})


def line(*instances: Any, service: Service = SERVICE, **fields: Any) -> Line:
    return Line(service, *(instances or (ONE,)), orders(public=True, scopes=frozenset(), **fields))


def sent(gate: Line, method: bytes = b"GET") -> tuple[Exchange, Plan]:
    refusal, exchange = gate.ask(method=method)
    assert refusal is None and isinstance(exchange.plan, Plan)
    return exchange, exchange.plan


TIMES: list[tuple[dict[str, Any], float, float, float]] = [
    # of the route; then request, try, and response's head
    ({}, 60, 0, 15),
    ({"timeout": 3.0}, 60, 0, 3),
    # "Request specifies the maximum duration for a gateway to respond to an HTTP request"
    ({"request_timeout": 5.0}, 5, 0, 5),
    # … also where that is longer than what the service is given by default.
    ({"request_timeout": 100.0}, 100, 0, 100),
    # "Setting a timeout to the zero duration SHOULD disable the timeout completely"
    ({"request_timeout": 0.0}, 0, 0, 15),
    # "BackendRequest specifies a timeout for an individual request from the gateway to a backend"
    ({"try_timeout": 2.0}, 60, 2, 2),
    ({"request_timeout": 5.0, "try_timeout": 2.0}, 5, 2, 2),
    ({"request_timeout": 5.0, "try_timeout": 2.0, "timeout": 1.0}, 5, 2, 1),
]


@pytest.mark.parametrize(("fields", "whole", "each", "head"), TIMES)
def test_times(fields: dict[str, Any], whole: float, each: float, head: float) -> None:
    plan = sent(line(**fields))[1]
    assert (plan.total_timeout, plan.try_timeout, plan.response_timeout) == (whole, each, head)
    assert (plan.connect_timeout, plan.idle_timeout) == (4, 300)


def test_retries_of_the_route_replace_those_of_the_service() -> None:
    service = replace(SERVICE, retries=Retries(3, ALL))
    plan = sent(line(service=service))[1]
    assert (plan.retries, plan.replayed) == (service.retries, IDEMPOTENT)
    off = sent(line(service=service, retries=Retries(0, ALL)))[1]
    assert not off.retries.attempts and not off.replayed
    some = sent(line(retries=Retries(1, frozenset({"503"}), methods=frozenset({"POST"}))))[1]
    assert some.replayed == {"POST"} and not some.retries_refusals


def test_no_body_is_kept_where_only_connecting_is_repeated() -> None:
    assert not sent(line(retries=Retries(3)))[1].replayed


REPEATED = [
    # method, cause, methods of the route, whether it is sent again
    (b"GET", "503", (), True),
    # RFC 9110, 9.2.2: not automatically, unless the method is idempotent, or it is known to be safe.
    (b"POST", "503", (), False),
    (b"POST", "503", ("GET", "POST"), True),
    (b"PUT", "503", ("GET", "POST"), False),
    # Nothing was sent.
    (b"POST", "connect", (), True),
    # "codes": any from 400 to 599.
    (b"GET", "429", (), True),
    (b"GET", "404", (), False),
    (b"GET", "timeout", (), True),
]


@pytest.mark.parametrize(("method", "cause", "methods", "again"), REPEATED)
def test_which_requests_are_sent_again(
    method: bytes, cause: str, methods: tuple[str, ...], again: bool
) -> None:
    gate = line(ONE, TWO, retries=Retries(1, ALL, methods=frozenset(methods)))
    exchange, _ = sent(gate, method)
    first = exchange.endpoint
    assert (gate.gateway.retry(exchange, cause, 0.0) is not None) is again
    assert (exchange.endpoint is not first) is again


def test_a_route_s_retries_may_go_to_the_only_instance_after_a_wait() -> None:
    gate = line(retries=Retries(2, ALL))
    exchange, _ = sent(gate)
    gate.gateway._retrier._chance = lambda: 1.0
    waits = [gate.gateway.retry(exchange, "connect", 0.0) for _ in range(3)]
    assert waits == [0.025, 0.05, None]
    assert exchange.endpoint is not None and exchange.endpoint.in_flight == 1
    assert exchange.attempts == 3


def test_a_service_s_retries_need_another_instance() -> None:
    gate = line(service=replace(SERVICE, retries=Retries(2, ALL)))
    exchange, _ = sent(gate)
    assert gate.gateway.retry(exchange, "connect", 0.0) is None


def test_untried_instances_come_first() -> None:
    gate = line(ONE, TWO, retries=Retries(3, ALL))
    exchange, _ = sent(gate)
    went = [exchange.endpoint]
    for _ in range(3):
        assert gate.gateway.retry(exchange, "503", 0.0) is not None
        went.append(exchange.endpoint)
    names = [endpoint.id for endpoint in went if endpoint is not None]
    assert len(set(names[:2])) == 2 and names[2:] == names[:2]


def test_a_refused_request_is_no_failure_of_its_instance() -> None:
    gate = line(ONE, TWO, retries=Retries(1, ALL))
    for _ in range(10):
        exchange, _ = sent(gate)
        assert gate.gateway.retry(exchange, "429", 0.0) is not None
        exchange.status = 429
        gate.end(exchange, Result.ANSWERED)
    assert not gate.gateway.backends.ejected() and circuit_of(gate) == "closed"


def test_the_budget_is_that_of_the_service() -> None:
    service = replace(SERVICE, retries=Retries(0, frozenset(), budget=0.0))
    gate = line(ONE, TWO, service=service, retries=Retries(1, ALL))
    saved = 0
    for _ in range(20):
        exchange, _ = sent(gate)
        saved += gate.gateway.retry(exchange, "503", 0.0) is not None
        gate.end(exchange)
    assert saved == 10


def test_a_client_that_leaves_during_a_try_is_no_failure() -> None:
    gate = line(try_timeout=1.0)
    for _ in range(10):
        exchange, _ = sent(gate)
        gate.end(exchange, Result.ABANDONED)
    assert circuit_of(gate) == "closed"


def test_the_explanation() -> None:
    retries = Retries(2, frozenset({"connect", "503"}), backoff=0.1)
    told = step(explained(line(request_timeout=10.0, try_timeout=3.0, retries=retries)), "tries")
    assert told.text == (
        "The request has 10 s in all and 3 s for each try. It is sent at most 2 times more, on 503, connect."
    )
    assert (told.details["response_timeout"], told.details["retries"]["of"]) == (3.0, "route")
    plain = step(explained(line(service=replace(SERVICE, timeouts=Timeouts()))), "tries")
    assert plain.text == (
        "The request has no limit in all and none for each try. It is sent at most once more, on connect."
    )
    assert plain.details["retries"] == {
        "attempts": 1,
        "on": ["connect"],
        "backoff": 0.0,
        "methods": ["any"],
        "budget": 0.2,
        "of": "service",
    }
