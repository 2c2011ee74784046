"""Which instances of a service get requests: health, draining, bounds, and what a change rebuilds."""

from __future__ import annotations

from dataplane.config.table import ResourceSet, evolve
from dataplane.gateway.policy.resources import Instance, Service, User
from dataplane.proxy.errors import NoneHealthy, NotRegistered, Saturated
from dataplane.proxy.exchange import Result
from tests.unit.dataplane.gateway.line import (
    ALICE,
    BASE,
    PUBLIC,
    SCOPE,
    TWO,
    VERIFIED_BY,
    Line,
    orders,
    serve,
)


def test_a_full_service_refuses_at_once_and_its_breaker_hears_nothing() -> None:
    line = Line(Service("orders", max_in_flight=1), *BASE[1:], orders())
    refusal, first = line.ask(token=ALICE)
    assert refusal is None
    refused, second = line.ask(token=ALICE)
    assert refused == Saturated("orders") and second.trial is None
    line.end(second)
    assert line.ask(token=ALICE)[0] == Saturated("orders")
    line.end(first)
    assert line.ask(token=ALICE)[0] is None


def test_a_bound_that_comes_later_counts_from_then_on() -> None:
    line = Line(*BASE, orders())
    _, before = line.ask(token=ALICE)
    line.swap(Service("orders", max_in_flight=1), *BASE[1:], orders())
    _, after = line.ask(token=ALICE)
    line.end(before)
    assert line.ask(token=ALICE)[0] == Saturated("orders")
    line.end(after)
    assert line.ask(token=ALICE)[0] is None


def test_no_instances() -> None:
    line = Line(Service("orders"), User("alice", SCOPE), VERIFIED_BY, orders())
    assert line.ask(token=ALICE)[0] == NotRegistered("orders")


def test_no_healthy_instances() -> None:
    line = Line(*BASE, orders())
    line.gateway.set_health(frozenset({"orders/1"}))
    refusal, exchange = line.ask(token=ALICE)
    assert isinstance(refusal, NoneHealthy) and refusal.service == "orders" and refusal.retry_after == 30.0
    # It is no answer of the service's, so the breaker must not take it for a failure.
    line.end(exchange, Result.ABANDONED)
    assert [report.failed_requests for report in line.gateway.breakers.report(0.0)] == [0]
    line.gateway.set_health(frozenset())
    assert line.ask(token=ALICE)[0] is None


def test_draining_instances_get_nothing() -> None:
    leaving = Instance("orders", "1", "127.0.0.1", 81, draining=True)
    line = Line(Service("orders"), leaving, TWO, User("alice", SCOPE), VERIFIED_BY, orders())
    for _ in range(4):
        _, exchange = line.ask(token=ALICE)
        assert exchange.endpoint is not None and exchange.endpoint.id == "2"


def test_turns_are_taken() -> None:
    line = Line(*BASE, TWO, orders())
    picked = [exchange.endpoint.id for _ in range(4) if (exchange := line.ask(token=ALICE)[1]).endpoint]
    assert sorted(picked) == ["1", "1", "2", "2"]


# --- changes cost what they change


def test_a_flip_of_health_makes_only_its_own_services_balancer_anew() -> None:
    line = Line(*BASE, TWO, Service("payments"), Instance("payments", "1", "127.0.0.1", 91), PUBLIC)
    before = {name: line.gateway.backends.get(name).balancer for name in ("orders", "payments")}
    line.gateway.set_health(frozenset({"orders/1"}))
    after = {name: line.gateway.backends.get(name).balancer for name in ("orders", "payments")}
    assert after["payments"] is before["payments"] and after["orders"] is not before["orders"]


def test_so_does_a_registration() -> None:
    items = (*BASE, Service("payments"), Instance("payments", "1", "127.0.0.1", 91), PUBLIC)
    line = Line(*items)
    before = {name: line.gateway.backends.get(name).balancer for name in ("orders", "payments")}
    resources = ResourceSet.of(*items, TWO)
    line.gateway.swap(evolve(line.gateway.table, resources, [("instance", "orders/2")], 2, ""), 0.0)
    after = {name: line.gateway.backends.get(name).balancer for name in ("orders", "payments")}
    assert after["payments"] is before["payments"] and after["orders"] is not before["orders"]
    assert set(serve(line, "", 4)) == {"1", "2"}


def test_a_service_that_is_gone_and_back_starts_anew() -> None:
    line = Line(*BASE, TWO, PUBLIC)
    serve(line, "1", 10)
    line.swap()
    line.swap(*BASE, TWO, PUBLIC)
    assert set(serve(line, "", 4)) == {"1", "2"}
