"""CORS: rows name their source. Fetch: https://fetch.spec.whatwg.org/#http-cors-protocol; HTTPCORSFilter: the type of
the Gateway API (apis/v1/httproute_types.go)."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.cors import Cors
from headgate_api.expressions import compiled

A = "https://a.example"


def cors(*origins: str, **fields: object) -> Cors:
    return Cors(origins=frozenset(origins), **fields)  # type: ignore[arg-type]


BELOW = Cors(below=(("https://", ".example.org"),))
PORT = Cors(below=(("https://", ".example.org:8443"),))
REGEX = Cors(patterns=("p",), expressions=(compiled(r"https://pr-[0-9]+[.]example[.]org"),))

ORIGINS: list[tuple[str, Cors, str, bool]] = [
    ("Fetch, origin: an exact match", cors(A), A, True),
    ("Fetch, origin: scheme", cors(A), "http://a.example", False),
    ("Fetch, origin: port", cors(A), "https://a.example:8443", False),
    ("Fetch, origin: nothing less", cors(A), "https://a.exampl", False),
    ("Fetch, origin: nothing more", cors(A), "https://a.example.evil", False),
    ("Fetch, origin: null", cors(A), "null", False),
    ("HTTPCORSFilter.allowOrigins: *", cors("*"), "https://any.example", True),
    ("HTTPCORSFilter.allowOrigins: *, for null", cors("*"), "null", True),
    ("HTTPCORSFilter.allowOrigins: wildcard", BELOW, "https://www.example.org", True),
    ("HTTPCORSFilter.allowOrigins: several labels", BELOW, "https://a.b.example.org", True),
    ("HTTPCORSFilter.allowOrigins: not the name itself", BELOW, "https://example.org", False),
    ("HTTPCORSFilter.allowOrigins: no label", BELOW, "https://.example.org", False),
    ("HTTPCORSFilter.allowOrigins: no part of a label", BELOW, "https://evilexample.org", False),
    ("HTTPCORSFilter.allowOrigins: another scheme", BELOW, "http://www.example.org", False),
    ("HTTPCORSFilter.allowOrigins: another port", BELOW, "https://www.example.org:8443", False),
    ("HTTPCORSFilter.allowOrigins: its port", PORT, "https://www.example.org:8443", True),
    ("no origin in an origin", BELOW, "https://evil.example/.example.org", False),
    ("no user in an origin", BELOW, "https://evil@www.example.org", False),
    ("expressions match whole origins", REGEX, "https://pr-12.example.org", True),
    ("expressions match whole origins", REGEX, "https://pr-12.example.org.evil", False),
    ("expressions match whole origins", REGEX, "xhttps://pr-12.example.org", False),
    ("no Origin", cors("*"), "", False),
]


@pytest.mark.parametrize(("source", "rules", "origin", "allowed"), ORIGINS)
def test_origins(source: str, rules: Cors, origin: str, allowed: bool) -> None:
    assert rules.allows(origin) == allowed
    assert bool(rules.response(origin)) == allowed
    assert (rules.preflight(origin, "GET", "") is not None) == allowed


ORIGIN, CREDENTIALS = "access-control-allow-origin", "access-control-allow-credentials"
METHODS, HEADERS = "access-control-allow-methods", "access-control-allow-headers"
EXPOSED, AGE = "access-control-expose-headers", "access-control-max-age"

RESPONSES: list[tuple[str, Cors, dict[str, str]]] = [
    ("Fetch, HTTP responses: the origin", cors(A), {ORIGIN: A}),
    ("Fetch, HTTP responses: * without credentials", cors("*"), {ORIGIN: "*"}),
    (
        "Fetch, CORS protocol and credentials: never * with credentials",
        cors("*", credentials=True),
        {ORIGIN: A, CREDENTIALS: "true"},
    ),
    (
        "Fetch, HTTP responses: credentials is true, or absent",
        cors(A, credentials=True),
        {ORIGIN: A, CREDENTIALS: "true"},
    ),
    ("Fetch, HTTP responses: exposed", cors(A, exposed=("x-a", "x-b")), {ORIGIN: A, EXPOSED: "x-a, x-b"}),
]


@pytest.mark.parametrize(("source", "rules", "expected"), RESPONSES)
def test_fields_of_responses(source: str, rules: Cors, expected: dict[str, str]) -> None:
    assert dict(rules.response(A)) == expected


PREFLIGHTS: list[tuple[str, Cors, str, dict[str, str | None]]] = [
    (
        "HTTPCORSFilter.allowMethods",
        cors(A, methods=("GET", "PUT")),
        "",
        {METHODS: "GET, PUT", HEADERS: None},
    ),
    ("HTTPCORSFilter.allowMethods: *", cors(A, methods=("*",)), "", {METHODS: "*"}),
    (
        "Fetch, CORS protocol and credentials: * is a name",
        cors(A, methods=("*",), credentials=True),
        "",
        {METHODS: "PUT"},
    ),
    ("HTTPCORSFilter.allowHeaders", cors(A, headers=("x-a",)), "x-b", {HEADERS: "x-a"}),
    ("HTTPCORSFilter.allowHeaders: *", cors(A, headers=("*",)), "x-b", {HEADERS: "*"}),
    (
        "Fetch, CORS protocol and credentials: * is a name",
        cors(A, headers=("*",), credentials=True),
        "x-b,x-c",
        {HEADERS: "x-b,x-c"},
    ),
    ("Fetch, HTTP responses: no list is no permission", cors(A), "x-b", {HEADERS: None, METHODS: None}),
    ("HTTPCORSFilter.maxAge", cors(A, max_age=600), "", {AGE: "600"}),
    ("HTTPCORSFilter.maxAge: 5 by default", cors(A), "", {AGE: "5"}),
]


@pytest.mark.parametrize(("source", "rules", "headers", "expected"), PREFLIGHTS)
def test_fields_of_answers_to_preflights(
    source: str, rules: Cors, headers: str, expected: dict[str, str | None]
) -> None:
    found = rules.preflight(A, "PUT", headers)
    assert found is not None
    fields = dict(found)
    assert {name: fields.get(name) for name in expected} == expected
    assert "Origin" in fields["vary"]


def test_responses_that_depend_on_the_origin_say_so() -> None:
    """Fetch, CORS protocol and HTTP caches."""
    assert [cors("*").varies, cors(A).varies, cors("*", credentials=True).varies] == [False, True, True]
