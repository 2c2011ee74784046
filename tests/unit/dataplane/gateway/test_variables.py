"""Values of edited header fields: variables of the exchange, and nothing that could end a field."""

from __future__ import annotations

from typing import Any, cast

from dataplane.config.table import Item, UnlinkedRoute
from dataplane.gateway.plan import Plan
from dataplane.gateway.policy.edits import HeaderEdits
from dataplane.gateway.policy.forwarding import Forwarding
from dataplane.gateway.policy.resources import User
from dataplane.proxy.edits import Edits
from dataplane.proxy.exchange import Exchange
from tests.unit.dataplane.gateway.line import BASE, SCOPE, Line, orders, token


def edited(value: str) -> UnlinkedRoute:
    return orders(forwarding=Forwarding(request_edits=HeaderEdits(set={"x-a": value})))


def made(value: str, **claims: Any) -> tuple[bytes, Exchange]:
    """The value for a request of a caller with these claims."""
    subject = claims.pop("sub", "alice")
    items: tuple[Item, ...] = (*BASE, User(subject, SCOPE), edited(value))
    refusal, exchange = Line(*items).ask(token=token(subject, **claims))
    assert refusal is None
    edits = cast(Edits, cast(Plan, exchange.plan).request_edits)
    values = [fixed for _, fixed in edits.fixed] + [template.of(exchange) for _, template in edits.made]
    return values[0], exchange


def test_variables() -> None:
    assert made("%{address}")[0] == b"203.0.113.9"
    assert made("for %{subject} by %{route}")[0] == b"for alice by orders"
    assert made("%{claim:tenant}", tenant="acme")[0] == b"acme"
    assert made("%{request_id}")[0] == b"id-1"


def test_a_value_that_is_known_beforehand_is_made_once() -> None:
    assert made("by %{route}")[0] == b"by orders"
    plan = cast(Plan, made("by %{route}")[1].plan)
    assert not cast(Edits, plan.request_edits).made


def test_a_value_without_any_of_its_variables_is_left_out() -> None:
    assert made("tenant %{claim:tenant}")[0] == b""
    assert made("%{claim:tenant}%{subject}")[0] == b"alice"


def test_no_claim_ends_a_field() -> None:
    assert made("%{claim:tenant}", tenant="a\r\nx-admin: 1")[0] == b"a%0D%0Ax-admin: 1"
    assert made("%{claim:tenant}", tenant="Größe")[0] == b"Gr%C3%B6%C3%9Fe"
    assert made("%{claim:tenant}", tenant="100% a\n")[0] == b"100%25 a%0A"
    assert made("%{claim:tenant}", tenant=" a ")[0] == b"a"


def test_claims_are_kept_from_the_first_request_of_the_route_on() -> None:
    line = Line(*BASE, orders())
    sent = token(tenant="acme")
    assert line.ask(token=sent)[1].identity.claims == {}
    line.swap(*BASE, edited("%{claim:tenant}"))
    assert line.ask(token=sent)[1].identity.claims == {"tenant": "acme"}
    # A later change leaves the tokens that are known.
    before = line.gateway._authenticator
    line.swap(*BASE, edited("%{claim:tenant} again"))
    line.ask(token=sent)
    assert line.gateway._authenticator is before
