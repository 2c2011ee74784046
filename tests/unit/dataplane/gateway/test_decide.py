"""The request line: the order of its decisions, and that whatever it took is given back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from joserfc import jwk

from dataplane.gateway.policy.authenticate import INVALID, MISSING, Unauthenticated
from dataplane.gateway.policy.authorize import Forbidden
from dataplane.gateway.policy.resources import Circuit, Limit, LimitKey, Service, User, VerificationKey
from dataplane.gateway.policy.router import MethodNotAllowed, NotFound
from dataplane.gateway.policy.too_many import TooMany
from dataplane.proxy.errors import CircuitOpen, TooLarge
from dataplane.proxy.exchange import Result
from dataplane.proxy.messages import NO_IDENTITY
from tests.unit.dataplane.gateway.line import (
    ALICE,
    BASE,
    BY_ADDRESS,
    BY_FIELD,
    BY_ROUTE,
    BY_SUBJECT,
    ONE,
    PUBLIC,
    SCOPE,
    TWO,
    VERIFIED_BY,
    Line,
    orders,
    response_timeout,
    sent,
    serve,
    token,
)


def test_a_request_that_may_pass() -> None:
    line = Line(*BASE, orders())
    refusal, exchange = line.ask(token=ALICE)
    assert refusal is None and exchange.endpoint is not None and exchange.endpoint.in_flight == 1
    assert exchange.plan is not None and exchange.plan.service_name == "orders"
    assert (exchange.decision, exchange.revision, exchange.identity.subject) == ("forwarded", 1, "alice")
    assert exchange.identity.scopes == SCOPE and sent(exchange) == b"/orders/1"
    line.end(exchange)
    assert exchange.endpoint.in_flight == 0 and line.observer.exchanges == [exchange]


def test_no_route() -> None:
    assert isinstance(Line(*BASE, orders()).ask("/ordersx")[0], NotFound)


def test_no_such_method() -> None:
    refusal, exchange = Line(*BASE, orders(methods=frozenset({"GET"}))).ask(method=b"PUT", token=ALICE)
    assert refusal == MethodNotAllowed(("GET",)) and exchange.plan is None


def test_no_token() -> None:
    assert Line(*BASE, orders()).ask()[0] == MISSING


@pytest.mark.parametrize("sent", ["nonsense", token(lifetime=-60), token("mallory"), ALICE[:-4] + "AAAA"])
def test_bad_tokens(sent: str) -> None:
    assert Line(*BASE, orders()).ask(token=sent)[0] == INVALID


def test_too_few_scopes() -> None:
    refusal, _ = Line(*BASE, orders()).ask(token=token(scopes="other"))
    assert isinstance(refusal, Forbidden) and refusal.missing == SCOPE


def test_scopes_that_were_taken_away_are_gone_at_once() -> None:
    line = Line(*BASE, orders())
    assert line.ask(token=ALICE)[0] is None
    line.swap(Service("orders"), ONE, User("alice", frozenset()), VERIFIED_BY, orders())
    assert isinstance(line.ask(token=ALICE)[0], Forbidden)
    line.swap(Service("orders"), ONE, User("alice", SCOPE, disabled=True), VERIFIED_BY, orders())
    assert line.ask(token=ALICE)[0] == INVALID


def test_a_public_route_asks_nobody() -> None:
    line = Line(*BASE, orders(scopes=frozenset(), public=True))
    for text in ("", "nonsense"):
        refusal, exchange = line.ask(token=text)
        assert refusal is None and exchange.identity is NO_IDENTITY


def test_the_default_limit_comes_before_everything_but_the_route() -> None:
    line = Line(*BASE, orders(), default=BY_ADDRESS)
    assert [type(line.ask()[0]) for _ in range(3)] == [Unauthenticated, Unauthenticated, TooMany]
    assert line.ask(address="203.0.113.10")[0] == MISSING
    assert isinstance(line.ask("/none")[0], NotFound)


@pytest.mark.parametrize("limit", [BY_ADDRESS, BY_FIELD, BY_ROUTE])
def test_coarse_limits_come_before_the_token(limit: Limit) -> None:
    line = Line(*BASE, limit, orders(limit.name))
    answers = [line.ask("/orders", (b"X-Key", b"k"))[0] for _ in range(3)]
    assert [type(answer) for answer in answers] == [Unauthenticated, Unauthenticated, TooMany]


def test_limits_by_subject_come_after_the_scopes() -> None:
    line = Line(*BASE, User("bob", SCOPE), BY_SUBJECT, orders("by-subject"))
    for _ in range(5):
        assert isinstance(line.ask(token=token(scopes=""))[0], Forbidden)
    assert [line.ask(token=ALICE)[0] for _ in range(2)] == [None, None]
    refusal, _ = line.ask(token=token())
    assert isinstance(refusal, TooMany) and refusal.limit == BY_SUBJECT
    assert line.ask(token=token("bob"))[0] is None
    assert line.ask(token=ALICE, now=1.0)[0] is None


def test_a_refusal_after_the_token_takes_nothing_from_the_limits_before_it() -> None:
    """Only a limit gives back: whoever is refused for the token or the scopes has used the limits before that."""
    wide = Limit("wide", 0.001, 100, LimitKey.ADDRESS)
    line = Line(*BASE, BY_SUBJECT, wide, orders("wide", "by-subject"))
    left = line.gateway.limiter.counter(wide)
    for _ in range(10):
        line.ask(token=ALICE)
    assert round(left.remaining("203.0.113.9", 0.0)) == 98
    assert isinstance(line.ask()[0], Unauthenticated)
    assert isinstance(line.ask(token=token(scopes=""))[0], Forbidden)
    assert round(left.remaining("203.0.113.9", 0.0)) == 96


def test_large_bodies() -> None:
    line = Line(*BASE, orders(max_body_bytes=10))
    assert line.ask("/orders", (b"Content-Length", b"10"), token=ALICE, method=b"POST")[0] is None
    refusal, _ = line.ask("/orders", (b"Content-Length", b"11"), token=ALICE, method=b"POST")
    assert refusal == TooLarge(10)
    assert isinstance(line.ask("/orders", (b"Content-Length", b"11"), method=b"POST")[0], Unauthenticated)


def test_an_open_breaker() -> None:
    circuit = Circuit(failure_threshold=2, min_throughput=2, recovery_timeout=10.0)
    line = Line(Service("orders", circuit=circuit), ONE, User("alice", SCOPE), VERIFIED_BY, orders())
    for _ in range(2):
        _, exchange = line.ask(token=ALICE)
        line.end(exchange, Result.FAILED)
    refusal, exchange = line.ask(token=ALICE, now=4.0)
    assert refusal == CircuitOpen("orders", 6.0)
    line.end(exchange, Result.ABANDONED, now=4.0)
    # Once it may be tried again, one request is let through, and what becomes of it decides.
    refusal, probe = line.ask(token=ALICE, now=10.5)
    assert refusal is None
    assert isinstance(line.ask(token=ALICE, now=10.6)[0], CircuitOpen)
    line.end(probe, Result.ANSWERED, now=11.0)
    assert line.ask(token=ALICE, now=11.0)[0] is None


def test_the_breaker_comes_before_the_choice_and_after_the_limits() -> None:
    circuit = Circuit(failure_threshold=1, min_throughput=1)
    line = Line(
        Service("orders", circuit=circuit),
        ONE,
        User("alice", SCOPE),
        VERIFIED_BY,
        BY_SUBJECT,
        orders("by-subject"),
    )
    _, exchange = line.ask(token=ALICE)
    line.end(exchange, Result.FAILED)
    line.gateway.set_health(frozenset({"orders/1"}))
    assert isinstance(line.ask(token=ALICE)[0], CircuitOpen)
    assert isinstance(line.ask(token=ALICE)[0], TooMany)


def test_state_survives_a_new_table() -> None:
    circuit = Circuit(failure_threshold=1, min_throughput=1)
    base = (Service("orders", circuit=circuit), ONE, User("alice", SCOPE), VERIFIED_BY, BY_ADDRESS)
    line = Line(*base, orders("by-address"))
    _, exchange = line.ask(token=ALICE)
    line.end(exchange, Result.FAILED)
    line.swap(*base, orders("by-address", strip_prefix=True))
    assert isinstance(line.ask(token=ALICE)[0], CircuitOpen)
    assert isinstance(line.ask(token=ALICE)[0], TooMany)


def test_a_new_key_set_forgets_what_the_old_one_vouched_for() -> None:
    line = Line(*BASE, orders())
    assert line.ask(token=ALICE)[0] is None
    other = jwk.ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"}, private=True)
    replaced = VerificationKey("k1", json.dumps(other.as_dict(private=False)), "headgate", "headgate")
    line.swap(Service("orders"), ONE, User("alice", SCOPE), replaced, orders())
    assert line.ask(token=ALICE)[0] == INVALID


@pytest.mark.parametrize(
    ("fields", "path", "target"),
    [
        ({}, "/orders/a?b", b"/orders/a?b"),
        ({"strip_prefix": True}, "/orders/a?b", b"/a?b"),
        ({"strip_prefix": True}, "/orders", b"/"),
        ({"rewrite": "/v2"}, "/orders/a?b=/orders", b"/v2/a?b=/orders"),
    ],
)
def test_rewriting(fields: dict[str, Any], path: str, target: bytes) -> None:
    _, exchange = Line(*BASE, orders(**fields)).ask(path, token=ALICE)
    assert sent(exchange) == target


def test_one_identity_serves_every_request_of_a_token() -> None:
    line = Line(*BASE, orders())
    first, second = (line.ask(token=ALICE)[1].identity for _ in range(2))
    assert first is second
    line.swap(Service("orders"), ONE, User("alice", SCOPE | {"x"}), VERIFIED_BY, orders())
    assert line.ask(token=ALICE)[1].identity is not first


@pytest.mark.parametrize(
    ("offered", "allowed"),
    [(b"websocket", ("websocket",)), (b"a, b, websocket", ("b",)), (b"a", ()), (None, ())],
)
def test_one_protocol_that_the_route_lists_is_offered(
    offered: bytes | None, allowed: tuple[str, ...]
) -> None:
    line = Line(*BASE, orders(upgrades=frozenset({"websocket", "b"})))
    fields = [] if offered is None else [(b"Connection", b"upgrade"), (b"Upgrade", offered)]
    request = line.ask("/orders", *fields, token=ALICE)[1].request
    assert request is not None and request.upgrade == allowed


def test_a_routes_own_time_limit() -> None:
    assert response_timeout(orders()) == 15.0
    assert response_timeout(orders(timeout=2.5)) == 2.5


def test_an_exchange_that_was_refused_gives_nothing_back_twice() -> None:
    line = Line(*BASE, orders())
    _, exchange = line.ask()
    line.end(exchange, Result.ABANDONED)
    assert exchange.trial is None and exchange.endpoint is None
    assert [report.total_requests for report in line.gateway.breakers.report(0.0)] == [0]


def test_a_change_that_cannot_be_put_in_force_leaves_the_table_before() -> None:
    line = Line(*BASE, PUBLIC)
    bad = VerificationKey("k2", "{}", "headgate", "headgate")
    with pytest.raises(ValueError, match="k2"):
        line.swap(Service("orders"), TWO, bad)
    assert line.gateway.table.revision == 1
    assert serve(line, "", 2) == ["1", "1"]


def test_a_refusal_leaves_nothing_under_way_even_if_the_client_does_not_read_it() -> None:
    """Otherwise requests that cost nothing take the places that all callers of a route share."""
    shared = Limit("shared", 0, 0, LimitKey.ROUTE, max_concurrent=1)
    line = Line(*BASE, User("bob", SCOPE), shared, BY_SUBJECT, orders("shared", "by-subject"))
    for _ in range(2):
        refusal, exchange = line.ask(token=ALICE)
        assert refusal is None
        line.end(exchange)
    refusal, exchange = line.ask(token=ALICE)
    assert isinstance(refusal, TooMany) and refusal.limit is BY_SUBJECT
    assert line.gateway.refuse(exchange, refusal).status == 429
    assert line.ask(token=token("bob"))[0] is None, "before the refusal has been sent"
    line.end(exchange)


def test_a_table_that_cannot_be_put_in_force_frees_nobody() -> None:
    """It says nothing of the limit: those in force hold, with what was used of them."""
    line = Line(*BASE, BY_ROUTE, orders("by-route"))
    assert [line.ask(token=ALICE)[0] for _ in range(2)] == [None, None]
    twice = VerificationKey("k2", VERIFIED_BY.jwk, "headgate", "headgate")
    with pytest.raises(ValueError, match="same issuer and kid"):
        line.swap(*BASE, twice, orders())
    assert isinstance(line.ask(token=ALICE)[0], TooMany)
