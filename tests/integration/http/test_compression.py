"""Compressed responses, on the wire."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable
from typing import cast

import pytest

from dataplane.gateway.policy import compression as policy
from dataplane.gateway.policy.forwarding import Forwarding
from dataplane.gateway.policy.resources import Route, Timeouts
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.compression import BUDGET, Compression
from dataplane.proxy.downstream import Downstream
from dataplane.proxy.shared import at_end_of_turn
from dataplane.proxy.upstream import Upstream as UpstreamSide
from tests.integration.http.fields import GET, lines, values, with_fields
from tests.support.http_stage import Client, Conversation, Script, Stage, Upstream, answering, stage
from tests.support.waiting import eventually, within
from tests.unit.dataplane.proxy.test_compressors import DECODERS

RULES = policy.Compression(("zstd", "br", "gzip"), ("text/*",), 100)
ROUTES = [Route("r", "s", prefix="/", public=True, forwarding=Forwarding(compression=RULES))]
BODY = b"".join(b"<li>order %d</li>\n" % number for number in range(1000))
LONG = b"".join(b"<li>order %d %d</li>\n" % (n, n * 7919 % 10_007) for n in range(100_000))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n%b\r\n"
WHOLE = ANSWER % (b'Content-Length: %d\r\nETag: "1"\r\n' % len(BODY)) + BODY
GUNZIP = with_fields(GET, b"Accept-Encoding: gzip")


def asking(*codings: str) -> bytes:
    return with_fields(GET, b"Accept-Encoding: " + ", ".join(codings).encode())


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
async def test_the_client_gets_the_body_in_the_coding_that_it_accepts(coding: str) -> None:
    """Several times over one connection: the second head comes from the cache of heads."""
    async with stage(Upstream(answering(WHOLE)), routes=ROUTES) as gate:
        client = await gate.client()
        for _ in range(3):
            await client.say(asking(coding))
            head, body = await client.answer()
            assert DECODERS[coding](body) == BODY and len(body) < len(BODY) / 3
            assert values(head, b"content-encoding") == [coding.encode()]
            assert values(head, b"etag") == [b'W/"1"'] and values(head, b"vary") == [b"Accept-Encoding"]
            assert not values(head, b"content-length")
        await client.say(GET)
        head, body = await client.answer()
    assert (
        body == BODY and values(head, b"etag") == [b'"1"'] and values(head, b"vary") == [b"Accept-Encoding"]
    )
    first, *_, last = gate.observer.exchanges
    assert 0 < first.sent < len(BODY) / 3 and last.sent == len(BODY)
    assert gate.proxy.shared.compression.under_way == 0
    [(route, *counts)] = gate.proxy.shared.compression.report()
    assert (route, counts) == ("r", [coding, 3, 3 * len(BODY), 3 * first.sent])


FRAMINGS = {
    "length": ANSWER % (b"Content-Length: %d\r\n" % len(LONG)) + LONG,
    "one chunk": ANSWER % b"Transfer-Encoding: chunked\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG),
    "until close": ANSWER % b"Connection: close\r\n" + LONG,
}


def once(answer: bytes) -> Script:
    """One answer, then the end of the connection."""

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(answer)

    return script


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_long_bodies_in_every_framing(framing: str, coding: str) -> None:
    async with stage(Upstream(once(FRAMINGS[framing])), routes=ROUTES) as gate:
        _, body = await gate.ask(asking(coding))
        assert DECODERS[coding](body) == LONG
        assert gate.observer.decisions == [("forwarded", 200)]


async def test_each_message_of_a_stream_is_sent_at_once() -> None:
    said = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(ANSWER % b"Transfer-Encoding: chunked\r\n")
        for number in range(5):
            await talk.say(b"a\r\nmessage %d\n\r\n" % number)
            await said.wait()
            said.clear()
        await talk.say(b"0\r\n\r\n")

    made = zlib.decompressobj(16 + zlib.MAX_WBITS)
    async with stage(Upstream(script), routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(GUNZIP)
        await client.head()
        for number in range(5):
            text = b""
            while not text.endswith(b"\n"):
                text += made.decompress(await _chunk(client))
            assert text == b"message %d\n" % number
            said.set()


async def _chunk(client: Client) -> bytes:
    size = int(await within(client.reader.readline(), 30), 16)
    return (await within(client.reader.readexactly(size + 2), 30))[:-2]


async def test_trailers_follow_the_compressed_body() -> None:
    answer = ANSWER % b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n"
    answer += b"%x\r\n%b\r\n0\r\nX-Sum: 42\r\n\r\n" % (len(BODY), BODY)
    async with stage(Upstream(answering(answer)), routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(GUNZIP)
        head, body = await client.answer()
    assert DECODERS["gzip"](body) == BODY
    assert values(head, b"trailer") == [b"x-sum"] and client.trailers == [b"X-Sum: 42"]


async def test_a_turn_of_the_event_loop_compresses_little() -> None:
    """Three long bodies at once: other connections get their turns in between."""
    turns: list[int] = []

    def soon(turn: Callable[[], None]) -> None:
        def noted() -> None:
            turns.append(BUDGET - compression._left)
            turn()

        at_end_of_turn(noted)

    compression = Compression(soon)
    async with stage(Upstream(answering(FRAMINGS["length"])), routes=ROUTES) as gate:
        gate.proxy.shared.compression = compression
        clients = [await gate.client() for _ in range(3)]
        for client in clients:
            await client.say(GUNZIP)
        bodies = [(await client.answer())[1] for client in clients]
    assert [DECODERS["gzip"](body) == LONG for body in bodies] == [True] * 3
    assert 3 * len(LONG) == sum(turns)
    assert max(turns) <= BUDGET


async def test_a_slow_client_holds_up_the_instance() -> None:
    """What waits is bounded: noise does not shrink, and the client reads nothing for a while."""
    piece = random.Random(3).randbytes(1_000_000)
    noise = piece * 32
    sent = 0

    async def script(talk: Conversation) -> None:
        nonlocal sent
        await talk.head()
        await talk.say(ANSWER % (b"Content-Length: %d\r\n" % len(noise)))
        for _ in range(32):
            await talk.say(piece)
            sent += len(piece)

    async with stage(Upstream(script), routes=ROUTES, bounds=Bounds(write_buffer=65_536)) as gate:
        client = await gate.client(limit=65_536)
        await client.say(asking("zstd"))
        await client.head()
        await eventually(lambda: gate.proxy.shared.compression.under_way and _is_held_up(gate))
        assert sent < len(noise)
        body = b""
        while received := await _chunk(client):
            body += received
    assert DECODERS["zstd"](body) == noise


def _is_held_up(gate: Stage) -> bool:
    """The client takes nothing, and so nothing is read from the instance."""
    (connection,) = gate.proxy.connections
    exchange = cast(Downstream, connection).current
    assert exchange is not None and exchange.upstream is not None
    return exchange.client.write_paused and cast(UpstreamSide, exchange.upstream)._paused


async def test_a_body_that_breaks_off_does_not_look_whole() -> None:
    cut = ANSWER % (b"Content-Length: %d\r\n" % len(LONG)) + LONG[:200_000]
    async with stage(Upstream(once(cut)), routes=ROUTES) as gate:
        raw = await gate.until_closed(GUNZIP)
        assert not raw.endswith(b"0\r\n\r\n")
        assert gate.observer.decisions == [("bad_response", 200)]
        assert gate.proxy.shared.compression.under_way == 0


async def test_a_client_that_leaves_frees_its_compressor() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(ANSWER % b"Transfer-Encoding: chunked\r\n" + b"5\r\nhello\r\n")
        await talk.gone()

    async with stage(Upstream(script), routes=ROUTES, timeouts=Timeouts(idle=30.0)) as gate:
        client = await gate.client()
        await client.say(GUNZIP)
        await client.head()
        assert gate.proxy.shared.compression.under_way == 1
        client.close()
        await eventually(lambda: not gate.proxy.shared.compression.under_way)


async def test_bytes_after_the_response_are_no_part_of_it() -> None:
    async with stage(Upstream(answering(FRAMINGS["length"] + b"HTTP/1.1 200 OK\r\n")), routes=ROUTES) as gate:
        _, body = await gate.ask(GUNZIP)
        assert DECODERS["gzip"](body) == LONG
        _, body = await gate.ask(GUNZIP)
        assert DECODERS["gzip"](body) == LONG


async def test_http_1_0_and_head_get_no_compressed_body() -> None:
    async with stage(Upstream(answering(WHOLE)), routes=ROUTES) as gate:
        raw = await gate.until_closed(b"GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        assert raw.endswith(b"\r\n\r\n" + BODY) and b"content-encoding" not in raw
    bodiless = WHOLE[: -len(BODY)]
    async with stage(Upstream(answering(bodiless)), routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(GUNZIP.replace(b"GET", b"HEAD", 1))
        head = await client.head()
        assert values(head, b"content-encoding") == [b"gzip"] and not values(head, b"content-length")
        assert lines(head)[0] == b"HTTP/1.1 200 OK"
