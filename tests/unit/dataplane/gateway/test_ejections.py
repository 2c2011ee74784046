"""Ejection of instances in whole requests: what the service's breaker hears, and when an ejection ends."""

from __future__ import annotations

from dataplane.gateway.policy.resources import Instance, Retries, Service
from dataplane.proxy.exchange import Result
from tests.unit.dataplane.gateway.line import BASE, ONE, PUBLIC, TWO, Line, circuit_of, serve


def test_one_sick_instance_of_two_is_ejected_and_the_breaker_stays_closed() -> None:
    line = Line(*BASE, TWO, PUBLIC)
    assert sorted(serve(line, "1", 10)) == ["1"] * 5 + ["2"] * 5
    assert line.gateway.backends.ejected() == ["orders/1"]
    assert serve(line, "1", 100) == ["2"] * 100
    assert circuit_of(line) == "closed"


def test_the_breaker_judges_what_is_left() -> None:
    line = Line(*BASE, TWO, PUBLIC)
    serve(line, "1", 10)
    serve(line, "2", 10)
    assert circuit_of(line) == "open" and line.gateway.backends.ejected() == ["orders/1"]


def test_the_only_instance_is_not_ejected() -> None:
    line = Line(*BASE, PUBLIC)
    serve(line, "1", 10)
    assert circuit_of(line) == "open" and line.gateway.backends.ejected() == []


def test_requests_that_were_under_way_fail_at_the_ejected_instance_not_at_the_service() -> None:
    line = Line(*BASE, TWO, PUBLIC)
    under_way = [line.ask()[1] for _ in range(100)]
    for exchange in under_way:
        assert exchange.endpoint is not None
        line.end(exchange, Result.FAILED if exchange.endpoint.id == "1" else Result.ANSWERED)
    assert circuit_of(line) == "closed" and line.gateway.backends.ejected() == ["orders/1"]


def test_an_ejected_instance_returns_on_probation() -> None:
    line = Line(*BASE, TWO, PUBLIC)
    serve(line, "1", 10)
    assert sorted(serve(line, "", 4, now=30.0)) == ["1", "1", "2", "2"]
    assert line.gateway.backends.ejected() == []


def test_ejections_are_carried_over_changes() -> None:
    line = Line(*BASE, TWO, PUBLIC)
    serve(line, "1", 10)
    three = Instance("orders", "3", "127.0.0.1", 83)
    line.swap(*BASE, TWO, three, PUBLIC)
    assert set(serve(line, "", 4)) == {"2", "3"}
    line.gateway.set_health(frozenset({"orders/2"}))
    assert set(serve(line, "", 4)) == {"3"}


def test_what_fails_at_an_instance_that_has_left_is_charged_to_nobody() -> None:
    """Neither to the one that has its name now, nor to the service."""
    line = Line(*BASE, TWO, PUBLIC)
    under_way = [line.ask()[1] for _ in range(20)]
    line.swap(*BASE[:1], Instance("orders", "1", "127.0.0.1", 91), TWO, PUBLIC)
    for exchange in under_way:
        assert exchange.endpoint is not None
        if exchange.endpoint.id == "1":
            line.end(exchange, Result.FAILED)
    assert line.gateway.backends.ejected() == [] and circuit_of(line) == "closed"


def test_an_ejection_ends_where_nobody_else_is_left() -> None:
    line = Line(*BASE, TWO, PUBLIC)
    serve(line, "1", 10)
    line.gateway.set_health(frozenset({"orders/2"}))
    assert serve(line, "", 2) == ["1", "1"]


def test_a_failed_attempt_counts_though_a_retry_saves_the_request() -> None:
    service = Service("orders", retries=Retries(attempts=1, on=frozenset({"connect"})))
    line = Line(service, ONE, TWO, PUBLIC)
    while not line.gateway.backends.ejected():
        refusal, exchange = line.ask()
        assert refusal is None and exchange.endpoint is not None
        if exchange.endpoint.id == "1":
            assert line.gateway.retry(exchange, "connect", 0.0) is not None
        line.end(exchange)
    assert circuit_of(line) == "closed"
