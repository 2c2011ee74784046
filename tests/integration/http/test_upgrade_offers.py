"""Offers to upgrade that a gateway takes up or ignores (RFC 9110, 7.8; RFC 6455)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1

import pytest

from dataplane.gateway.policy.resources import Route
from tests.integration.http.fields import GET, POST, values, with_fields
from tests.support.http_stage import Conversation, Upstream, stage

H2C = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk"]
BODIES = {
    "none": (GET, b""),
    "known": (with_fields(POST, b"Content-Length: 5") + b"hello", b"hello"),
    "long": (with_fields(POST, b"Content-Length: 300000") + b"x" * 300_000, b"x" * 300_000),
    "chunks": (
        with_fields(POST, b"Transfer-Encoding: chunked") + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
        b"hello",
    ),
    "empty": (with_fields(POST, b"Content-Length: 0"), b""),
}


async def echo(talk: Conversation) -> None:
    while True:
        head = await talk.head()
        if values(head, b"transfer-encoding"):
            body = await talk.chunks()
        else:
            body = await talk.body(int((values(head, b"content-length") or [b"0"])[0]))
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("piece", [1 << 20, 40], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    "offer", [H2C, [b"Connection: upgrade", b"Upgrade: x y"], [b"Connection: Upgrade", b"Upgrade: ,"]]
)
async def test_an_offer_that_does_not_count_is_answered_in_http11(
    name: str, piece: int, offer: list[bytes]
) -> None:
    """Java's HttpClient and `curl --http2` offer h2c with every first request; the connection goes on."""
    request, body = BODIES[name]
    request = with_fields(request, *offer)
    upstream = Upstream(echo)
    async with stage(upstream) as gate:
        client = await gate.client()
        for wire in (request, request, request + GET + request):
            for at in range(0, len(wire), piece if len(wire) < 100_000 else 1 << 20):
                await client.say(wire[at : at + (piece if len(wire) < 100_000 else 1 << 20)])
                await asyncio.sleep(0)
            got = [(await client.answer())[1] for _ in range(wire.count(b"HTTP/1.1\r\n"))]
            assert got == [body] + [b"", body] * (len(got) == 3)
        assert upstream.connections == 1
    assert not any(values(head, b"upgrade") or values(head, b"http2-settings") for head in upstream.heads)


async def test_an_offer_with_a_body_is_ignored_whatever_it_is_for() -> None:
    routes = [Route("ws", "s", prefix="/", public=True, upgrades=("websocket",))]
    async with stage(Upstream(echo), routes=routes) as gate:
        client = await gate.client()
        for _ in range(2):
            await client.say(
                with_fields(POST, b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 2") + b"ab"
            )
            assert (await client.answer())[1] == b"ab"


async def test_an_offer_beside_h2c_still_counts() -> None:
    async def script(talk: Conversation) -> None:
        head = await talk.head()
        assert values(head, b"upgrade") == [b"raw"]
        await talk.say(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nhi")
        await talk.gone()

    routes = [Route("raw", "s", prefix="/", public=True, upgrades=("raw",))]
    async with stage(Upstream(script), routes=routes) as gate:
        client = await gate.client()
        await client.say(with_fields(GET, b"Connection: upgrade", b"Upgrade: h2c, raw,"))
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert await client.reader.readexactly(2) == b"hi"


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b64encode(sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


@pytest.mark.parametrize(
    ("accept", "status"),
    [([ACCEPT], 101), ([], 502), ([b"x"], 502), ([ACCEPT, ACCEPT], 502), ([KEY], 502)],
    ids=["right", "none", "wrong", "twice", "the key"],
)
async def test_a_websocket_needs_the_instance_to_accept_the_key(accept: list[bytes], status: int) -> None:
    """RFC 6455, 4.1: the client would have to fail the connection; until then a gateway could be made to tunnel."""
    agreed = with_fields(
        b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        *[b"Sec-WebSocket-Accept: " + each for each in accept],
    )

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(agreed)
        await talk.gone()

    routes = [Route("ws", "s", prefix="/", public=True, upgrades=("websocket",))]
    async with stage(Upstream(script), routes=routes) as gate:
        client = await gate.client()
        await client.say(
            with_fields(
                GET,
                b"Connection: upgrade",
                b"Upgrade: websocket",
                b"Sec-WebSocket-Key: " + KEY,
                b"Sec-WebSocket-Version: 13",
            )
        )
        assert (await client.head()).startswith(b"HTTP/1.1 %d " % status)
