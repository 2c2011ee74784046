"""Resets that operators order: each is carried out once."""

from __future__ import annotations

from unittest import mock

from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Circuit, Limit, LimitKey, LimitMode, Reset, Service, User
from dataplane.gateway.policy.too_many import TooMany
from dataplane.gateway.resets import _MOST_OBEYED, Outcome, Resets
from dataplane.proxy.errors import CircuitOpen
from dataplane.proxy.exchange import Result
from tests.support.fake_store import FakeStore
from tests.unit.dataplane.gateway.line import (
    ALICE,
    BASE,
    BY_ADDRESS,
    ONE,
    PUBLIC,
    SCOPE,
    VERIFIED_BY,
    Line,
    circuit_of,
    orders,
    serve,
)

BREAKER = Reset(1, circuit="orders")
BUCKET = Reset(2, rate_limit="address:2001:db8::1")


def test_an_order_is_obeyed_when_it_comes_and_never_again() -> None:
    limiter, breakers = mock.Mock(), mock.Mock()
    limiter.prefixes.return_value, limiter.in_redis.return_value = {64}, []
    limiter.reset.return_value = []
    resets = Resets(limiter, breakers)
    for resets_in_table in ((BREAKER,), (BREAKER, BUCKET), (), (BUCKET, BREAKER)):
        resets.obey(resets_in_table, 3.0)
    breakers.reset.assert_called_once_with("orders", 3.0)
    limiter.reset.assert_called_once_with("address:2001:db8::/64", BUCKET.revision, 3.0)


def test_an_order_reaches_redis_unless_it_is_older_than_this_worker() -> None:
    limiter, store = Limiter(), FakeStore()
    for name in ("a", "b"):
        limiter.counter(Limit(name, 1, 2, LimitKey.ADDRESS, mode=LimitMode.REDIS))
    limiter.counter(Limit("here", 1, 2, LimitKey.ADDRESS))
    resets = Resets(limiter, mock.Mock())
    resets.store = store
    resets.obey((Reset(1, rate_limit="address:10.0.0.1"),), 0.0, first=True)
    assert store.asked == []
    resets.obey((Reset(2, rate_limit="address:10.0.0.2"), Reset(3, rate_limit="alice")), 0.0)
    names = {question.name for question in store.asked}
    assert {b"rate_limit:a:10.0.0.2", b"rate_limit:b:10.0.0.2", b"rate_limit:a:alice"} <= names
    assert any(
        question.command.endswith(b"rate_limit:a:alice:reset:3\r\n$3\r\n300\r\n") for question in store.asked
    )


def test_an_order_reaches_redis_from_a_worker_that_has_had_no_request_for_the_limit() -> None:
    limiter, store = Limiter(), FakeStore()
    limiter.adopt({"a": Limit("a", 1, 2, LimitKey.SUBJECT, mode=LimitMode.REDIS)}, 0.0)
    resets = Resets(limiter, mock.Mock())
    resets.store = store
    resets.obey((Reset(2, rate_limit="alice"),), 0.0)
    assert [question.name for question in store.asked] == [b"rate_limit:a:alice"]


def test_an_order_that_is_older_than_this_worker_does_not_count_as_told_to_redis() -> None:
    limiter, store, told = Limiter(), FakeStore(), list[Outcome]()
    limiter.adopt({"a": Limit("a", 1, 2, LimitKey.SUBJECT, mode=LimitMode.REDIS)}, 0.0)
    resets = Resets(limiter, mock.Mock())
    resets.store, resets.done = store, told.append
    resets.obey((Reset(2, rate_limit="alice"),), 0.0, first=True)
    assert store.asked == []
    assert [(outcome.shared, outcome.unreached) for outcome in told] == [(set(), {"a"})]


def test_what_an_order_found_is_told_once_redis_has_answered() -> None:
    limiter, store = Limiter(), FakeStore()
    for name in ("a", "b"):
        limiter.counter(Limit(name, 1, 2, LimitKey.SUBJECT, mode=LimitMode.REDIS))
    limits = {
        name: Limit(name, 1, 100, LimitKey.SUBJECT, mode=mode)
        for name, mode in (
            ("here", LimitMode.LOCAL),
            ("idle", LimitMode.LOCAL),
            ("fleet", LimitMode.FLEET),
            ("idle-fleet", LimitMode.FLEET),
        )
    }
    for limit in limits.values():
        limiter.counter(limit).take("bob" if "idle" in limit.name else "alice", 0.0)
    resets, told = Resets(limiter, mock.Mock()), list[Outcome]()
    resets.store, resets.done = store, told.append
    resets.obey((Reset(7, rate_limit="alice"),), 0.0)
    assert not told
    replies = {b"rate_limit:a:alice": 1, b"rate_limit:b:alice": None}
    store.answer(*[replies[question.name] for question in store.questions()])
    (outcome,) = told
    assert (outcome.revision, outcome.limits, outcome.shared, outcome.unreached) == (
        7,
        {"here"},
        {"fleet", "a"},
        {"b"},
    )


def test_an_order_while_redis_is_away_says_so_at_once() -> None:
    limiter, store = Limiter(), FakeStore()
    limiter.counter(Limit("a", 1, 2, LimitKey.SUBJECT, mode=LimitMode.REDIS))
    resets, told = Resets(limiter, mock.Mock()), list[Outcome]()
    store.away = True
    resets.store, resets.done = store, told.append
    resets.obey((Reset(7, rate_limit="alice"),), 0.0)
    assert [(outcome.shared, outcome.unreached) for outcome in told] == [(set(), {"a"})]


def test_what_redis_has_not_heard_it_is_told_when_it_answers_again() -> None:
    limiter, store = Limiter(), FakeStore()
    limiter.counter(Limit("a", 1, 2, LimitKey.SUBJECT, mode=LimitMode.REDIS))
    resets = Resets(limiter, mock.Mock())
    resets.store = store

    def told() -> list[bytes]:
        found = [question.name for question in store.asked]
        store.asked.clear()
        return found

    store.away = True
    resets.obey((Reset(2, rate_limit="alice"),), 0.0)
    resets.send_again(10.0)
    store.away = False
    resets.send_again(20.0)
    (order,) = store.asked
    assert told() == [b"rate_limit:a:alice"]
    resets.send_again(30.0)
    assert told() == []
    order.failed(40.0)
    resets.send_again(200.0)
    assert told() == [b"rate_limit:a:alice"]
    order.failed(200.0)
    resets.send_again(250.0)
    assert told() == [], "whoever was told in time has obeyed, and callers have counted anew"


def test_old_orders_are_forgotten_and_those_in_the_table_never() -> None:
    breakers = mock.Mock()
    resets = Resets(mock.Mock(), breakers)
    many = tuple(Reset(revision, circuit="orders") for revision in range(2 * _MOST_OBEYED))
    for _ in range(2):
        resets.obey(many, 0.0)
    assert breakers.reset.call_count == len(many)
    resets.obey((), 0.0)
    resets.obey(many[:1], 0.0)
    assert breakers.reset.call_count == len(many) + 1


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
