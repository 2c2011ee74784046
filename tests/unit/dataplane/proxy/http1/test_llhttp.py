"""What the parser itself refuses, byte for byte: `headers` and `answers` build on it.

If a new httptools lets any of this through, the check has to move into those modules.
"""

from __future__ import annotations

from typing import Any

import pytest
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from dataplane.proxy.http1.target import is_plain_target
from dataplane.proxy.messages import METHODS

TOKEN = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Heard:
    """Every callback, in order."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.target = b""
        self.body = b""
        self.begun = self.heads = self.messages = 0
        self.keep: list[bool] = []
        self.parser: Any = None

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.heads += 1
        self.keep.append(self.parser.should_keep_alive())

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.messages += 1


def request(data: bytes) -> Heard:
    heard = Heard()
    heard.parser = HttpRequestParser(heard)
    heard.parser.feed_data(data)
    return heard


def response(data: bytes) -> Heard:
    heard = Heard()
    heard.parser = HttpResponseParser(heard)
    heard.parser.feed_data(data)
    return heard


HEADS = {request: b"GET / HTTP/1.1\r\n", response: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"}


@pytest.mark.parametrize("parse", HEADS)
@pytest.mark.parametrize("byte", range(256))
def test_bytes_in_names(parse: Any, byte: int) -> None:
    data = HEADS[parse] + b"A" + bytes([byte]) + b"B: x\r\n\r\n"
    if byte in TOKEN or byte == ord(":"):
        assert parse(data).messages == 1
    else:
        with pytest.raises(HttpParserError):
            parse(data)


@pytest.mark.parametrize("parse", HEADS)
@pytest.mark.parametrize("byte", range(256))
def test_bytes_in_values(parse: Any, byte: int) -> None:
    data = HEADS[parse] + b"A: x" + bytes([byte]) + b"y\r\n\r\n"
    if byte == 9 or (byte >= 32 and byte != 127):
        assert parse(data).fields[-1] == (b"A", b"x" + bytes([byte]) + b"y")
    else:
        with pytest.raises(HttpParserError):
            parse(data)


IN_TRAILERS = {
    request: b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    response: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
}


@pytest.mark.parametrize("parse", IN_TRAILERS)
def test_trailers_are_read_as_strictly_as_heads(parse: Any) -> None:
    for byte in range(256):
        name = IN_TRAILERS[parse] + b"A" + bytes([byte]) + b"B: x\r\n\r\n"
        value = IN_TRAILERS[parse] + b"A: x" + bytes([byte]) + b"y\r\n\r\n"
        for data, good in (
            (name, byte in TOKEN or byte == ord(":")),
            (value, byte == 9 or (byte >= 32 and byte != 127)),
        ):
            if good:
                assert parse(data).messages == 1
            else:
                with pytest.raises(HttpParserError):
                    parse(data)


@pytest.mark.parametrize("place", [b"/x%by", b"/?x%by"])
@pytest.mark.parametrize("byte", range(256))
def test_bytes_in_targets(place: bytes, byte: int) -> None:
    data = b"GET " + place.replace(b"%b", bytes([byte])) + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    if 32 < byte < 127:
        assert request(data).target == place.replace(b"%b", bytes([byte]))
    else:
        with pytest.raises(HttpParserError):
            request(data)


P = b"POST / HTTP/1.1\r\nHost: a\r\n"
C = P + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        P + b"A: b\r\n c\r\n\r\n",
        P + b" A: b\r\n\r\n",
        P + b"A : b\r\n\r\n",
        P + b": b\r\n\r\n",
        P + b"A\r\n\r\n",
        P + b"A: b\n\r\n",
        P + b"\n",
        P + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        P + b"Content-Length: 1, 1\r\n\r\nx",
        P + b"Content-Length: +1\r\n\r\nx",
        P + b"Content-Length: 1_0\r\n\r\nx",
        P + b"Content-Length: \r\n\r\n",
        P + b"Content-Length: 18446744073709551616\r\n\r\n",
        P + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        P + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        P + b"Transfer-Encoding: chunked, identity\r\n\r\n",
        P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        C + b"+1\r\nx\r\n",
        C + b"1 \r\nx\r\n",
        C + b"1\nx\r\n",
        C + b"1\r\nx\n",
        C + b"1\r\nxy\r\n",
        C + b"1;a\nb\r\nx\r\n",
        C + b"1;a\rb\r\nx\r\n",
        C + b'1;a="\r\n"\r\nx\r\n',
        C + b"fffffffffffffffff\r\n",
        C + b"0\r\nContent-Length: 1\r\n\r\n",
        C + b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    ],
)
def test_refused_requests(data: bytes) -> None:
    with pytest.raises(HttpParserError):
        request(data)


@pytest.mark.parametrize(
    "data",
    [
        P + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        P + b"Host: b\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\n\r\n",
        b"GET /\\#%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_let_through_and_refused_by_us(data: bytes) -> None:
    assert request(data).heads == 1


def test_the_head_is_heard_before_an_upgrade_stops_the_parser() -> None:
    for head in (
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        P + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ):
        heard = Heard()
        heard.parser = HttpRequestParser(heard)
        with pytest.raises(HttpParserUpgrade):
            heard.parser.feed_data(head + b"more")
        assert heard.heads == heard.messages == 1


def test_a_callback_that_fails_stops_the_parser_at_once() -> None:
    heard = Heard()
    heard.parser = HttpRequestParser(heard)
    one = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    heard.on_message_begin = [].pop  # type: ignore[method-assign]
    heard.parser = HttpRequestParser(heard)
    with pytest.raises(HttpParserError) as caught:
        heard.parser.feed_data(one)
    assert isinstance(caught.value.__context__, IndexError) and heard.heads == 0


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n"])
def test_keep_alive_is_known_when_the_head_is_complete(version: bytes, connection: bytes) -> None:
    keep = {b"": version == b"1.1", b"Connection: keep-alive\r\n": True}.get(connection, False)
    assert request(b"GET / HTTP/" + version + b"\r\n" + connection + b"\r\n").keep == [keep]
    framed = b" 200 OK\r\nContent-Length: 0\r\n"
    assert response(b"HTTP/" + version + framed + connection + b"\r\n").keep == [keep]
    assert response(b"HTTP/" + version + b" 200 OK\r\n" + connection + b"\r\n").keep == [False]


def test_a_close_among_trailers_is_believed_and_shuts_the_parser() -> None:
    """So a parser that has read trailers reads nothing else."""
    with pytest.raises(HttpParserError):
        response(IN_TRAILERS[response] + b"Connection: close\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")


def test_data_after_close_stops_the_parser() -> None:
    with pytest.raises(HttpParserError):
        request(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\nG")
    with pytest.raises(HttpParserError):
        response(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\nH")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"100 Continue"])
def test_responses_without_body(status: bytes) -> None:
    heard = response(
        b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    assert heard.messages == 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"HTTP/1.1 1000 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiX",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\nB: c\r\n\r\n",
    ],
)
def test_refused_responses(data: bytes) -> None:
    with pytest.raises(HttpParserError):
        response(data)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods_that_are_served(method: str) -> None:
    heard = request(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert heard.messages == 1
    assert heard.parser.get_method().decode() == method


def test_plain_targets_are_read_as_they_are() -> None:
    for byte in filter(lambda each: is_plain_target(bytes([each])), range(256)):
        for target in (b"/%c" % byte, b"/?%c" % byte, b"/a%ca" % byte):
            heard = request(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert (heard.messages, heard.target) == (1, target)
