"""Responses with a head that was read before are known without the parser, and read as it would read them."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.http1.head_cache import HeadCache
from dataplane.proxy.http1.response import MalformedResponse, Response, response_head
from dataplane.proxy.http1.response_reader import ResponseReader

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: now\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n"
OK = HEAD + b"ok"


def read(known: HeadCache[Response], *pieces: bytes, to_head: bool = False) -> ResponseReader:
    reader = ResponseReader(known)
    reader.expect(to_head)
    for piece in pieces:
        if reader.incomplete:
            reader.feed(piece)
    return reader


def meaning(known: HeadCache[Response], *pieces: bytes, to_head: bool = False) -> object:
    """All that a reading consists of."""
    try:
        reader = read(known, *pieces, to_head=to_head)
    except MalformedResponse as bad:
        return str(bad)
    response = reader.response
    rest = (bool(reader.incomplete), reader.keep_alive, b"".join(reader.pieces), reader.interim)
    if response is None:
        return rest
    head = b"".join(response_head(response, True, True, b"id", b"\r\ndate: ours"))
    return response.status, response.framing, response.length, response.dated, head, rest


def test_the_second_response_is_known() -> None:
    known: HeadCache[Response] = HeadCache()
    first = meaning(known, OK)
    with mock.patch("dataplane.proxy.http1.response_reader.HttpResponseParser") as parser:
        assert meaning(known, OK) == first
        assert meaning(known, HEAD + b"no") != first
    parser.return_value.feed_data.assert_not_called()


def test_what_one_response_adds_to_its_head_does_not_show_in_the_next() -> None:
    known: HeadCache[Response] = HeadCache()
    for number in range(3):
        response = read(known, OK).response
        assert response is not None
        head = b"".join(response_head(response, True, False, b"id-%d" % number, b""))
        assert head.count(b"x-request-id") == head.count(b"connection: close") == 1
        assert b"id-%d" % number in head


@pytest.mark.parametrize(
    "pieces",
    [
        (HEAD[:30], HEAD[30:] + b"ok"),
        (HEAD, b"ok"),
        (HEAD + b"o", b"k"),
        (OK + b"more",),
        (b"\r\n" + OK,),
        (b"\r\n", OK),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK,),
        (b"HTTP/1.1 100 Continue\r\n\r\n", OK),
        (HEAD,),
    ],
)
def test_known_heads_that_come_in_another_way(pieces: tuple[bytes, ...]) -> None:
    known: HeadCache[Response] = HeadCache(sample=1)
    read(known, OK)
    for to_head in (False, True):
        expected = meaning(HeadCache(), *pieces, to_head=to_head)
        assert meaning(known, *pieces, to_head=to_head) == expected
        assert meaning(known, *pieces, to_head=to_head) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        HEAD.replace(b"X-A: 1", b"Connection: close") + b"ok",
        HEAD.replace(b"X-A: 1", b"X-A: " + b"1" * 4096) + b"ok",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"\r\n\r\n" + OK,
        OK + b"more",
        HEAD + b"o",
        HEAD,
    ],
)
def test_what_is_not_one_whole_response_of_known_length_is_not_remembered(data: bytes) -> None:
    known: HeadCache[Response] = HeadCache(sample=1)
    reader = ResponseReader(known)
    reader.expect(to_head=False)
    reader.feed(data)
    assert not known._younger


def test_answers_to_head_are_neither_cached_nor_served_from_the_cache() -> None:
    known: HeadCache[Response] = HeadCache(sample=1)
    read(known, HEAD, to_head=True)
    assert not known._younger
    planted = read(HeadCache(), OK.replace(b"200 OK", b"404 Not Found")).response
    assert planted is not None
    known.put(HEAD, planted)
    assert meaning(known, OK)[0] == 404  # type: ignore[index]
    assert meaning(known, HEAD, to_head=True)[0] == 200  # type: ignore[index]


@given(data=st.data())
def test_any_two_responses(data: st.DataObject) -> None:
    fields = st.sampled_from(
        [
            *(b"Content-Length: 2\r\n", b"Content-Length: 0\r\n", b"content-length: +2\r\n", b"X-A: 1\r\n"),
            *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: x-a\r\n"),
            *(
                b"Date: now\r\n",
                b"Trailer: x-a\r\n",
                b"Upgrade: websocket\r\n",
                b" folded\r\n",
                b"X-Request-Id: 1\r\n",
            ),
        ]
    )
    starts = st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 404 None",
            b"HTTP/1.1 204 -",
            b"HTTP/1.0 200 OK",
            b"HTTP/1.1 100 -",
            b"",
        ]
    )
    start, head = data.draw(starts), b"".join(data.draw(st.lists(fields, max_size=4)))
    rests = st.sampled_from([b"", b"ok", b"okay", b"\r\n\r\n", b"0\r\n\r\n", OK])
    first, second = (start + b"\r\n" + head + b"\r\n" + data.draw(rests) for _ in range(2))
    known: HeadCache[Response] = HeadCache(sample=1)
    meaning(known, first, to_head=data.draw(st.booleans()))
    to_head = data.draw(st.booleans())
    assert meaning(known, second, to_head=to_head) == meaning(HeadCache(), second, to_head=to_head)


def test_known_and_new_responses_in_turn_on_one_connection() -> None:
    reader = ResponseReader(HeadCache(sample=1))
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"
    for number in range(6):
        reader.expect(to_head=False)
        reader.feed(OK if number % 2 else chunks)
        assert reader.response is not None and not reader.incomplete and reader.keep_alive
        assert b"".join(reader.pieces) == b"ok"
        reader.pieces.clear()


def test_nobody_asked_for_a_known_response() -> None:
    known: HeadCache[Response] = HeadCache(sample=1)
    reader = read(known, OK)
    reader.feed(OK)
    assert not reader.keep_alive


def test_why_a_head_is_refused_is_told_also_while_an_exception_is_handled() -> None:
    wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"
    told = meaning(HeadCache(), wrong)
    try:
        raise ValueError
    except ValueError:
        assert meaning(HeadCache(), wrong) == told
