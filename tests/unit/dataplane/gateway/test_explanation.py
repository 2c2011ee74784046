"""Explanations: the right step refuses for the right reason, and nothing changes in the gateway."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from dataplane.config.table import Item, ResourceSet, UnlinkedRoute, build
from dataplane.gateway.explained_steps import _STAGES_OF
from dataplane.gateway.policy.addresses import AddressLists
from dataplane.gateway.policy.authenticate import Unauthenticated
from dataplane.gateway.policy.compression import Compression
from dataplane.gateway.policy.conditions import Condition, Conditions
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.forwarding import Forwarding, Redirect, Respond, Share
from dataplane.gateway.policy.in_redis import InRedis
from dataplane.gateway.policy.leased import Leased
from dataplane.gateway.policy.resources import (
    Circuit,
    Limit,
    LimitKey,
    LimitMode,
    Route,
    Service,
    StoreFailure,
    User,
)
from dataplane.gateway.policy.router import AmbiguousPath
from dataplane.gateway.policy.too_many import TooMany, Unanswered
from dataplane.gateway.policy.window import Naming
from dataplane.gateway.redis_checks import Uncounted
from dataplane.gateway.refusals import TABLE
from dataplane.proxy.errors import (
    BadResponse,
    ClientStalled,
    Exhausted,
    TimedOut,
    TooManyConnections,
    Unavailable,
)
from dataplane.proxy.exchange import Result
from headgate_api.leases.messages import Answer
from tests.unit.dataplane.gateway.explaining import explained, step, stopped
from tests.unit.dataplane.gateway.line import (
    ALICE,
    BASE,
    BY_ADDRESS,
    BY_SUBJECT,
    ONE,
    PUBLIC,
    SCOPE,
    TWO,
    VERIFIED_BY,
    Line,
    orders,
    token,
)

ON_HOST = UnlinkedRoute(Route("on-host", "orders", prefix="/orders", hosts=("b.example",), public=True))
WRITES = UnlinkedRoute(
    Route("writes", "orders", prefix="/orders/1", methods=frozenset({"POST"}), public=True)
)


def test_a_request_that_passes() -> None:
    told = explained(Line(*BASE, BY_ADDRESS, BY_SUBJECT, orders("by-address", "by-subject")), token=ALICE)
    assert (told.status, told.decision, told.route, told.instance) == (0, "forwarded", "orders", "1")
    assert not stopped(told)
    limits = step(told, "early_limits").details["limits"]
    assert [(one["name"], one["key"], one["remaining"]) for one in limits] == [
        ("by-address", "address:203.0.113.9", 2.0)
    ]
    assert step(told, "late_limits").details["limits"][0]["key"] == "subject:alice"
    assert step(told, "token").details["subject"] == "alice"
    assert step(told, "breaker").details["state"] == "closed"
    assert step(told, "instance").details["instances"] == [
        {"id": "1", "weight": 1, "in_flight": 0, "state": "picked"}
    ]


@pytest.mark.parametrize(
    ("items", "asked", "stage", "status", "said"),
    [
        ([orders()], {"path": "/none"}, "route", 404, "No route matches"),
        (
            [orders(methods=frozenset({"GET"}))],
            {"method": b"PUT"},
            "route",
            405,
            "none of them takes the method",
        ),
        ([orders()], {}, "token", 401, "no bearer token"),
        ([orders()], {"token": "nonsense"}, "token", 401, "malformed"),
        ([orders()], {"token": token(lifetime=-60)}, "token", 401, "expired"),
        ([orders()], {"token": token("mallory")}, "user", 401, "does not exist"),
        ([orders()], {"token": token(scopes="other")}, "scopes", 403, "Missing: orders:read"),
        ([orders(max_body_bytes=1)], {"token": ALICE, "length": 2}, "body", 413, "allows 1"),
        ([orders()], {"method": b"FOO"}, "request", 501, "Invalid method"),
    ],
)
def test_refusals(items: list[Item], asked: dict[str, Any], stage: str, status: int, said: str) -> None:
    asked = dict(asked)
    length = asked.pop("length", 0)
    fields = [(b"Content-Length", str(length).encode())] if length else []
    told = explained(Line(*BASE, *items), asked.pop("path", "/orders/1"), *fields, **asked)
    assert (stopped(told), told.status) == (stage, status)
    assert said in step(told, stage).text
    after = [one.outcome for one in told.steps[[one.stage for one in told.steps].index(stage) + 1 :]]
    assert set(after) <= {"not_reached"}


ACCESS = Forwarding(
    cors=Cors(origins=frozenset({"https://a.example"}), methods=("GET",)),
    addresses=AddressLists(deny=(ip_network("203.0.113.10/32"),)),
)
PREFLIGHT = ((b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", b"GET"))


def test_what_cors_and_address_lists_answer() -> None:
    line = Line(*BASE, BY_ADDRESS, UnlinkedRoute(orders(forwarding=ACCESS).route, ("by-address",)))
    told = explained(line, "/orders/1", address="203.0.113.10")
    assert (stopped(told), told.status, told.route) == ("route", 403, "orders")
    told = explained(line, "/orders/1", *PREFLIGHT, method=b"OPTIONS")
    assert (step(told, "action").outcome, told.status, told.route) == ("answered", 204, "orders")
    assert step(told, "early_limits").details["limits"][0]["name"] == "by-address"
    assert step(told, "route").details["lost"] == []
    other = (b"Origin", b"https://b.example")
    told = explained(line, "/orders/1", other, PREFLIGHT[1], method=b"OPTIONS")
    assert (stopped(told), told.status) == ("action", 403)


def test_every_answer_of_a_decision_has_a_stage() -> None:
    """Without one, the explanation of such a request would fail."""
    of_several = {Unauthenticated, AmbiguousPath, TooMany, Unanswered, Uncounted}
    after = {ClientStalled, TooManyConnections, Exhausted, Unavailable, BadResponse, TimedOut}
    assert {*TABLE} - of_several - after == {*_STAGES_OF}


def test_a_disabled_user() -> None:
    line = Line(Service("orders"), ONE, User("alice", SCOPE, disabled=True), VERIFIED_BY, orders())
    told = explained(line, token=ALICE)
    assert stopped(told) == "user" and step(told, "user").details["disabled"] is True


def test_a_limit_that_refuses_and_takes_nothing() -> None:
    line = Line(*BASE, BY_ADDRESS, PUBLIC, orders("by-address", public=True))
    for _ in range(2):
        assert line.ask()[0] is None
    for _ in range(3):
        told = explained(line)
        assert (stopped(told), told.status) == ("early_limits", 429)
        assert step(told, "early_limits").details["limits"][0]["retry_after"] == pytest.approx(1.0, abs=0.01)
    counter = line.gateway.limiter.counter(BY_ADDRESS)
    assert counter.remaining("203.0.113.9", 0.0) == 0.0 and not counter.refused("203.0.113.9")
    assert line.ask(now=1.0)[0] is None


def test_a_shadow_limit() -> None:
    shadow = Limit("shadow", 1, 1, LimitKey.ADDRESS, enforced=0)
    line = Line(*BASE, shadow, orders("shadow", public=True))
    line.ask()
    told = explained(line)
    assert not stopped(told) and "shadow" in step(told, "early_limits").text


def test_a_bound_of_requests_under_way() -> None:
    bound = Limit("bound", 0, 0, LimitKey.ADDRESS, max_concurrent=1)
    line = Line(*BASE, bound, orders("bound", public=True))
    assert step(explained(line), "early_limits").details["limits"][0]["under_way"] == 0
    _, exchange = line.ask()
    told = explained(line)
    assert stopped(told) == "early_limits"
    assert step(told, "early_limits").details["limits"][0]["under_way"] == 1
    line.end(exchange)
    assert not stopped(explained(line))


def test_a_limit_in_redis_that_is_away() -> None:
    limit = Limit(
        "shared", 1, 2, LimitKey.ADDRESS, mode=LimitMode.REDIS, on_store_failure=StoreFailure.CLOSED
    )
    told = explained(Line(*BASE, limit, orders("shared", public=True)))
    assert (stopped(told), told.status) == ("early_limits", 503)
    assert "does not answer" in step(told, "early_limits").text


class FakeRedis:
    """A store that answers when a test says so."""

    def __init__(self) -> None:
        self.naming = Naming()
        self.asked: list[Any] = []

    def ask(self, question: Any, now: float) -> bool:
        self.asked.append(question)
        return True

    def want(self, limits: Any) -> None:
        pass


def test_a_limit_in_redis_is_as_it_was_last_seen() -> None:
    limit = Limit("shared", 1, 2, LimitKey.ADDRESS, mode=LimitMode.REDIS)
    line, redis = Line(*BASE, limit, orders("shared", public=True)), FakeRedis()
    line.gateway.use_store(redis)
    told = explained(line)
    assert not redis.asked and not stopped(told)
    assert step(told, "early_limits").details["limits"][0]["as_of_last_answer"] is True
    counter = line.gateway.limiter.counter(limit)
    assert isinstance(counter, InRedis)
    counter.saw("203.0.113.9", 0.0, 9.0, refused=True)
    told = explained(line)
    assert (stopped(told), told.status) == ("early_limits", 429)
    assert explained(line, address="203.0.113.10").status == 0
    assert not redis.asked and counter.refused("203.0.113.9") == 1


def test_a_limit_whose_tokens_are_leased() -> None:
    limit = Limit("fleet", 10, 20, LimitKey.ADDRESS, mode=LimitMode.FLEET)
    line = Line(*BASE, limit, orders("fleet", public=True))
    told = explained(line)
    assert (stopped(told), told.status) == ("early_limits", 503), "no owner has answered yet"
    leased = line.gateway.limiter.counter(limit)
    assert isinstance(leased, Leased)
    ask = leased.holder.ask(0.0)
    assert ask is not None
    leased.holder.answer(Answer(stamp=ask.stamp, epoch=1, starter=2, pace=1.0, lease=5.0, grants=()), 0.0)
    for left in (2, 1, 0):
        before = {key: one.tokens for key, one in leased.holder.holdings.items()}
        assert {explained(line).status for _ in range(3)} == {0 if left else 429}
        assert {key: one.tokens for key, one in leased.holder.holdings.items()} == before
        assert (line.ask()[0] is None) == (left > 0)
    assert leased.admitted == 2.0


def test_an_open_breaker_and_its_trial() -> None:
    circuit = Circuit(failure_threshold=2, min_throughput=2, recovery_timeout=10.0)
    line = Line(
        Service("orders", circuit=circuit), ONE, User("alice", SCOPE), VERIFIED_BY, orders(public=True)
    )
    for _ in range(2):
        _, exchange = line.ask()
        line.end(exchange, Result.FAILED)
    told = explained(line, now=1.0)
    assert (stopped(told), told.status) == ("breaker", 503)
    assert step(told, "breaker").details["retry_after"] == 9.0
    before = line.gateway.breakers.report(11.0)
    for _ in range(3):
        told = explained(line, now=11.0)
        assert not stopped(told) and "trial" in step(told, "breaker").text
    assert line.gateway.breakers.report(11.0) == before
    assert line.ask(now=11.0)[0] is None


def test_instances_that_are_not_picked() -> None:
    line = Line(*BASE, TWO, orders(public=True))
    line.gateway.set_health(frozenset({"orders/1"}))
    told = explained(line)
    states = {one["id"]: one["state"] for one in step(told, "instance").details["instances"]}
    assert told.instance == "2" and states == {"1": "unhealthy", "2": "picked"}
    line.gateway.set_health(frozenset({"orders/1", "orders/2"}))
    assert (stopped(explained(line)), explained(line).status) == ("instance", 503)


def test_the_turn_of_a_balancer_stays() -> None:
    line = Line(*BASE, TWO, orders(public=True))
    for _ in range(5):
        expected = {explained(line).instance for _ in range(3)}
        _, exchange = line.ask()
        assert exchange.endpoint is not None and expected == {exchange.endpoint.id}
        assert exchange.endpoint.in_flight == 1
        line.end(exchange)


def test_no_instance_at_all() -> None:
    line = Line(Service("orders"), User("alice", SCOPE), VERIFIED_BY, orders(public=True))
    assert stopped(explained(line)) == "service"


def test_routes_that_lost() -> None:
    line = Line(*BASE, orders(public=True), ON_HOST, WRITES)
    lost = step(explained(line), "route").details["lost"]
    assert [(one["name"], one["reason"]) for one in lost] == [
        ("writes", "its methods are POST"),
        ("on-host", "its hosts are b.example"),
    ]
    lost = step(explained(line, host=b"b.example"), "route").details["lost"]
    assert {one["name"]: one["reason"] for one in lost}["orders"] == "host b.example comes before every host"
    lost = step(explained(line, method=b"POST"), "route").details["lost"]
    assert lost[0]["reason"] == "path /orders/1/* comes before"
    lost = step(explained(line, "/ordres"), "route").details["lost"]
    assert ("orders", "its path is /orders/*") in [(one["name"], one["reason"]) for one in lost]


def test_conditions_that_are_not_met() -> None:
    tenants = Conditions((Condition("x-tenant", "t7"),), (Condition("page"),))
    line = Line(
        *BASE,
        orders(public=True),
        UnlinkedRoute(Route("tenant", "orders", prefix="/orders", public=True, conditions=tenants)),
        UnlinkedRoute(Route("old", "orders", prefix="/orders", public=True, created=9)),
    )
    lost = step(explained(line), "route").details["lost"]
    reasons = {one["name"]: one["reason"] for one in lost}
    assert reasons["tenant"] == "not met: header x-tenant, query parameter page"
    assert reasons["old"] == "route orders is older, or its name comes before"
    told = explained(line, "/orders?page=1", (b"X-Tenant", b"t7"))
    assert told.route == "tenant"
    lost = step(told, "route").details["lost"]
    assert {one["reason"] for one in lost} == {"route tenant has more conditions"}


def test_routes_that_answer_by_themselves() -> None:
    own = Forwarding(respond=Respond(200, b"hello", "text/plain"))
    told = explained(Line(*BASE, orders(public=True, forwarding=own)))
    assert (told.status, told.decision, told.detail) == (200, "responded", "")
    assert step(told, "action").outcome == "answered" and not stopped(told)
    elsewhere = Forwarding(redirect=Redirect(status=301, host="b.example"))
    told = explained(Line(*BASE, orders(public=True, forwarding=elsewhere)))
    assert told.status == 301
    assert step(told, "action").details == {"location": "http://b.example/orders/1"}


def test_shares_stay_where_they_are() -> None:
    shares = Forwarding(shares=(Share("orders", 1), Share("", 1)))
    line = Line(*BASE, orders(public=True, forwarding=shares))
    seen = set()
    for _ in range(10):
        told = {explained(line).status for _ in range(3)}
        refusal, exchange = line.ask()
        assert told == {0 if refusal is None else 500}
        seen |= told
        line.end(exchange)
    assert seen == {0, 500}


def test_no_token_is_cached_and_none_is_shown() -> None:
    line = Line(*BASE, orders())
    told = explained(line, token=ALICE)
    assert line.gateway._authenticator.known(f"Bearer {ALICE}", 0.0) is None
    assert ALICE not in repr(told) and ALICE.rsplit(".", 1)[-1] not in repr(told)


def test_another_table() -> None:
    line = Line(*BASE, orders(public=True))
    other = build(ResourceSet.of(*BASE, TWO, BY_ADDRESS, orders("by-address")), 7)
    told = explained(line, table=other)
    assert (told.revision, stopped(told)) == (7, "token")
    assert step(told, "early_limits").details["limits"][0]["remaining"] == 2.0
    told = explained(line, table=other, token=ALICE)
    assert step(told, "instance").details["candidates"] == 2
    assert line.gateway.table.revision == 1 and line.ask()[0] is None


@pytest.mark.parametrize(
    ("accept", "outcome", "coding"), [(b"br, gzip", "passed", "br"), (b"deflate", "skipped", None)]
)
def test_the_coding_of_the_response(accept: bytes, outcome: str, coding: str | None) -> None:
    rules = Forwarding(compression=Compression(("br", "gzip"), ("text/*",), 100))
    line = Line(*BASE, orders(public=True, scopes=frozenset(), forwarding=rules))
    found = step(explained(line, "/orders/1", (b"Accept-Encoding", accept)), "compression")
    assert (found.outcome, found.details) == (outcome, {"encoding": coding, "min_bytes": 100})
    assert step(explained(Line(*BASE, PUBLIC)), "compression").outcome == "skipped"
