"""What a field name means, in every spelling."""

from __future__ import annotations

import pytest

from dataplane.proxy.fields.kinds import (
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    DROP,
    HOST,
    PASS,
    REQUEST,
    RESPONSE,
)
from dataplane.proxy.http1.names import Names, begin, field_sorter, nominated, request_names, without


def test_spellings_that_fields_may_have() -> None:
    names = Names(REQUEST)
    assert [names.kind(name) for name in (b"host", b"Host", b"HOST", b"hOsT")] == [HOST] * 4
    assert names.kind(b"content-length") == CONTENT_LENGTH
    assert names.kind(b"X-Anything") == PASS


@pytest.mark.parametrize("name", REQUEST)
@pytest.mark.parametrize("other", [b"_", b".", b"!", b"~"])
def test_spellings_that_cgi_would_fold_are_dropped(name: bytes, other: bytes) -> None:
    names = Names(REQUEST)
    if b"-" in name:
        assert names.kind(name.replace(b"-", other)) == DROP
        assert names.kind(name.replace(b"-", other).upper()) == DROP


@pytest.mark.parametrize("name", [b"x_custom", b"X.Custom", b"accept_language", b"user-agent"])
def test_other_names_may_be_spelled_as_they_like(name: bytes) -> None:
    assert Names(REQUEST).kind(name) == PASS


@pytest.mark.parametrize("stripped", ["cookie", "Cookie"])
def test_cookies_travel_on_unless_they_are_stripped(stripped: str) -> None:
    assert request_names().kind(b"Cookie") == COOKIE
    assert request_names((stripped,)).kind(b"Cookie") == DROP


def test_responses_have_kinds_of_their_own() -> None:
    names = Names(RESPONSE)
    assert names.kind(b"Connection") == CONNECTION and names.kind(b"X-Request-Id") == DROP
    assert names.kind(b"Host") == names.kind(b"Authorization") == PASS


def test_memory_is_bounded() -> None:
    names = Names(REQUEST)
    for number in range(10_000):
        assert names.kind(b"x-%d" % number) == PASS
    assert names.kind(b"x" * 100) == PASS and b"x" * 100 not in names.known
    assert len(names.known) == len(names.passing) == 2_000
    assert names.kind(b"hOST") == HOST


def test_fields_are_collected_as_they_will_be_written() -> None:
    names, passing, special = Names(REQUEST), list[bytes](), list[tuple[bytes, bytes]]()
    heard = field_sorter(names, passing, special)
    names.kind(b"Accept")
    for name in (b"Accept", b"Host", b"X-New", b"Accept"):
        heard(name, b"v")
    assert passing == [b"\r\nAccept: ", b"v", b"\r\nX-New: ", b"v", b"\r\nAccept: ", b"v"]
    assert special == [(b"Host", b"v")]


def test_spellings_stay_in_order_whether_or_not_they_were_seen_before() -> None:
    for seen in ((), (b"X-A", b"Host"), (b"x-a",), tuple(b"x-%d" % number for number in range(2_000))):
        names, passing, special = Names(REQUEST), list[bytes](), list[tuple[bytes, bytes]]()
        for name in seen:
            names.kind(name)
        heard = field_sorter(names, passing, special)
        for name, value in ((b"X-A", b"1"), (b"Host", b"2"), (b"x-a", b"3"), (b"HOST", b"4"), (b"X-a", b"5")):
            heard(name, value)
        assert passing == [b"\r\nX-A: ", b"1", b"\r\nx-a: ", b"3", b"\r\nX-a: ", b"5"]
        assert special == [(b"Host", b"2"), (b"HOST", b"4")]


def test_nominated() -> None:
    assert nominated([b"close, X-A ,,x-b", b"Keep-Alive, X-C"]) == {b"x-a", b"x-b", b"x-c"}
    assert nominated([b"", b" , close"]) == frozenset()


def test_without() -> None:
    pieces = [begin(b"X-A"), b"1", begin(b"X-Ab"), b"2", begin(b"x-a"), b"3"]
    assert without(pieces, frozenset({b"x-a"})) == [begin(b"X-Ab"), b"2"]
