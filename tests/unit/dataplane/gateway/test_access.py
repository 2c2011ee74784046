"""CORS and address lists on the request line: what is answered before authentication, and on which routes."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from dataplane.config.table import UnlinkedRoute
from dataplane.gateway.actions import AddressDenied, OriginDenied, Preflight
from dataplane.gateway.policy.addresses import AddressLists
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.forwarding import Forwarding
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode, Route, StoreFailure
from dataplane.gateway.policy.router import AMBIGUOUS_PATH, Router
from dataplane.gateway.policy.too_many import TooMany
from dataplane.gateway.redis_checks import Uncounted
from dataplane.proxy.reply import Reply
from tests.unit.dataplane.gateway.line import ALICE, BASE, BY_ADDRESS, Line, orders

A = b"https://a.example"
RULES = Cors(origins=frozenset({A.decode()}), methods=("GET", "PUT"), headers=("x-a",))
ASK = ((b"Origin", A), (b"Access-Control-Request-Method", b"PUT"))


def shop(**fields: Any) -> UnlinkedRoute:
    return orders(forwarding=Forwarding(cors=RULES), **fields)


def fields(reply: Reply) -> dict[str, str]:
    return dict(reply.fields)


def test_a_preflight_is_answered_without_a_token() -> None:
    line = Line(*BASE, shop(methods=frozenset({"GET", "PUT"})))
    refusal, exchange = line.ask("/orders", *ASK, method=b"OPTIONS")
    assert isinstance(refusal, Preflight) and exchange.endpoint is None
    reply = line.gateway.refuse(exchange, refusal)
    assert (reply.status, reply.body, reply.decision) == (204, b"", "preflight")
    assert fields(reply)["access-control-allow-origin"] == A.decode()
    assert "content-length" not in fields(reply)
    # Without a token the request itself is refused, and the script may read why.
    refusal, exchange = line.ask("/orders", (b"Origin", A), method=b"PUT")
    reply = line.gateway.refuse(exchange, refusal)
    assert reply.status == 401
    assert (fields(reply)["access-control-allow-origin"], fields(reply)["vary"]) == (A.decode(), "Origin")


NO_PREFLIGHTS = [
    # Fetch, CORS-preflight request: OPTIONS with Origin and Access-Control-Request-Method
    ("no Origin", b"OPTIONS", ASK[1:], 401),
    ("no method that is asked for", b"OPTIONS", ASK[:1], 401),
    ("a method that no route takes", b"OPTIONS", (ASK[0], (b"Access-Control-Request-Method", b"TRACE")), 401),
    ("another method", b"GET", ASK, 401),
]


@pytest.mark.parametrize(("source", "method", "said", "status"), NO_PREFLIGHTS)
def test_what_is_no_preflight_goes_the_way_of_all_requests(
    source: str, method: bytes, said: tuple[tuple[bytes, bytes], ...], status: int
) -> None:
    line = Line(*BASE, shop())
    refusal, exchange = line.ask("/orders", *said, method=method)
    assert line.gateway.refuse(exchange, refusal).status == status


def test_a_route_without_cors_answers_no_preflight() -> None:
    open_ = UnlinkedRoute(Route("open", "orders", prefix="/open", forwarding=Forwarding(cors=RULES)))
    line = Line(*BASE, orders(), open_)
    refusal, exchange = line.ask("/orders", *ASK, method=b"OPTIONS")
    reply = line.gateway.refuse(exchange, refusal)
    assert reply.status == 401 and "access-control-allow-origin" not in fields(reply)


def test_a_preflight_of_another_origin_is_refused() -> None:
    line = Line(*BASE, shop())
    refusal, exchange = line.ask("/orders", (b"Origin", b"https://evil.example"), ASK[1], method=b"OPTIONS")
    assert isinstance(refusal, OriginDenied)
    reply = line.gateway.refuse(exchange, refusal)
    assert reply.status == 403 and "access-control-allow-origin" not in fields(reply)


def test_preflights_count_against_the_limits_of_the_address() -> None:
    """A preflight costs a decision, and needs no token: without a limit it would be a free one."""
    by_caller = Limit("by-caller", 1, 1, LimitKey.SUBJECT)
    line = Line(*BASE, BY_ADDRESS, by_caller, UnlinkedRoute(shop().route, ("by-address", "by-caller")))
    answers = [line.ask("/orders", *ASK, method=b"OPTIONS") for _ in range(3)]
    replies = [line.gateway.refuse(exchange, refusal) for refusal, exchange in answers]
    assert [reply.status for reply in replies] == [204, 204, 429]
    # The script may read why.
    assert fields(replies[2])["access-control-allow-origin"] == A.decode()
    other, _ = line.ask("/orders", *ASK, method=b"OPTIONS", address="203.0.113.10")
    assert isinstance(other, Preflight)
    # They take nothing from what a caller has.
    assert line.ask("/orders", token=ALICE, address="203.0.113.11")[0] is None


def test_preflights_count_against_the_limit_of_the_settings() -> None:
    line = Line(*BASE, shop(), default=Limit("default", 1, 1, LimitKey.ADDRESS))
    found = [line.ask("/orders", *ASK, method=b"OPTIONS")[0] for _ in range(2)]
    assert isinstance(found[0], Preflight) and isinstance(found[1], TooMany)


@pytest.mark.parametrize(
    ("policy", "kind"), [(StoreFailure.OPEN, Preflight), (StoreFailure.CLOSED, Uncounted)]
)
def test_preflights_count_in_redis(policy: StoreFailure, kind: type) -> None:
    limit = Limit("shared", 1, 1, LimitKey.ADDRESS, mode=LimitMode.REDIS, on_store_failure=policy)
    line = Line(*BASE, limit, UnlinkedRoute(shop().route, ("shared",)))
    assert isinstance(line.ask("/orders", *ASK, method=b"OPTIONS")[0], kind)


def test_responses_of_the_service_get_the_fields_of_the_gateway() -> None:
    line = Line(*BASE, shop())
    _, exchange = line.ask("/orders", (b"Origin", A), token=ALICE)
    assert exchange.response_fields == (("access-control-allow-origin", A.decode()),)
    assert exchange.plan is not None and exchange.plan.response_edits is not None
    _, exchange = line.ask("/orders", (b"Origin", b"https://evil.example"), token=ALICE)
    assert exchange.response_fields == ()


def test_routers_know_how_many_routes_answer_preflights() -> None:
    route, plain = shop().route, orders().route
    router = Router([route])
    assert router.preflights == 1
    assert router.changed([route], [plain]).preflights == 0
    assert router.changed([route], [route]).preflights == 1
    assert router.changed([route], []).preflights == 0


def gated(allow: str) -> UnlinkedRoute:
    lists = AddressLists(allow=(ip_network(allow),))
    return orders(forwarding=Forwarding(addresses=lists, cors=RULES))


def test_an_address_is_refused_before_the_token_is_looked_at() -> None:
    line = Line(*BASE, gated("10.0.0.0/8"))
    for method, said in ((b"GET", ()), (b"OPTIONS", ASK)):
        refusal, exchange = line.ask("/orders", *said, method=method, token=ALICE)
        assert isinstance(refusal, AddressDenied)
        reply = line.gateway.refuse(exchange, refusal)
        assert (reply.status, reply.decision) == (403, "address_denied")
    assert line.ask("/orders", token=ALICE, address="10.1.2.3")[0] is None


def test_the_address_is_that_of_the_client_behind_a_trusted_proxy() -> None:
    line = Line(*BASE, gated("10.0.0.0/8"), trusted=["192.0.2.1"])
    said = (b"X-Forwarded-For", b"10.1.2.3")
    assert line.ask("/orders", said, token=ALICE, address="192.0.2.1")[0] is None
    assert isinstance(line.ask("/orders", said, token=ALICE, address="192.0.2.2")[0], AddressDenied)


def test_lists_of_addresses_are_a_guard_of_the_path() -> None:
    """A path that leads to another route when it is read as it was sent must not pass the list by."""
    guarded = Route("a", "orders", prefix="/$a", public=True, forwarding=gated("10.0.0.0/8").route.forwarding)
    line = Line(*BASE, UnlinkedRoute(guarded), UnlinkedRoute(Route("b", "orders", prefix="/", public=True)))
    refusal, exchange = line.ask("/%24a/x", address="10.1.2.3")
    assert line.gateway.refuse(exchange, refusal).status == 400


def test_a_preflight_is_refused_where_its_request_would_be() -> None:
    """An instance may read the path otherwise than the route that answers the preflight."""
    public = Route("reports", "orders", path="/orders/$a", public=True, forwarding=Forwarding(cors=RULES))
    line = Line(*BASE, shop(), UnlinkedRoute(public))
    assert isinstance(line.ask("/orders/$a", *ASK, method=b"OPTIONS")[0], Preflight)
    for method, said in ((b"PUT", ASK[:1]), (b"OPTIONS", ASK)):
        refusal, exchange = line.ask("/orders/%24a", *said, method=method)
        assert refusal is AMBIGUOUS_PATH and exchange.plan is None
