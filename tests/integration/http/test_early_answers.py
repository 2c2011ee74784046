"""Instances that answer before they have read everything, and gateways that do: the answer reaches the client."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from dataplane.gateway.policy.resources import Route
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Result
from demo.ports import free_port
from tests.support.http_stage import OK, Conversation, Upstream, stage
from tests.support.waiting import eventually

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REFUSED = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong"


async def refusing(talk: Conversation) -> None:
    """Answer and close with bytes unread, which resets the connection, as `python -m http.server` does."""
    await talk.head()
    await talk.say(REFUSED)


@pytest.mark.parametrize("size", [100_000, 5_000_000])
async def test_an_answer_that_comes_before_a_reset(size: int) -> None:
    async with stage(Upstream(refusing)) as gate:
        for number in range(20):
            client = await gate.client()
            client.writer.write(UPLOAD)
            client.writer.write(bytes(size))
            assert (await client.answer())[0].startswith(b"HTTP/1.1 413 "), number
            client.close()
        await eventually(lambda: len(gate.observer.exchanges) == 20)
        assert {exchange.result for exchange in gate.observer.exchanges} == {Result.ANSWERED}


async def test_an_answer_that_is_cut_by_a_reset_is_a_failure() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(REFUSED[:-2])

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        client.writer.write(UPLOAD + bytes(1_000_000))
        assert not (await client.rest()).endswith(b"long")
        await eventually(lambda: [e.result for e in gate.observer.exchanges] == [Result.FAILED])


async def test_our_own_answer_to_a_client_that_goes_on_uploading() -> None:
    """For longer than any silence may last, and until it is through."""
    routes = [Route("all", "s", prefix="/", public=True, max_body_bytes=10)]
    bounds = Bounds(linger_timeout=0.3, linger_total=5.0)
    async with stage(free_port(), routes=routes, bounds=bounds) as gate:
        client = await gate.client()
        await client.say(UPLOAD)
        for _ in range(12):
            await client.say(bytes(1000))
            await asyncio.sleep(0.1)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 413 ")
        assert await client.rest() == b""


async def test_who_goes_on_for_ever_is_not_listened_to_for_ever() -> None:
    bounds = Bounds(linger_timeout=0.3, linger_total=0.6)
    async with stage(routes=[], bounds=bounds) as gate:
        client = await gate.client()
        await client.say(UPLOAD)
        with pytest.raises(ConnectionError):
            for _ in range(100):
                await client.say(bytes(1000))
                await asyncio.sleep(0.05)
        await eventually(lambda: not gate.proxy.connections)


async def test_a_connection_that_was_never_used_and_has_closed_is_tried_again() -> None:
    """The client it was made for has left. The instance closes it just when it is used."""
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        if upstream.connections == 1:
            await go.wait()
            await talk.reader.readuntil(b"\r\n\r\n")
            return
        await talk.head()
        await talk.say(OK)

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        endpoint = gate.endpoint()
        connection = await gate.proxy.dialer._connect(endpoint)
        connection.keep(monotonic())
        await eventually(lambda: upstream.connections == 1 and endpoint.idle)
        go.set()
        head, body = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 200 ") and body == b"ok"
        assert [e.result for e in gate.observer.exchanges] == [Result.ANSWERED]
