"""What limits count by, in whole requests."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.resources import Limit, LimitKey, User
from dataplane.gateway.policy.too_many import TooMany
from tests.unit.dataplane.gateway.line import (
    ALICE,
    BASE,
    BY_ADDRESS,
    BY_FIELD,
    BY_SUBJECT,
    SCOPE,
    Line,
    orders,
    token,
)


def test_what_coarse_limits_count_by() -> None:
    line = Line(*BASE, BY_ADDRESS, BY_FIELD, orders("by-address", "by-field"))
    for number in range(5):
        address = f"203.0.113.{number}"
        assert line.ask("/orders", (b"X-Key", b"%d" % number), address=address, token=ALICE)[0] is None
    # Without the field all share one bucket.
    answers = [line.ask(address=f"198.51.100.{number}", token=ALICE)[0] for number in range(3)]
    assert answers[:2] == [None, None] and isinstance(answers[2], TooMany)


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


@pytest.mark.parametrize(
    "spelling", [b"X-Key", b"x-key", b"X_Key", b"X.Key"], ids=["same", "case", "underscore", "dot"]
)
def test_a_made_up_field_beside_the_real_one_lifts_no_limit(spelling: bytes) -> None:
    """Instances differ in which of them they read, and CGI-style servers read them as one name."""
    line = Line(*BASE, BY_FIELD, orders("by-field", public=True, scopes=frozenset()))

    def ask(*values: bytes) -> object:
        fields = [(name, value) for name, value in zip((b"X-Key", spelling), values, strict=False)]
        return line.ask("/orders", *fields)[0]

    assert [ask(b"real", b"%d" % number) for number in range(2)] == [None, None]
    assert isinstance(ask(b"real", b"2"), TooMany) and isinstance(ask(b"3", b"real"), TooMany)
    assert isinstance(ask(), TooMany), "as if there was none"
    assert ask(b"real") is None
    assert line.ask("/orders", (spelling, b"real"))[0] is None, "alone it is the field, as instances read it"
    assert isinstance(line.ask("/orders", (spelling, b"real"))[0], TooMany)


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


@pytest.mark.parametrize("spelling", [b"Basic YTpi", b"basic YTpi", b"BASIC  YTpi", b"Basic \tYTpi"])
def test_a_limit_by_authorization_counts_other_schemes_by_their_credentials(spelling: bytes) -> None:
    limit = Limit("by-login", 1, 1, LimitKey.HEADER, "authorization")
    line = Line(*BASE, limit, orders("by-login", public=True, scopes=frozenset()))
    assert [
        line.ask("/orders", (b"Authorization", said))[0] for said in (b"Basic YTpi", b"Basic YTpj", b"")
    ] == [None] * 3
    assert isinstance(line.ask("/orders", (b"Authorization", spelling))[0], TooMany)


def test_ipv6_addresses_of_one_host_share_a_bucket() -> None:
    line = Line(*BASE, orders(public=True, scopes=frozenset()), default=BY_ADDRESS)
    found = [line.ask(address=f"2001:db8:1:2::{number}")[0] for number in range(3)]
    assert found[:2] == [None, None] and isinstance(found[2], TooMany)
    assert line.ask(address="2001:db8:1:3::1")[0] is None
