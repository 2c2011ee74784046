"""Whitespace around a field's value is no part of it, on either side of it (RFC 9112, 5.1; RFC 9110, 5.5)."""

from __future__ import annotations

import pytest

from dataplane.config.items import UnlinkedRoute
from dataplane.gateway.policy.resources import Limit, LimitKey, Route
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage

BLANKS = (b" ", b"\t", b" \t  ")


@pytest.mark.parametrize("blank", BLANKS)
async def test_what_is_read_is_read_without_it(blank: bytes) -> None:
    upstream = Upstream(answering(OK))
    fields = (b"Host: a.example", b"X-Forwarded-Proto: https", b"X-Request-Id: r-1", b"Max-Forwards: 3")
    async with stage(upstream, trusted=["127.0.0.0/8"]) as gate:
        head, _ = await gate.ask(
            b"".join((b"OPTIONS /a HTTP/1.1\r\n", *(field + blank + b"\r\n" for field in fields), b"\r\n"))
        )
    assert head.startswith(b"HTTP/1.1 200 ") and b"x-request-id: r-1\r\n" in head
    for line in (b"host: a.example", b"x-forwarded-proto: https", b"max-forwards: 2"):
        assert b"\r\n" + line + b"\r\n" in upstream.heads[0]


async def test_it_makes_no_other_caller_for_a_limit_by_header() -> None:
    route = UnlinkedRoute(Route("keyed", "s", prefix="/keyed", public=True), ("keys",))
    limit = Limit("keys", 0.001, 2, LimitKey.HEADER, "x-api-key")
    async with stage(Upstream(answering(OK)), routes=(), more=(route, limit)) as gate:
        statuses = [
            (await gate.ask(b"GET /keyed HTTP/1.1\r\nHost: a\r\nX-Api-Key:" + value + b"\r\n\r\n"))[0][9:12]
            for value in (b"k", b" k ", b"k\t", b"\tk \t", b"other")
        ]
    assert statuses == [b"200", b"200", b"429", b"429", b"200"]


async def test_a_websocket_is_agreed_on_without_it() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(
            b"HTTP/1.1 101 Fine\r\nUpgrade: websocket \r\nConnection: upgrade\t\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n"
        )
        await talk.gone()

    routes = (Route("ws", "s", prefix="/ws", public=True, upgrades=("websocket",)),)
    async with stage(Upstream(script), routes=routes) as gate:
        client = await gate.client()
        await client.say(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade \r\nUpgrade: websocket\t\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== \r\n\r\n"
        )
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
