"""Which coding a client gets. Rows name their source: sections of RFC 9110, or ours."""

from __future__ import annotations

import pytest

from dataplane.proxy.content_coding import CODINGS, Codings, preferred

ALL = ("zstd", "br", "gzip")
CHOICES: list[tuple[str, str, tuple[str, ...], str]] = [
    # source, Accept-Encoding, codings of the route, coding
    ("12.5.3: the first example", "compress, gzip", ALL, "gzip"),
    ("12.5.3: empty, only identity", "", ALL, ""),
    ("12.5.3: * is every other coding", "*", ALL, "zstd"),
    ("12.5.3: weights", "compress;q=0.5, gzip;q=1.0", ALL, "gzip"),
    ("12.5.3: identity is liked better", "gzip;q=0.5, identity", ALL, ""),
    (
        "12.5.3: identity as much, so that the order is ours",
        "gzip;q=1.0, identity; q=1.0, *;q=0",
        ALL,
        "gzip",
    ),
    ("12.5.3: the last example", "gzip;q=1.0, identity; q=0.5, *;q=0", ALL, "gzip"),
    ("12.5.3: * with weight 0 forbids the others", "br, *;q=0", ALL, "br"),
    ("12.5.3: a coding with weight 0", "zstd;q=0, *", ALL, "br"),
    ("12.4.2: the highest weight", "zstd;q=0.1, br;q=0.2, gzip;q=0.3", ALL, "gzip"),
    ("12.4.2: three digits", "zstd;q=0.123, br;q=0.124", ALL, "br"),
    ("12.4.2: q in either case", "zstd;Q=0.1, br;Q=0.2", ALL, "br"),
    ("12.4.2: q=0 is not acceptable", "gzip;q=0.000", ALL, ""),
    ("5.6.3: optional blanks", "gzip \t; \tq=0 ,\tbr", ALL, "br"),
    ("5.6.1.2: empty members", ",, gzip,,", ALL, "gzip"),
    ("8.4.1: codings ignore case", "GZIP", ALL, "gzip"),
    ("8.4.1.3: x-gzip is gzip", "x-gzip", ALL, "gzip"),
    ("ours: equal weights, the route's order", "gzip, deflate, br, zstd", ALL, "zstd"),
    ("ours: equal weights, another order", "gzip, deflate, br, zstd", ("gzip", "br"), "gzip"),
    ("ours: none in common", "deflate, compress", ALL, ""),
    ("ours: a malformed weight says nothing", "zstd;q=2, br;q=x, gzip;q=0.5", ALL, "gzip"),
    ("ours: another parameter says nothing", "zstd;level=3, gzip", ALL, "gzip"),
    ("ours: no name", ";q=1, gzip", ALL, "gzip"),
    ("ours: said twice, the refusal counts", "gzip, gzip;q=0", ALL, ""),
    ("ours: identity forbidden is no reason to encode", "identity;q=0", ALL, ""),
]


@pytest.mark.parametrize(("source", "accept", "codings", "coding"), CHOICES, ids=[row[0] for row in CHOICES])
def test_the_coding_of_a_response(source: str, accept: str, codings: tuple[str, ...], coding: str) -> None:
    assert Codings(codings, ("text/*",), 0).choose(accept) == coding


def test_choices_are_remembered() -> None:
    preferred.cache_clear()
    for _ in range(3):
        assert preferred("gzip", CODINGS) == "gzip"
    assert preferred.cache_info().hits == 2


TYPES = [
    ("text/html", True),
    ("text/html; charset=utf-8", True),
    ("TEXT/HTML", True),
    ("application/json", True),
    ("application/json;charset=utf-8", True),
    ("application/json-seq", False),
    ("image/png", False),
    ("text", False),
    ("", False),
    ("text/event-stream", False),
    ("Text/Event-Stream; charset=utf-8", False),
    ("application/grpc", False),
    ("application/grpc+proto", False),
    ("application/grpc-web-text", False),
]


@pytest.mark.parametrize(("kind", "covered"), TYPES)
def test_the_types_that_are_encoded(kind: str, covered: bool) -> None:
    rules = Codings(ALL, ("text/*", "application/json", "application/grpc"), 0)
    assert rules.covers(kind.encode()) is covered
