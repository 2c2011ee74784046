"""Heads of responses that may be encoded. Rows name their source: sections of RFC 9110 and 9111, or ours."""

from __future__ import annotations

import pytest

from dataplane.proxy.content_coding import CODINGS, Codings
from dataplane.proxy.http1.encoded import encode_head, in_chunks
from dataplane.proxy.http1.names import REQUEST_NAMES, RESPONSE_NAMES, field_sorter
from dataplane.proxy.http1.request import read_request
from dataplane.proxy.http1.response import Response, cached_response, read_response, response_head, to_cache
from dataplane.proxy.messages import Request
from dataplane.proxy.trust import TrustedProxies

RULES = Codings(CODINGS, ("text/*", "application/grpc"), 100)
HTML = "Content-Type: text/html"
LONG = "Content-Length: 1000"
GZIP = "Accept-Encoding: gzip"


def fields(lines: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    pairs = (line.partition(": ") for line in lines)
    return [(name.encode(), value.encode()) for name, _, value in pairs]


def request(*lines: str, method: str = "GET", version: str = "1.1") -> Request:
    passing: list[bytes] = []
    special: list[tuple[bytes, bytes]] = []
    collect = field_sorter(REQUEST_NAMES, passing, special)
    for name, value in [(b"Host", b"a"), *fields(lines)]:
        collect(name, value)
    peer = TrustedProxies(()).peer("192.0.2.1")
    return read_request(method.encode(), b"/", passing, special, peer, version == "1.1", lambda: version)


def response(*lines: str, status: int = 200, to_head: bool = False) -> Response:
    passing: list[bytes] = []
    special: list[tuple[bytes, bytes]] = []
    collect = field_sorter(RESPONSE_NAMES, passing, special)
    for name, value in fields(lines):
        collect(name, value)
    return read_response(status, passing, special, to_head, True, lambda: "1.1")


def written(made: Response) -> list[str]:
    """The fields that the client gets, sorted, without those that every response has."""
    head = b"".join(response_head(made, True, True, b"id", b"\r\ndate: now")).decode()
    lines = head.rstrip("\r\n").split("\r\n")[1:]
    return sorted(line for line in lines if not line.startswith(("date:", "x-request-id:")))


ENCODED = ["content-encoding: gzip", "vary: Accept-Encoding"]
HEADS: list[tuple[str, tuple[str, ...], list[str]]] = [
    # source, fields of the instance, fields of the client beyond Content-Type and Transfer-Encoding
    ("8.4: the coding", (HTML, LONG), ENCODED),
    ("12.5.5: Vary keeps its members", (HTML, LONG, "Vary: Origin"), ["Vary: Origin", *ENCODED]),
    ("12.5.5: * says it already", (HTML, LONG, "Vary: *"), ["Vary: *", ENCODED[0]]),
    (
        "12.5.5: said already",
        (HTML, LONG, "Vary: a, accept-encoding"),
        ["Vary: a, accept-encoding", ENCODED[0]],
    ),
    ("8.8.1: a strong ETag becomes weak", (HTML, LONG, 'ETag: "1"'), ['ETag: W/"1"', *ENCODED]),
    ("8.8.1: a weak one stays", (HTML, LONG, 'ETag: W/"1"'), ['ETag: W/"1"', *ENCODED]),
    ("14.3: ranges would be of other bytes", (HTML, LONG, "Accept-Ranges: bytes"), ENCODED),
    ("9112, 6.3: unknown length", (HTML, "Transfer-Encoding: chunked"), ENCODED),
    ("9112, 6.3: until the connection ends", (HTML,), ENCODED),
    (
        "6.6.2: trailers stay",
        (HTML, "Transfer-Encoding: chunked", "Trailer: X-A"),
        [*ENCODED, "trailer: x-a"],
    ),
    ("ours: exactly as long as it has to be", (HTML, "Content-Length: 100"), ENCODED),
]


@pytest.mark.parametrize(("source", "came", "expected"), HEADS, ids=[row[0] for row in HEADS])
def test_heads_of_encoded_bodies(source: str, came: tuple[str, ...], expected: list[str]) -> None:
    made = response(*came)
    assert encode_head(RULES, request(GZIP), made, -1) == "gzip"
    assert written(in_chunks(made)) == sorted([HTML, "transfer-encoding: chunked", *expected])


UNCHANGED: list[tuple[str, tuple[str, ...], int]] = [
    # source, fields of the instance, status
    ("8.4: encoded already", (HTML, LONG, "Content-Encoding: br"), 200),
    ("8.4: even as identity", (HTML, LONG, "Content-Encoding: identity"), 200),
    ("9111, 5.2.2.6: no-transform", (HTML, LONG, "Cache-Control: public, No-Transform"), 200),
    ("15.3.7: a part", (HTML, LONG, "Content-Range: bytes 0-999/2000"), 206),
    ("15.3.7: parts", ("Content-Type: text/x-parts", LONG), 206),
    ("15.5.17: unsatisfied", (HTML, LONG, "Content-Range: bytes */10"), 416),
    ("15.3.5", (HTML,), 204),
    ("15.3.6", (HTML, "Content-Length: 0"), 205),
    ("RFC 1864: Content-MD5", (HTML, LONG, "Content-MD5: Q2hlY2s="), 200),
    ("RFC 9530: Content-Digest", (HTML, LONG, "Content-Digest: sha-256=:a:"), 200),
    ("RFC 9530: Repr-Digest", (HTML, LONG, "Repr-Digest: sha-256=:a:"), 200),
    ("RFC 3230: Digest", (HTML, LONG, "Digest: sha-256=a"), 200),
    ("RFC 9421: signed", (HTML, LONG, "Signature-Input: a=()", "Signature: a=:b:"), 200),
    (
        "RFC 9530: a digest in the trailers",
        (HTML, "Transfer-Encoding: chunked", "Trailer: Content-Digest"),
        200,
    ),
    ("ours: another type", ("Content-Type: image/png", LONG), 200),
    ("ours: no type", (LONG,), 200),
    ("ours: two types", (HTML, "Content-Type: text/plain", LONG), 200),
    ("ours: a stream of events", ("Content-Type: text/event-stream", "Transfer-Encoding: chunked"), 200),
    ("ours: gRPC", ("Content-Type: application/grpc", "Transfer-Encoding: chunked"), 200),
    ("ours: short", (HTML, "Content-Length: 99"), 200),
    ("ours: empty", (HTML, "Content-Length: 0"), 200),
]


@pytest.mark.parametrize(("source", "came", "status"), UNCHANGED, ids=[row[0] for row in UNCHANGED])
def test_heads_that_stay(source: str, came: tuple[str, ...], status: int) -> None:
    made, same = response(*came, status=status), response(*came, status=status)
    assert encode_head(RULES, request(GZIP), made, -1) == ""
    assert (made.length, written(made)) == (same.length, written(same))


ONLY_VARY: list[tuple[str, Request, bool]] = [
    ("12.5.3: no coding is accepted", request(), False),
    ("12.5.3: none in common", request("Accept-Encoding: deflate"), False),
    ("ours: HTTP/1.0 has no chunks", request(GZIP, version="1.0"), False),
    ("ours: too many bodies under way", request(GZIP), True),
]


@pytest.mark.parametrize(("source", "asked", "full"), ONLY_VARY, ids=[row[0] for row in ONLY_VARY])
def test_what_another_client_would_get_encoded_says_so(source: str, asked: Request, full: bool) -> None:
    made = response(HTML, LONG, 'ETag: "1"', "Accept-Ranges: bytes")
    assert encode_head(RULES, asked, made, -1, full) == ""
    assert written(made) == [
        "Accept-Ranges: bytes",
        HTML,
        'ETag: "1"',
        "content-length: 1000",
        "vary: Accept-Encoding",
    ]


def test_a_client_may_forbid_it() -> None:
    """RFC 9111, 5.2.1.6."""
    made = response(HTML, LONG)
    assert encode_head(RULES, request(GZIP, "Cache-Control: no-cache, no-transform"), made, -1) == ""
    assert "content-encoding: gzip" not in written(made)


def test_a_head_request_gets_the_head_of_get() -> None:
    """RFC 9110, 9.3.2: otherwise a cache would take the stored response for another one."""
    made = response(HTML, LONG, 'ETag: "1"', to_head=True)
    assert encode_head(RULES, request(GZIP, method="HEAD"), made, 0) == ""
    assert written(made) == [HTML, 'ETag: W/"1"', *ENCODED]
    short = response(HTML, "Content-Length: 99", to_head=True)
    assert encode_head(RULES, request(GZIP, method="HEAD"), short, 0) == ""
    assert written(short) == [HTML, "content-length: 99"]


def test_a_304_has_the_tag_of_the_200() -> None:
    """RFC 9110, 15.4.5. A 304 has no Content-Type, so it is not known whether the 200 was encoded; a weak tag matches
    both (RFC 9111, 4.3.4)."""
    made = response('ETag: "1"', status=304)
    assert encode_head(RULES, request(GZIP), made, -1) == ""
    assert written(made) == ['ETag: W/"1"', "vary: Accept-Encoding"]
    made = response('ETag: "1"', status=304)
    assert encode_head(RULES, request(), made, -1) == ""
    assert written(made) == ['ETag: "1"']


@pytest.mark.parametrize(("held", "coding"), [(99, ""), (100, "gzip"), (-1, "gzip")])
def test_a_body_without_length_that_came_whole_has_one(held: int, coding: str) -> None:
    assert encode_head(RULES, request(GZIP), response(HTML, "Transfer-Encoding: chunked"), held) == coding


def test_a_head_from_the_cache() -> None:
    cached = cached_response(to_cache(response(HTML, LONG, 'ETag: "1"', "X-A: 1", "X-A: 2")))
    assert encode_head(RULES, request(GZIP), cached, -1) == "gzip"
    expected = [HTML, 'ETag: W/"1"', "X-A: 1", "X-A: 2", *ENCODED, "transfer-encoding: chunked"]
    assert written(in_chunks(cached)) == sorted(expected)
