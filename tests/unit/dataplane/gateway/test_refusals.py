"""The table from refusals to responses, against the contract's."""

from __future__ import annotations

import json

import pytest

from dataplane.gateway.policy.authenticate import INVALID, MISSING, Unauthenticated
from dataplane.gateway.policy.authorize import Forbidden
from dataplane.gateway.policy.resources import Limit, LimitKey, Route
from dataplane.gateway.policy.router import AmbiguousPath, MethodNotAllowed, NotFound
from dataplane.gateway.policy.too_many import TooMany, Unanswered
from dataplane.gateway.refusals import TABLE, respond
from dataplane.proxy import errors as refusals
from dataplane.proxy.errors import (
    BadResponse,
    CircuitOpen,
    NoneHealthy,
    NotRegistered,
    Saturated,
    TimedOut,
    TooLarge,
    Unavailable,
)
from dataplane.proxy.http1.reply_writer import whole_reply
from dataplane.proxy.messages import BadRequest
from dataplane.proxy.reply import Reply

ROUTE = Route("r", "orders", prefix="/", scopes=frozenset({"b", "a"}))
LIMIT = Limit("slow", 1, 5, LimitKey.SUBJECT)

CONTRACT: list[tuple[object, int, str, dict[str, str]]] = [
    (NotFound(), 404, "Service not found", {}),
    (MethodNotAllowed(("GET", "POST")), 405, "Method not allowed", {"allow": "GET, POST"}),
    (
        MISSING,
        401,
        "Could not validate credentials",
        {"www-authenticate": 'Bearer realm="headgate"'},
    ),
    (
        INVALID,
        401,
        "Could not validate credentials",
        {"www-authenticate": 'Bearer realm="headgate", error="invalid_token"'},
    ),
    (
        Forbidden(ROUTE, frozenset({"a"})),
        403,
        "Not enough permissions",
        {"www-authenticate": 'Bearer realm="headgate", error="insufficient_scope", scope="a b"'},
    ),
    (
        TooMany(LIMIT, 1.2, '"slow";q=5;w=5'),
        429,
        "Too many requests",
        {"retry-after": "2", "ratelimit": '"slow";r=0;t=2', "ratelimit-policy": '"slow";q=5;w=5'},
    ),
    (Unanswered(LIMIT), 503, "Service unavailable", {"retry-after": "1"}),
    (NotRegistered("orders"), 503, "Service 'orders' not found in registry", {}),
    (NoneHealthy("orders", 30.0), 503, "No healthy instances available", {"retry-after": "30"}),
    (CircuitOpen("orders", 12.1), 503, "Circuit breaker is open for service orders", {"retry-after": "13"}),
    (CircuitOpen("orders", 0.0), 503, "Circuit breaker is open for service orders", {"retry-after": "1"}),
    (
        Saturated("orders"),
        503,
        "Service orders has reached its limit of requests under way",
        {"retry-after": "1"},
    ),
    (Unavailable("secret"), 503, "Service unavailable", {}),
    (BadResponse("secret"), 502, "Service unavailable", {}),
    (TimedOut("secret"), 504, "Service unavailable", {}),
    (TooLarge(10), 413, "Content too large", {}),
    (AmbiguousPath(), 400, "Bad Request: path: its percent-encoding decides which route it matches", {}),
    (BadRequest(400, "no Host"), 400, "Bad Request: no Host", {}),
    (BadRequest(431, "head too long"), 431, "Request Header Fields Too Large: head too long", {}),
]


def parse(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), body


def whole(reply: Reply, http11: bool = True, keep: bool = True, bodiless: bool = False) -> bytes:
    return whole_reply(reply, b"\r\ndate: now", b"id-1", http11, keep, bodiless)


@pytest.mark.parametrize(("refusal", "status", "detail", "fields"), CONTRACT)
def test_the_contract(refusal: object, status: int, detail: str, fields: dict[str, str]) -> None:
    found, said, body = parse(whole(respond(refusal)))
    problem = json.loads(body)
    assert (found, problem["status"], problem["detail"]) == (status, status, detail)
    if status == 429:
        assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
        assert problem["violated-policies"] == ["slow"]
    else:
        assert problem["type"] == "about:blank"
    assert problem["title"]
    assert b"secret" not in body
    always = {
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
        "date": "now",
        "x-request-id": "id-1",
    }
    assert said == always | fields


def test_every_kind_has_its_row() -> None:
    kinds = {
        kind
        for kind in vars(refusals).values()
        if isinstance(kind, type) and kind.__module__ == refusals.__name__
    }
    assert kinds <= set(TABLE)
    assert {type(refusal) for refusal, *_ in CONTRACT} <= set(TABLE)
    with pytest.raises(KeyError):
        respond("nothing")


def test_decisions_are_single_words_and_reasons_are_for_the_log() -> None:
    for refusal, *_ in CONTRACT:
        assert respond(refusal).decision.isidentifier()
    assert respond(Unavailable("secret")).reason == "secret"
    assert respond(Forbidden(ROUTE, frozenset({"a"}))).reason == "missing: a"


@pytest.mark.parametrize(
    ("http11", "keep", "connection"),
    [(True, True, None), (True, False, "close"), (False, True, "keep-alive"), (False, False, "close")],
)
def test_persistence(http11: bool, keep: bool, connection: str | None) -> None:
    assert parse(whole(respond(NotFound()), http11, keep))[1].get("connection") == connection


def test_answers_to_head_have_no_body_but_its_length() -> None:
    _, fields, body = parse(whole(respond(NotFound()), bodiless=True))
    assert body == b"" and int(fields["content-length"]) > 0


def test_why_a_token_was_refused_is_for_the_log_only() -> None:
    reply = respond(Unauthenticated(True, "token has expired"))
    assert reply.reason == "token has expired"
    assert b"expired" not in whole_reply(reply, b"date", b"id", True, True, False)


def test_no_two_refused_tokens_share_a_reason_by_chance() -> None:
    assert respond(Unauthenticated(True, "aud does not match")).reason == "aud does not match"
    assert respond(MISSING).reason == ""
