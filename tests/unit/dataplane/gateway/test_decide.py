"""The request line: the order of its decisions, and that whatever it took is given back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from joserfc import jwk, jwt

from dataplane.config.table import Item, ResourceSet, UnlinkedRoute, build, evolve
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.authenticate import INVALID, MISSING, Unauthenticated
from dataplane.gateway.policy.authorize import Forbidden
from dataplane.gateway.policy.limiter import TooMany
from dataplane.gateway.policy.resources import (
    Circuit,
    Instance,
    Limit,
    LimitKey,
    Reset,
    Retries,
    Route,
    Service,
    User,
    VerificationKey,
)
from dataplane.gateway.policy.router import AmbiguousPath, MethodNotAllowed, NotFound
from dataplane.proxy.errors import CircuitOpen, NoneHealthy, NotRegistered, Saturated, TooLarge
from dataplane.proxy.exchange import Exchange, Result
from dataplane.proxy.http1.names import REQUEST_NAMES, field_sorter
from dataplane.proxy.http1.request import read_request
from dataplane.proxy.messages import ANYBODY
from dataplane.proxy.pool import Pool
from dataplane.proxy.trust import TrustedProxies

KEY = jwk.ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"}, private=True)
VERIFIED_BY = VerificationKey("k1", json.dumps(KEY.as_dict(private=False)), "headgate", "headgate")
SCOPE = frozenset({"orders:read"})
BY_ADDRESS = Limit("by-address", 1, 2, LimitKey.ADDRESS)
BY_SUBJECT = Limit("by-subject", 1, 2, LimitKey.SUBJECT)
BY_FIELD = Limit("by-field", 1, 2, LimitKey.HEADER, "x-key")
BY_ROUTE = Limit("by-route", 1, 2, LimitKey.ROUTE)
ONE = Instance("orders", "1", "127.0.0.1", 81)
TWO = Instance("orders", "2", "127.0.0.1", 82)


class Ended:
    """Remembers what ended."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def finished(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


class Line:
    """A gateway at one moment."""

    def __init__(self, *items: Item, default: Limit | None = None, trusted: Sequence[str] = ()) -> None:
        self.trusted = TrustedProxies(trusted)
        self.observer = Ended()
        self.gateway = Gateway(self.observer, Pool(), default_limit=default, trusted=self.trusted)
        self.revision = 0
        self.swap(*items)

    def swap(self, *items: Item, now: float = 0.0) -> None:
        self.revision += 1
        self.gateway.swap(build(ResourceSet.of(*items), self.revision), now)

    def ask(
        self,
        path: str = "/orders/1",
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        token: str = "",
        address: str = "203.0.113.9",
        now: float = 0.0,
        encoding: str = "ascii",
        host: bytes = b"a.example",
    ) -> tuple[object, Exchange]:
        peer = self.trusted.peer(address)
        said = [(b"Host", host), *fields]
        if token:
            said.append((b"Authorization", b"Bearer " + token.encode()))
        passing: list[bytes] = []
        special: list[tuple[bytes, bytes]] = []
        collect = field_sorter(REQUEST_NAMES, passing, special)
        for name, value in said:
            collect(name, value)
        request = read_request(method, path.encode(encoding), passing, special, peer, True, lambda: "1.1")
        client = SimpleNamespace(peer=peer, address=peer.address)
        exchange = Exchange(cast(Any, client), request, b"id-1")
        return self.gateway.decide(exchange, now), exchange

    def end(self, exchange: Exchange, result: Result = Result.ANSWERED, now: float = 0.0) -> None:
        exchange.result, exchange.ended = result, now
        self.gateway.finished(exchange)


def orders(*limits: str, **fields: Any) -> UnlinkedRoute:
    return UnlinkedRoute(Route("orders", "orders", prefix="/orders", **{"scopes": SCOPE, **fields}), limits)


def sent(exchange: Exchange) -> bytes:
    """The target that goes upstream."""
    assert exchange.request is not None
    return exchange.request.target


def response_timeout(route: UnlinkedRoute) -> float:
    plan = Line(*BASE, route).ask(token=ALICE)[1].plan
    assert plan is not None
    return plan.response_timeout


def token(
    subject: str = "alice", scopes: str = "orders:read", lifetime: float = 600.0, **more: object
) -> str:
    claims = {
        "iss": "headgate",
        "aud": "headgate",
        "sub": subject,
        "scope": scopes,
        "iat": int(time()),
        **more,
    }
    return jwt.encode(
        {"alg": "ES256", "kid": "k1", "typ": "at+jwt"},
        {**claims, "exp": int(time() + lifetime)},
        KEY,
        ["ES256"],
    )


ALICE = token()
BASE: tuple[Item, ...] = (Service("orders"), ONE, User("alice", SCOPE), VERIFIED_BY)


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
    for sent in ("", "nonsense"):
        refusal, exchange = line.ask(token=sent)
        assert refusal is None and exchange.identity is ANYBODY


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


def test_what_coarse_limits_count_by() -> None:
    line = Line(*BASE, BY_ADDRESS, BY_FIELD, orders("by-address", "by-field"))
    for number in range(5):
        address = f"203.0.113.{number}"
        assert line.ask("/orders", (b"X-Key", b"%d" % number), address=address, token=ALICE)[0] is None
    # Without the field all share one bucket.
    answers = [line.ask(address=f"198.51.100.{number}", token=ALICE)[0] for number in range(3)]
    assert answers[:2] == [None, None] and isinstance(answers[2], TooMany)


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


def test_a_limit_by_a_claim_counts_those_who_share_it() -> None:
    by_plan = Limit("by-plan", 0.001, 2, ("claim:plan",))
    line = Line(*BASE, User("bob", SCOPE), by_plan, orders("by-plan"))
    gold = [token(plan="gold"), token("bob", plan="gold")]
    assert [line.ask(token=sent)[0] for sent in gold] == [None, None]
    assert isinstance(line.ask(token=gold[0])[0], TooMany)
    assert line.ask(token=token(plan=5))[0] is None
    assert line.ask(token=token(plan="5"))[0] is None, "a text is no number"
    assert [line.ask(token=sent)[0] for sent in (ALICE, token(plan=["gold"]))] == [None, None]
    assert isinstance(line.ask(token=ALICE)[0], TooMany), "without the claim all share one bucket"
    keys = [row.key for row in line.gateway.limiter.report(0.0)]
    assert all(key.startswith("claim:plan:") and "gold" not in key for key in keys) and len(set(keys)) == 4


def test_a_claim_that_is_counted_from_now_on_is_read_from_tokens_that_are_known() -> None:
    line = Line(*BASE, orders())
    gold = token(plan="gold")
    assert line.ask(token=gold)[0] is None
    line.swap(*BASE, Limit("by-plan", 0.001, 1, ("claim:plan",)), orders("by-plan"))
    assert line.ask(token=gold)[0] is None
    assert line.ask(token=ALICE)[0] is None, "another bucket"
    assert isinstance(line.ask(token=gold)[0], TooMany)


def test_a_full_service_refuses_at_once_and_its_breaker_hears_nothing() -> None:
    line = Line(Service("orders", max_in_flight=1), *BASE[1:], orders())
    refusal, first = line.ask(token=ALICE)
    assert refusal is None
    refused, second = line.ask(token=ALICE)
    assert refused == Saturated("orders") and second.ticket is None
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


def test_an_ipv6_bucket_is_reset_by_any_address_in_it() -> None:
    wide = Limit("wide", 0.001, 1, LimitKey.ADDRESS, address_prefix=48)
    line = Line(*BASE, wide, orders("wide"))
    assert line.ask(token=ALICE, address="2001:db8:1:2::3")[0] is None
    assert isinstance(line.ask(token=ALICE, address="2001:db8:1:9::9")[0], TooMany)
    for revision, key in enumerate(
        ("address:2001:db8:1:7::7", "2001:db8:1::/48", "address:2001:db8:1::/48"), 1
    ):
        line.swap(*BASE, wide, orders("wide"), Reset(revision, rate_limit=key))
        assert line.ask(token=ALICE, address="2001:db8:1:2::3")[0] is None, key


def test_a_combination_is_reset_by_the_key_that_is_shown() -> None:
    both = Limit("both", 0.001, 1, ("address", "subject"))
    line = Line(*BASE, both, orders("both"))
    assert line.ask(token=ALICE)[0] is None
    (shown,) = line.gateway.limiter.report(0.0)
    assert shown.key == "address,subject:203.0.113.9,alice"
    line.swap(*BASE, both, orders("both"), Reset(1, rate_limit=shown.key))
    assert line.ask(token=ALICE)[0] is None


def test_nobody_in_particular_is_counted_by_address() -> None:
    line = Line(*BASE, BY_SUBJECT, orders("by-subject", scopes=frozenset(), public=True))
    answers = [line.ask()[0] for _ in range(3)]
    assert answers[:2] == [None, None] and isinstance(answers[2], TooMany)
    assert line.ask(address="203.0.113.10")[0] is None


def test_behind_a_proxy_the_client_is_counted() -> None:
    line = Line(*BASE, orders(), default=BY_ADDRESS, trusted=["10.0.0.0/8"])

    def ask(said: bytes) -> object:
        refusal, exchange = line.ask("/orders", (b"X-Forwarded-For", said), token=ALICE, address="10.0.0.1")
        assert exchange.address == said.decode()
        return refusal

    assert [ask(b"203.0.113.9") for _ in range(2)] == [None, None]
    assert isinstance(ask(b"203.0.113.9"), TooMany)
    assert ask(b"203.0.113.10") is None


def test_a_stranger_cannot_choose_his_address() -> None:
    line = Line(*BASE, orders(), default=BY_ADDRESS)
    answers = [line.ask("/orders", (b"X-Forwarded-For", b"1.1.1.%d" % n), token=ALICE)[0] for n in range(3)]
    assert isinstance(answers[2], TooMany)


def test_large_bodies() -> None:
    line = Line(*BASE, orders(max_body_bytes=10))
    assert line.ask("/orders", (b"Content-Length", b"10"), token=ALICE, method=b"POST")[0] is None
    refusal, _ = line.ask("/orders", (b"Content-Length", b"11"), token=ALICE, method=b"POST")
    assert refusal == TooLarge(10)
    assert isinstance(line.ask("/orders", (b"Content-Length", b"11"), method=b"POST")[0], Unauthenticated)


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


def test_resets_are_obeyed_once() -> None:
    circuit = Circuit(failure_threshold=1, min_throughput=1)
    base = (Service("orders", circuit=circuit), ONE, User("alice", SCOPE), VERIFIED_BY, orders())
    line = Line(*base)

    def fail() -> None:
        _, exchange = line.ask(token=ALICE)
        line.end(exchange, Result.FAILED)

    fail()
    assert isinstance(line.ask(token=ALICE)[0], CircuitOpen)
    line.swap(*base, Reset(5, circuit="orders"))
    assert line.ask(token=ALICE)[0] is None
    fail()
    line.swap(*base, Reset(5, circuit="orders"), User("bob", SCOPE))
    assert isinstance(line.ask(token=ALICE)[0], CircuitOpen)
    line.swap(*base, Reset(5, circuit="orders"), Reset(6, circuit="orders"))
    assert line.ask(token=ALICE)[0] is None


def test_turns_are_taken() -> None:
    line = Line(*BASE, TWO, orders())
    picked = [exchange.endpoint.id for _ in range(4) if (exchange := line.ask(token=ALICE)[1]).endpoint]
    assert sorted(picked) == ["1", "1", "2", "2"]


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
    assert exchange.ticket is None and exchange.endpoint is None
    assert [report.total_requests for report in line.gateway.breakers.report(0.0)] == [0]


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("x-forwarded-for", "192.0.2.1", "192.0.2.2"),
        ("x-real-ip", "192.0.2.1", "192.0.2.2"),
        ("x-request-id", "a", "b"),
        ("x-auth-subject", "a", "b"),
        ("traceparent", f"00-{'1' * 32}-{'1' * 16}-01", f"00-{'2' * 32}-{'1' * 16}-01"),
        ("authorization", "Basic YQ==", "Basic Yg=="),
        ("content-length", "0", "00"),
        ("te", "trailers", "gzip"),
        ("expect", "100-continue", "100-Continue"),
        ("connection", "close", "keep-alive"),
        ("x-key", "a", "b"),
    ],
)
def test_a_limit_counts_by_any_field(name: str, one: str, other: str) -> None:
    limit = Limit("by-field", 1, 1, LimitKey.HEADER, name)
    line = Line(*BASE, limit, orders("by-field", public=True, scopes=frozenset()))
    said = [(name.title().encode(), value.encode()) for value in (one, other)]
    assert [line.ask("/orders", field)[0] for field in said] == [None, None]
    assert all(isinstance(line.ask("/orders", field)[0], TooMany) for field in said)


def test_a_limit_by_host_counts_by_what_routes_match() -> None:
    limit = Limit("by-host", 1, 1, LimitKey.HEADER, "host")
    line = Line(*BASE, limit, orders("by-host", public=True, scopes=frozenset()))
    assert line.ask(host=b"a.example")[0] is None and line.ask(host=b"b.example")[0] is None
    for spelling in (b"a.example", b"A.Example:8000", b"a.example."):
        assert isinstance(line.ask(host=spelling)[0], TooMany)


def test_a_field_that_connection_names_counts_too() -> None:
    line = Line(*BASE, BY_FIELD, orders("by-field", public=True, scopes=frozenset()))
    for _ in range(2):
        assert line.ask("/orders", (b"X-Key", b"a"), (b"Connection", b"x-key"))[0] is None
    assert isinstance(line.ask("/orders", (b"X-Key", b"a"))[0], TooMany)
    assert line.ask("/orders", (b"Connection", b"x-key"))[0] is None


def test_a_limit_by_authorization_counts_by_the_token() -> None:
    limit = Limit("by-token", 1, 1, LimitKey.HEADER, "authorization")
    line = Line(*BASE, limit, orders("by-token"))
    assert line.ask(token=ALICE)[0] is None
    assert isinstance(line.ask("/orders", (b"authorization", f"bearer   {ALICE}".encode()))[0], TooMany)


def test_ipv6_addresses_of_one_host_share_a_bucket() -> None:
    line = Line(*BASE, orders(public=True, scopes=frozenset()), default=BY_ADDRESS)
    found = [line.ask(address=f"2001:db8:1:2::{number}")[0] for number in range(3)]
    assert found[:2] == [None, None] and isinstance(found[2], TooMany)
    assert line.ask(address="2001:db8:1:3::1")[0] is None


ADMIN = UnlinkedRoute(Route("admin", "orders", prefix="/$admin", scopes=SCOPE))
OPEN = UnlinkedRoute(Route("open", "orders", prefix="/", public=True))


@pytest.mark.parametrize(
    ("guarded", "path"),
    [
        ("/$admin", "/%24admin"),
        ("/$admin", "/%24admin/users"),
        ("/jobs:purge", "/jobs%3Apurge"),
        ("/jobs:purge", "/jobs%3apurge"),
        ("/@internal", "/%40internal"),
        ("/a,b", "/x/../a%2cb"),
        ("/caf%E9", "/caf\u00e9"),
    ],
)
def test_a_guard_cannot_be_passed_by_another_spelling(guarded: str, path: str) -> None:
    line = Line(*BASE, OPEN, UnlinkedRoute(Route("guarded", "orders", prefix=guarded, scopes=SCOPE)))
    assert isinstance(line.ask(path, token=ALICE, encoding="latin-1")[0], AmbiguousPath)


def test_nor_can_an_open_route_be_used_to_pass_the_guard_around_it() -> None:
    guarded = UnlinkedRoute(Route("all", "orders", prefix="/", scopes=SCOPE))
    ping = UnlinkedRoute(Route("ping", "orders", path="/:ping", public=True))
    line = Line(*BASE, guarded, ping)
    assert line.ask("/:ping")[0] is None
    assert isinstance(line.ask("/%3Aping")[0], AmbiguousPath)


def test_a_limit_cannot_be_dodged_by_another_spelling() -> None:
    login = UnlinkedRoute(Route("login", "orders", path="/auth:login", public=True), ("by-address",))
    line = Line(*BASE, OPEN, login, BY_ADDRESS)
    assert isinstance(line.ask("/auth%3Alogin")[0], AmbiguousPath)


def test_where_the_guards_agree_the_bytes_travel_as_they_came() -> None:
    line = Line(*BASE, ADMIN, UnlinkedRoute(Route("all", "orders", prefix="/", scopes=SCOPE)))
    refusal, exchange = line.ask("/%24admin/%2B%3d?q=%24", token=ALICE)
    assert refusal is None and exchange.plan is not None and exchange.plan.route_name == "admin"
    assert sent(exchange) == b"/%24admin/%2B%3D?q=%24"


@pytest.mark.parametrize("path", ["/$admin/a%2Bb", "/%24admin/a%2Bb", "/x/..//%24admin/a%2bb"])
def test_an_encoded_prefix_is_stripped_and_what_is_below_it_stays(path: str) -> None:
    line = Line(
        *BASE, UnlinkedRoute(Route("admin", "orders", prefix="/$admin", public=True, strip_prefix=True))
    )
    assert sent(line.ask(path)[1]) == b"/a%2Bb"


# --- ejection


PUBLIC = orders(public=True, scopes=frozenset())


def serve(line: Line, sick: str, times: int, now: float = 0.0) -> list[str]:
    """So many requests, of which those to the instance `sick` fail. Returns where they went; "" if refused."""
    went = []
    for _ in range(times):
        refusal, exchange = line.ask(now=now)
        went.append(exchange.endpoint.id if refusal is None and exchange.endpoint is not None else "")
        failed = exchange.endpoint is not None and exchange.endpoint.id in sick
        line.end(exchange, Result.FAILED if failed else Result.ANSWERED, now)
    return went


def circuit_of(line: Line) -> str:
    (report,) = line.gateway.breakers.report(0.0)
    return report.state


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


def test_a_change_that_cannot_be_put_in_force_leaves_the_table_before() -> None:
    line = Line(*BASE, PUBLIC)
    bad = VerificationKey("k2", "{}", "headgate", "headgate")
    with pytest.raises(ValueError, match="k2"):
        line.swap(Service("orders"), TWO, bad)
    assert line.gateway.table.revision == 1
    assert serve(line, "", 2) == ["1", "1"]


# --- resets


def test_a_reset_after_a_restored_store_is_obeyed_though_its_revision_is_lower() -> None:
    circuit = Circuit(failure_threshold=1, min_throughput=1)
    base = (Service("orders", circuit=circuit), ONE, PUBLIC)
    line = Line(*base, Reset(500, circuit="orders"))
    serve(line, "1", 1)
    line.swap(*base, Reset(80, circuit="orders"))
    assert circuit_of(line) == "closed"
    serve(line, "1", 1)
    line.swap(*base, Reset(500, circuit="orders"), Reset(80, circuit="orders"))
    assert circuit_of(line) == "open"


def test_a_reset_by_any_address_of_an_ipv6_host_fills_its_bucket() -> None:
    for number, key in enumerate(("address:2001:db8::1:7", "2001:db8::9", "address:2001:db8::/64")):
        line = Line(*BASE, PUBLIC, default=BY_ADDRESS)
        for _ in range(3):
            refusal, _ = line.ask(address="2001:db8::1")
        assert isinstance(refusal, TooMany)
        line.swap(*BASE, PUBLIC, Reset(9 + number, rate_limit=key))
        assert line.ask(address="2001:db8::1")[0] is None
