"""Which trailers travel on: announced, and none that is read before the body, in any spelling."""

from __future__ import annotations

import pytest

from dataplane.proxy.fields.kinds import PASS
from dataplane.proxy.http1.names import REQUEST_NAMES, RESPONSE_NAMES
from dataplane.proxy.http1.response import (
    CHUNKS,
    LENGTH,
    NO_BODY,
    TRAILED,
    UNTIL_CLOSE,
    read_response,
    response_head,
)
from dataplane.proxy.http1.trailers import NEVER, announced, excessive, kept, last_chunk

IN_CHUNKS = (b"Transfer-Encoding", b"chunked")
NONE = frozenset[bytes]()


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([b"X-Sum"], [b"x-sum"]),
        ([b"X-Sum, Server-Timing,ETag"], [b"x-sum", b"server-timing", b"etag"]),
        ([b"X-Sum", b"Content-Digest"], [b"x-sum", b"content-digest"]),
        ([b"X-Sum, x-sum"], [b"x-sum"]),
        ([b" ,X-Sum\t, ,"], [b"x-sum"]),
        ([b""], []),
        ([b"X Sum, X-Sum: 1, \xff, (a), a/b, X-Other"], [b"x-other"]),
        ([b"X-Sum, Content-Length, X-Other"], [b"x-sum", b"x-other"]),
    ],
)
def test_what_is_announced(values: list[bytes], names: list[bytes]) -> None:
    assert list(announced(values, NONE)) == names


def test_what_stays_on_this_hop_is_not_announced() -> None:
    assert list(announced([b"X-Sum, X-Hop"], frozenset({b"x-hop"}))) == [b"x-sum"]


@pytest.mark.parametrize("name", sorted(NEVER))
@pytest.mark.parametrize("dash", [b"-", b"_", b"."])
def test_what_is_never_a_trailer(name: bytes, dash: bytes) -> None:
    spelled = name.replace(b"-", dash)
    assert not announced([spelled, spelled.upper(), spelled.title()], NONE)


def test_none_of_the_fields_that_are_ours_to_read_or_to_say() -> None:
    assert all(name in NEVER for names in (REQUEST_NAMES, RESPONSE_NAMES) for name in names._kinds)
    assert {b"x-auth-subject", b"host", b"x-request-id", b"date", b"trailer", b"te"} <= NEVER


def test_what_is_kept() -> None:
    names = announced([b"X-Sum, X-Other"], NONE)
    passing = [b"\r\nX-Sum: ", b"1", b"\r\nX-Stray: ", b"2", b"\r\nx-sum: ", b"3"]
    special = [(b"X-OTHER", b"4"), (b"X_Sum", b"5"), (b"Connection", b"close"), (b"Set-Cookie", b"a")]
    assert RESPONSE_NAMES.kind(b"X-OTHER") == PASS
    pieces = kept(names, passing, special)
    assert b"".join(pieces) == b"\r\nX-Sum: 1\r\nx-sum: 3\r\nX-OTHER: 4"


def test_the_end_of_a_body() -> None:
    assert b"".join(last_chunk([])) == b"0\r\n\r\n"
    assert b"".join(last_chunk([b"\r\nX-Sum: ", b"1"])) == b"0\r\nX-Sum: 1\r\n\r\n"


def test_sections_have_the_bounds_of_heads() -> None:
    passing, special = [b"\r\nA: ", b"bc"], [(b"D", b"ef")]
    assert not excessive(passing, special, fields=2, size=14)
    assert excessive(passing, special, fields=1, size=14)
    assert excessive(passing, special, fields=2, size=13)
    assert not excessive([], [], fields=0, size=0)


@pytest.mark.parametrize(
    ("fields", "to_head", "status", "framing"),
    [
        ([IN_CHUNKS, (b"Trailer", b"X-Sum")], False, 200, TRAILED),
        ([(b"Trailer", b"X-Sum"), IN_CHUNKS], False, 500, TRAILED),
        ([IN_CHUNKS, (b"Trailer", b"Set-Cookie")], False, 200, CHUNKS),
        ([IN_CHUNKS, (b"Connection", b"X-Sum"), (b"Trailer", b"x-sum")], False, 200, CHUNKS),
        ([IN_CHUNKS], False, 200, CHUNKS),
        ([(b"Content-Length", b"5"), (b"Trailer", b"X-Sum")], False, 200, LENGTH),
        ([(b"Trailer", b"X-Sum")], False, 200, UNTIL_CLOSE),
        ([IN_CHUNKS, (b"Trailer", b"X-Sum")], True, 200, NO_BODY),
        ([IN_CHUNKS, (b"Trailer", b"X-Sum")], False, 304, NO_BODY),
    ],
)
@pytest.mark.parametrize("http11", [True, False])
def test_only_a_body_in_chunks_is_followed_by_trailers(
    fields: list[tuple[bytes, bytes]], to_head: bool, status: int, framing: int, http11: bool
) -> None:
    response = read_response(status, [], fields, to_head, True, lambda: "1.1")
    assert response.framing == framing
    head = b"".join(response_head(response, http11, False, b"id", b"\r\ndate: now"))
    assert head.lower().count(b"trailer") == (1 if framing == TRAILED and http11 else 0)
    if framing == TRAILED and http11:
        assert b"\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n" in head
