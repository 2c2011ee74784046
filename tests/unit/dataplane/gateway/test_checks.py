"""The limits of a route as requests take them: what they count by, all or none of them, shares that are enforced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.checks import Checks, discard, release, tell
from dataplane.gateway.limit_keys import claims_of, key_maker, needs_caller
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.permit import ANONYMOUS, Caller
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from dataplane.gateway.policy.too_many import TooMany, Unanswered
from dataplane.gateway.refusals import respond
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http1.names import REQUEST_NAMES, field_sorter
from dataplane.proxy.http1.request import read_request
from dataplane.proxy.trust import Peer, address_block
from headgate_api.leases.messages import Answer, Grant


def asking(*fields: tuple[bytes, bytes], address: str = "203.0.113.9") -> Exchange:
    passing: list[bytes] = []
    special: list[tuple[bytes, bytes]] = []
    collect = field_sorter(REQUEST_NAMES, passing, special)
    for name, value in ((b"Host", b"A.example"), *fields):
        collect(name, value)
    request = read_request(b"GET", b"/", passing, special, Peer(address), True, lambda: "1.1")
    return Exchange(cast(Any, SimpleNamespace(address=address)), request, b"id-1")


def limit(name: str = "l", burst: int = 2, key: tuple[str, ...] = LimitKey.ADDRESS, **fields: Any) -> Limit:
    return Limit(name, 0.001, burst, key, **fields)


def key_of(which: Limit, exchange: Exchange, caller: Caller = ANONYMOUS) -> str:
    maker = key_maker(which, "orders", lambda value: f"<{value}>" if value else "")
    return maker.key(exchange, address_block(exchange.address), caller)


ALICE = Caller("alice", frozenset(), 1e12, claims={"plan": "<gold>"})


# --- what is counted by


@pytest.mark.parametrize(
    ("key", "fields", "found"),
    [
        (("address",), {}, "203.0.113.9"),
        (("route",), {}, "orders"),
        (("subject",), {}, "alice"),
        (("api_key",), {}, "<secret>"),
        (("header",), {"header": "x-client"}, "<c1>"),
        (("header:x-client",), {}, "<c1>"),
        (("header:host",), {}, "<a.example>"),
        (("header:x-absent",), {}, ""),
        (("claim:plan",), {}, "<gold>"),
        (("claim:absent",), {}, ""),
        (("address", "claim:plan"), {}, "203.0.113.9,<gold>"),
        (("subject", "route", "header:x-client", "header:x-absent"), {}, "alice,orders,<c1>,"),
    ],
)
def test_the_key_is_the_value(key: tuple[str, ...], fields: dict[str, Any], found: str) -> None:
    exchange = asking((b"X-Client", b"c1"), (b"X-API-Key", b"secret"))
    assert key_of(limit(key=key, **fields), exchange, ALICE) == found


def test_nobody_in_particular_counts_by_address_and_without_claims() -> None:
    assert key_of(limit(key=("subject", "claim:plan")), asking()) == "203.0.113.9,"


@pytest.mark.parametrize(
    ("bits", "block"), [(64, "2001:db8:1:2::/64"), (48, "2001:db8:1::/48"), (128, "2001:db8:1:2::5/128")]
)
def test_ipv6_counts_by_the_prefix_and_ipv4_by_the_address(bits: int, block: str) -> None:
    which = limit(address_prefix=bits)
    assert key_of(which, asking(address="2001:db8:1:2::5")) == block
    assert key_of(which, asking()) == "203.0.113.9"


def test_long_subjects_are_cut() -> None:
    assert len(key_of(limit(key=LimitKey.SUBJECT), asking(), Caller("x" * 5000, frozenset(), 1e12))) < 100


def test_what_needs_a_caller() -> None:
    assert [
        needs_caller(limit(key=key)) for key in (("address", "api_key"), ("subject",), ("route", "claim:a"))
    ] == [
        False,
        True,
        True,
    ]
    assert claims_of([limit(key=("claim:a", "address", "claim:b:c"))]) == {"a", "b:c"}


# --- all of them, or none


def take(checks: Checks, exchange: Exchange, now: float = 0.0) -> TooMany | Unanswered | None:
    return checks.take(exchange, address_block(exchange.address), ANONYMOUS, now)


def test_a_refusal_takes_nothing_from_the_others() -> None:
    limiter, wide, narrow, last = Limiter(), limit("wide", 5), limit("narrow", 2), limit("last", 5)
    checks = Checks((wide, narrow, last), "orders", limiter)
    assert [take(checks, asking()) is None for _ in range(10)] == [True] * 2 + [False] * 8
    left = [limiter.counter(each).remaining("203.0.113.9", 0.0) for each in (wide, narrow, last)]
    assert left == [3, 0, 3]


def test_a_refusal_at_the_other_place_gives_back_too() -> None:
    limiter, early = Limiter(), limit("early", 5, cost=2)
    checks, exchange = Checks((early,), "orders", limiter), asking()
    assert take(checks, exchange) is None
    assert limiter.counter(early).remaining("203.0.113.9", 0.0) == 3
    checks.give_back(exchange, "203.0.113.9", ANONYMOUS, 0.0)
    assert limiter.counter(early).remaining("203.0.113.9", 0.0) == 5


def test_no_place_gives_back_the_tokens_and_a_refusal_frees_the_place() -> None:
    limiter = Limiter()
    busy, narrow = limit("busy", 10, max_concurrent=2), limit("narrow", 1)
    checks = Checks((busy, narrow), "orders", limiter)
    first, second = asking(), asking()
    assert take(checks, first) is None
    refused = take(checks, second)
    assert refused is not None and refused.limit is narrow
    third = asking()
    refused = take(checks, third)
    assert refused is not None and refused.limit is busy, "until the refusal has been sent"
    release(second)
    places = limiter.concurrency(busy)
    assert places is not None and places.remaining("203.0.113.9") == 1
    assert limiter.counter(busy).remaining("203.0.113.9", 0.0) == 9
    release(first)
    assert places.remaining("203.0.113.9") == 2 and first.held is None and third.held is None


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3), st.booleans()), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=30),
)
def test_several_limits_let_through_what_each_of_them_would(
    settings_of: list[tuple[int, int, bool]], waits: list[int]
) -> None:
    """Against balances on a blackboard, taken from only when all of the enforced ones have enough."""
    limits = [
        Limit(f"l{n}", 1.0, burst + cost, LimitKey.ADDRESS, cost=cost, enforced=0 if shadow else 100)
        for n, (burst, cost, shadow) in enumerate(settings_of)
    ]
    checks, now = Checks(limits, "orders", Limiter()), 0
    balances = [each.burst for each in limits]
    for wait in waits:
        now += wait
        balances = [min(each.burst, have + wait) for each, have in zip(limits, balances, strict=True)]
        enough = [have >= each.cost for each, have in zip(limits, balances, strict=True)]
        passes = all(ok or not each.enforced for ok, each in zip(enough, limits, strict=True))
        exchange = asking()
        assert (take(checks, exchange, float(now)) is None) == passes
        if passes:
            balances = [
                have - each.cost * ok for each, have, ok in zip(limits, balances, enough, strict=True)
            ]
            assert set(exchange.shadowed) == {
                each.name for each, ok in zip(limits, enough, strict=True) if not ok
            }


# --- costs that are known afterwards


def test_a_cost_is_settled_once_and_only_for_those_who_took() -> None:
    limiter, which = Limiter(), limit(burst=100, cost=10, cost_header="x-cost")
    checks, exchange = Checks((which,), "orders", limiter), asking()
    assert take(checks, exchange) is None
    for fields in ([(b"x-other", b"50")], [(b"x-cost", b"30")], [(b"x-cost", b"60")]):
        tell(exchange, fields, 0.0)
    assert limiter.counter(which).remaining("203.0.113.9", 0.0) == 70
    again = asking()
    assert take(checks, again) is None
    tell(again, [(b"x-cost", b"0")], 0.0)
    assert limiter.counter(which).remaining("203.0.113.9", 0.0) == 70


def test_a_response_that_is_thrown_away_is_paid_besides() -> None:
    limiter, which = Limiter(), limit(burst=100, cost=10, cost_header="x-cost")
    checks, exchange = Checks((which,), "orders", limiter), asking()
    assert take(checks, exchange) is None
    for fields in ([(b"x-cost", b"25")], [(b"x-cost", b"none")], [(b"x-cost", b"0")], []):
        discard(exchange, fields, 0.0)
    assert limiter.counter(which).remaining("203.0.113.9", 0.0) == 65
    tell(exchange, [(b"x-cost", b"5")], 0.0)
    assert limiter.counter(which).remaining("203.0.113.9", 0.0) == 70


# --- enforced for some


def test_a_share_of_the_keys_is_enforced_and_a_caller_sees_one_behaviour() -> None:
    which = limit(burst=1, enforced=30)
    seen: dict[str, set[bool]] = {}
    for limiter in (Limiter(), Limiter()):
        checks = Checks((which,), "orders", limiter)
        for number in range(500):
            address = f"10.0.{number // 250}.{number % 250}"
            assert take(checks, asking(address=address)) is None
            answers = {take(checks, asking(address=address)) is None for _ in range(3)}
            assert len(answers) == 1 and seen.setdefault(address, answers) == answers
    refused = sum(answers == {False} for answers in seen.values())
    assert 0.22 < refused / 500 < 0.38


def test_more_of_the_keys_are_those_of_before_and_others() -> None:
    def enforced(share: int) -> set[int]:
        checks = Checks((limit(burst=1, enforced=share),), "orders", Limiter())
        asked = [asking(address=f"10.0.0.{number}") for number in range(200)]
        for exchange in asked:
            take(checks, exchange)
        return {number for number, exchange in enumerate(asked) if take(checks, exchange) is not None}

    assert enforced(0) == set() and len(enforced(100)) == 200
    assert enforced(20) < enforced(60)


def test_a_refusal_for_want_of_an_owner_is_not_the_clients_fault_and_takes_nothing() -> None:
    fleet = limit("fleet", 100, mode=LimitMode.FLEET, without_owner="strict")
    first, limiter, now = limit("first"), Limiter(), 100.0
    limits = {each.name: each for each in (first, fleet)}
    limiter.adopt(limits, now)
    checks = Checks(limits.values(), "orders", limiter)
    refused = checks.take(asking(), "203.0.113.9", ANONYMOUS, now)
    assert isinstance(refused, Unanswered)
    assert respond(refused).status == 503
    assert limiter.counter(first).remaining("203.0.113.9", now) == 2
    ((leased, ask),) = limiter.asks(now, fleet=True)
    grants = tuple(Grant(want.key, 1.0, 1.0, False) for want in ask.wants)
    limiter.answer("fleet", leased.counts_by, Answer(ask.stamp, 1, 1, 2.0, 0.0, grants), now)
    assert checks.take(asking(), "203.0.113.9", ANONYMOUS, now) is None
    assert isinstance(checks.take(asking(), "203.0.113.9", ANONYMOUS, now), TooMany)
    assert isinstance(checks.take(asking(), "203.0.113.9", ANONYMOUS, now + 2), Unanswered)
    shadow = Checks([limit("fleet", 100, mode=LimitMode.FLEET, enforced=0)], "orders", limiter)
    assert shadow.take(asking(), "203.0.113.9", ANONYMOUS, now + 2) is None
