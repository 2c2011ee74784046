"""One reading of every message: what could be read in two ways is refused, and nothing of it reaches an upstream."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.http_stage import OK, Conversation, Upstream, answering, stage
from tests.support.waiting import eventually, within

G = b"GET / HTTP/1.1\r\nHost: a\r\n"
P = b"POST / HTTP/1.1\r\nHost: a\r\n"
C = P + b"Transfer-Encoding: chunked\r\n\r\n"
INNER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

HEADS = {
    "bare CR in a value": (400, G + b"A: b\rc\r\n\r\n"),
    "bare LF in a value": (400, G + b"A: b\nC: d\r\n\r\n"),
    "NUL in a value": (400, G + b"A: b\0c\r\n\r\n"),
    "control character in a value": (400, G + b"A: b\x01\r\n\r\n"),
    "obs-fold": (400, G + b"A: b\r\n c\r\n\r\n"),
    "obs-fold at the start": (400, G.replace(b"Host", b" Host") + b"\r\n"),
    "space before the colon": (400, P + b"Content-Length : 5\r\n\r\nhello"),
    "tab before the colon": (400, P + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    "no name": (400, G + b": b\r\n\r\n"),
    "no colon": (400, G + b"A\r\n\r\n"),
    "8-bit name": (400, G + b"A\xff: b\r\n\r\n"),
    "LF line ends": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "LF ends the head": (400, G + b"\n"),
    "two equal lengths": (400, P + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "two differing lengths": (400, P + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello"),
    "list of lengths": (400, P + b"Content-Length: 5, 5\r\n\r\nhello"),
    "plus sign": (400, P + b"Content-Length: +5\r\n\r\nhello"),
    "minus sign": (400, P + b"Content-Length: -5\r\n\r\nhello"),
    "underscore": (400, P + b"Content-Length: 1_0\r\n\r\nhellohello"),
    "hexadecimal": (400, P + b"Content-Length: 0x5\r\n\r\nhello"),
    "8-bit digits": (400, P + b"Content-Length: \xb2\r\n\r\nhello"),
    "empty length": (400, P + b"Content-Length: \r\n\r\nhello"),
    "two numbers": (400, P + b"Content-Length: 5 5\r\n\r\nhello"),
    "overflowing length": (400, P + b"Content-Length: 18446744073709551616\r\n\r\n"),
    "absurd length": (400, P + b"Content-Length: 9999999999999999999\r\n\r\n"),
    "length, then chunks": (
        400,
        P + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    ),
    "chunks, then length": (
        400,
        P + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    ),
    "identity": (501, P + b"Transfer-Encoding: identity\r\n\r\n"),
    "gzip, chunked": (501, P + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked, gzip": (400, P + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, P + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "chunked, chunked": (400, P + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    "xchunked": (501, P + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "chunked with a parameter": (501, P + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
    "chunked and a comma": (400, P + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    "chunked in two words": (501, P + b"Transfer-Encoding: chun ked\r\n\r\n0\r\n\r\n"),
    "quoted chunked": (501, P + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    "vertical tab": (400, P + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    "empty coding": (400, P + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    "chunks in HTTP/1.0": (400, P.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two hosts": (400, G + b"Host: a\r\n\r\n"),
    "two differing hosts": (400, G + b"Host: b\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "empty host": (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    "host with a path": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "host with a user": (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "host with an empty label": (400, b"GET / HTTP/1.1\r\nHost: a..\r\n\r\n"),
    "host list": (400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    "two credentials": (400, G + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
    "HTTP/0.9": (505, b"GET /\r\n\r\n"),
    "HTTP/0.9 in words": (505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    "HTTP/2.0": (505, G.replace(b"1.1", b"2.0") + b"\r\n"),
    "HTTP/1.2": (505, G.replace(b"1.1", b"1.2") + b"\r\n"),
    "HTTP/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "a response": (400, b"HTTP/1.1 200 OK\r\n\r\n"),
    "small method": (501, G.replace(b"GET", b"get") + b"\r\n"),
    "CONNECT": (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + INNER),
    "TRACE": (501, G.replace(b"GET", b"TRACE") + b"\r\n"),
    "unknown expectation": (417, P + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\n"),
    "absolute target with a user": (400, b"GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "absolute target, other scheme": (400, G.replace(b"GET /", b"GET ftp://a/") + b"\r\n"),
    "asterisk": (400, G.replace(b"GET /", b"GET *") + b"\r\n"),
    "relative target": (400, G.replace(b"GET /", b"GET a") + b"\r\n"),
    "fragment": (400, G.replace(b"/ ", b"/#x ") + b"\r\n"),
    "fragment in the query": (400, G.replace(b"/ ", b"/?a#x ") + b"\r\n"),
    "space in the target": (400, G.replace(b"/ ", b"/a b ") + b"\r\n"),
    "8-bit target": (400, G.replace(b"/ ", b"/\xff ") + b"\r\n"),
    "NUL in the target": (400, G.replace(b"/ ", b"/\0 ") + b"\r\n"),
    "encoded NUL": (400, G.replace(b"/ ", b"/%00 ") + b"\r\n"),
    "encoded slash": (400, G.replace(b"/ ", b"/a%2fb ") + b"\r\n"),
    "encoded backslash": (400, G.replace(b"/ ", b"/a%5Cb ") + b"\r\n"),
    "backslash": (400, G.replace(b"/ ", b"/a\\b ") + b"\r\n"),
    "path parameter": (400, G.replace(b"/ ", b"/a;b=c/d ") + b"\r\n"),
    "encoded semicolon": (400, G.replace(b"/ ", b"/a%3bb ") + b"\r\n"),
    "double encoding": (400, G.replace(b"/ ", b"/%252e%252e/a ") + b"\r\n"),
    "above the root": (400, G.replace(b"/ ", b"/a/../../b ") + b"\r\n"),
    "bad triplet": (400, G.replace(b"/ ", b"/%zz ") + b"\r\n"),
    "long target": (414, G.replace(b"/ ", b"/" + b"a" * 8192 + b" ") + b"\r\n"),
    "long head": (431, G + b"A: " + b"b" * 65536 + b"\r\n\r\n"),
    "long head in small fields": (431, G + b"A: b\r\n" * 12_000 + b"\r\n"),
    "many fields": (431, G + b"A: b\r\n" * 128 + b"\r\n"),
    "endless name": (431, G + b"A" * 400_000),
}

BODIES = {
    "no size": C + b"\r\nx\r\n0\r\n\r\n",
    "size with a sign": C + b"+1\r\nx\r\n0\r\n\r\n",
    "size with 0x": C + b"0x1\r\nx\r\n0\r\n\r\n",
    "size with an underscore": C + b"1_0\r\nx\r\n0\r\n\r\n",
    "size before space": C + b"1 \r\nx\r\n0\r\n\r\n",
    "size after space": C + b" 1\r\nx\r\n0\r\n\r\n",
    "overflowing size": C + b"fffffffffffffffff\r\nx",
    "bare LF after the size": C + b"1\nx\r\n0\r\n\r\n",
    "bare CR in an extension": C + b"1;a\rb\r\nx\r\n0\r\n\r\n",
    "bare LF in an extension": C + b"1;a\nx\r\n0\r\n\r\n",
    "CRLF in a quoted extension": C + b'1;a="\r\n"\r\nx\r\n0\r\n\r\n',
    "data longer than the size": C + b"1\r\nxy\r\n0\r\n\r\n",
    "bare LF after the data": C + b"1\r\nx\n0\r\n\r\n",
    "no CRLF after the data": C + b"1\r\nx0\r\n\r\n",
    "bare LF after the last chunk": C + b"0\n\r\n",
    "length as trailer": C + b"0\r\nContent-Length: 5\r\n\r\nhello",
    "coding as trailer": C + b"0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded trailer": C + b"0\r\nA: b\r\n c\r\n\r\n",
    "broken trailer": C + b"0\r\nA\r\n\r\n",
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_head_is_refused_before_anything_reaches_an_upstream(name: str) -> None:
    status, request = HEADS[name]
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        got = await gate.until_closed(request)
        assert got.startswith(b"HTTP/1.1 %d " % status), got[:300]
        assert got.count(b"HTTP/1.1 ") == 1 and b"\r\nconnection: close\r\n" in got
        assert b"application/problem+json" in got and b"\r\nx-request-id: " in got
        assert gate.observer.decisions == [("bad_request", status)]
    assert upstream.connections == 0


@pytest.mark.parametrize("name", BODIES)
async def test_a_broken_body_ends_both_connections(name: str) -> None:
    upstream = Upstream(answering(b""))
    async with stage(upstream) as gate:
        got = await gate.until_closed(BODIES[name] + INNER)
        assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1 ") == 1
        assert gate.observer.decisions == [("bad_request", 400)]
        assert gate.endpoint().idle == []
    assert not any(b"smuggled" in head for head in upstream.heads)


@pytest.mark.parametrize("name", ["size with a sign", "no CRLF after the data", "length as trailer"])
async def test_a_body_that_breaks_after_its_head_was_forwarded(name: str) -> None:
    upstream = Upstream(answering(b""))
    head, body = BODIES[name][: len(C)], BODIES[name][len(C) :]
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(head)
        await eventually(lambda: upstream.heads)
        await client.say(body + INNER)
        got = await client.rest()
        assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1 ") == 1
    assert not any(b"smuggled" in head for head in upstream.heads)


@pytest.mark.parametrize(
    "flood",
    [
        b"1;" + b"a" * 20_000 + b"\r\nx\r\n" * 8,
        b"1;a=" + b"b" * 100 + b"\r\nx\r\n",
        b"0\r\n" + b"A: b\r\n" * 20_000,
    ],
)
async def test_framing_that_outweighs_the_data_is_refused(flood: bytes) -> None:
    async with stage(Upstream(answering(b""))) as gate:
        client = await gate.client()
        await client.say(C)
        writing = (flood * (3_000_000 // len(flood)))[:3_000_000]
        client.writer.write(writing)
        await eventually(lambda: gate.observer.decisions == [("bad_request", 400)])


@pytest.mark.parametrize("endless", [b"A: 1\r\n" * 100, b"a" * 1000], ids=["fields", "one field"])
async def test_endless_trailers_behind_a_long_body_are_not_kept(endless: bytes) -> None:
    """What a long body has carried is no credit for what follows it."""
    size, read = 2_000_000, asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        got = 0
        while got < size:
            got += (await talk.reader.read(65536)).count(b"x")
        read.set()
        await talk.gone()

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(C + b"%x\r\n%b\r\n" % (size, b"x" * size))
        await within(read.wait(), 30)
        await client.say(b"0\r\nA: ")
        for _ in range(40):
            await client.say(endless)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        assert gate.observer.decisions == [("bad_request", 400)]


async def test_a_refused_request_ends_what_was_pipelined_behind_it() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        got = await gate.until_closed(G + b"\r\n" + G + b"A : b\r\n\r\n" + INNER)
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]
    assert len(upstream.heads) == 1
