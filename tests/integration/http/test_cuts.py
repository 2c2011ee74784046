"""However the network cuts the bytes, the same messages come out: every message is cut at every position."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.http_stage import Client, Conversation, Stage, Upstream, answering, stage

REQUESTS = {
    "plain": b"GET /a?b=c HTTP/1.1\r\nHost: gate.example\r\nAccept: */*\r\n\r\n",
    "length": b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    "chunks": b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6;x=y\r\nhello \r\n5\r\nworld\r\n0\r\nX-T: 1\r\n\r\n",
    "no chunk but the last": b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "pipelined": b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
    b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world"
    b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "empty line first": b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
}
BODIES = {"length": b"hello world", "chunks": b"hello world", "no chunk but the last": b""}

ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello", b"hello"),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n",
        b"hello",
    ),
    "trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"5\r\nhello\r\n0\r\nT: 1\r\nX-Sum: abc\r\n\r\n",
        b"hello",
    ),
    "interim": (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
    ),
    "no body": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    "close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", b"hello"),
}


async def echo(talk: Conversation) -> None:
    """Answer with what the request was: its first line and its body."""
    while True:
        head = await talk.head()
        body = b""
        if b"chunked" in head:
            body = await talk.chunks()
        elif b"content-length: " in head:
            body = await talk.body(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        said = head.split(b"\r\n")[0] + b"|" + body
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))


async def in_two(client: Client, data: bytes, at: int) -> None:
    """Send the data in two pieces that arrive one after the other."""
    await client.say(data[:at])
    for _ in range(3):
        await asyncio.sleep(0)
    await client.say(data[at:])


def cuts(data: bytes) -> Iterator[int]:
    yield from range(1, len(data))


@pytest.mark.parametrize("name", REQUESTS)
async def test_requests(name: str) -> None:
    request = REQUESTS[name]
    expected = request.count(b"HTTP/1.")
    async with stage(Upstream(echo)) as gate:
        whole = await spoken(gate, request, expected)
        assert all(body for body in whole)
        if name in BODIES:
            assert whole[0].endswith(b"|" + BODIES[name])
        client = await gate.client()
        for at in cuts(request):
            await in_two(client, request, at)
            assert [(await client.answer())[1] for _ in range(expected)] == whole, at
        # Byte by byte.
        for at in range(len(request)):
            await client.say(request[at : at + 1])
            await asyncio.sleep(0)
        assert [(await client.answer())[1] for _ in range(expected)] == whole
        assert {decision for decision, _ in gate.observer.decisions} == {"forwarded"}


async def spoken(gate: Stage, request: bytes, expected: int) -> list[bytes]:
    client = await gate.client()
    await client.say(request)
    return [(await client.answer())[1] for _ in range(expected)]


@pytest.mark.parametrize("name", ANSWERS)
async def test_responses(name: str) -> None:
    answer, body = ANSWERS[name]
    at = 0

    async def script(talk: Conversation) -> None:
        while True:
            await talk.head()
            await talk.say(answer[:at])
            for _ in range(6):
                await asyncio.sleep(0)
            await talk.say(answer[at:])
            if name == "close":
                return

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        for at in cuts(answer):
            await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            if name == "no body":
                assert (await client.head()).startswith(b"HTTP/1.1 304")
                continue
            head, got = await client.answer()
            if b"HTTP/1.1 102" in head:
                head, got = await client.answer()
            assert head.startswith(b"HTTP/1.1 200") and got == body, at
            assert client.trailers == ([b"X-Sum: abc"] if name == "trailers" else []), at
        assert {decision for decision, _ in gate.observer.decisions} == {"forwarded"}


@pytest.mark.parametrize("name", ["length", "chunks", "trailers", "interim"])
async def test_responses_that_end_at_every_byte(name: str) -> None:
    answer, _ = ANSWERS[name]
    begun = answer.index(b"HTTP/1.1 200")
    head_end = answer.index(b"\r\n\r\n", begun) + 4
    for at in range(len(answer)):

        async def script(talk: Conversation, at: int = at) -> None:
            await talk.head()
            await talk.say(answer[:at])

        async with stage(Upstream(script)) as gate:
            got = await gate.until_closed(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            final = got[got.rindex(b"HTTP/1.1 ") :]
            if at >= head_end:
                # Visibly broken: no reader of the framing takes it for whole.
                assert final.startswith(b"HTTP/1.1 200") or not got
                assert b"\r\n0\r\n" not in final and not final.endswith(b"\r\n\r\nhello"), at
                assert gate.observer.decisions == [("bad_response", 200)]
            else:
                status = 502 if at else 503
                assert final.startswith(b"HTTP/1.1 %d" % status), at
            assert gate.endpoint().idle == []


@pytest.mark.parametrize("name", ["length", "chunks"])
async def test_requests_that_end_at_every_byte(name: str) -> None:
    request = REQUESTS[name]
    upstream = Upstream(answering(b""))
    async with stage(upstream) as gate:
        for at in range(1, len(request)):
            client = await gate.client()
            await client.say(request[:at])
            client.writer.write_eof()
            assert await client.rest() == b"", at
        assert {decision for decision, _ in gate.observer.decisions} == {"client_left"}
        assert gate.endpoint().in_flight == 0
