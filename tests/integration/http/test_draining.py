"""Draining, and changes of the table, while exchanges are under way: none of them notices."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic

import pytest

from dataplane.config.table import ResourceSet, UnlinkedRoute, build
from dataplane.gateway.policy.resources import Instance, Route, Service
from demo.ports import free_port
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage
from tests.support.waiting import eventually, within

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def silent(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()


async def test_draining_finishes_what_is_under_way() -> None:
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await go.wait()
        await talk.say(OK)
        await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        idle, busy = await gate.client(), await gate.client()
        await busy.say(GET)
        await eventually(lambda: upstream.heads)
        draining = asyncio.create_task(gate.proxy.drain(5.0))
        assert await idle.rest() == b""
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", gate.port)
        go.set()
        got = await busy.rest()
        assert got.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close" in got and got.endswith(b"ok")
        await draining
        await eventually(lambda: not upstream.open)


async def test_a_request_on_its_way_to_a_worker_that_drains_is_answered() -> None:
    """A proxy in front of us keeps connections, and knows nothing of the drain."""
    async with stage(Upstream(answering(OK))) as gate:
        kept, unused = await gate.client(), await gate.client()
        await kept.say(GET)
        await kept.answer()
        draining = asyncio.create_task(gate.proxy.drain(30.0))
        await eventually(lambda: gate.proxy.connections.draining)
        await kept.say(GET)
        got = await kept.rest()
        assert got.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close" in got
        assert await unused.rest() == b""
        await within(draining, 10)


async def test_a_response_that_began_before_the_drain_is_not_the_last_without_a_word() -> None:
    """Its head promised that the connection is kept: the client may send another request at once."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(OK[:-1])
        begun.set()
        await go.wait()
        await talk.say(OK[-1:])
        await talk.gone()

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(GET)
        await begun.wait()
        assert b"\r\nconnection: close" not in await client.head()
        draining = asyncio.create_task(gate.proxy.drain(30.0))
        await eventually(lambda: gate.proxy.connections.draining)
        go.set()
        assert await client.reader.readexactly(2) == b"ok"
        await client.say(GET)
        got = await client.rest()
        assert got.startswith(b"HTTP/1.1 200 ") and b"\r\nconnection: close" in got
        await within(draining, 10)


async def test_draining_is_bounded() -> None:
    upstream = Upstream(silent)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        await eventually(lambda: upstream.heads)
        await within(gate.proxy.drain(0.2), 10)
        assert await client.rest() == b""
        assert gate.observer.decisions == [("client_left", 0)]


async def test_a_new_table_takes_effect_between_two_requests() -> None:
    first, second = Upstream(answering(OK)), Upstream(answering(OK.replace(b"ok", b"OK")))
    await second.start()
    async with stage(first) as gate:
        client = await gate.client()
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"
        service = Service("s")
        route = UnlinkedRoute(Route("all", "s", prefix="/", public=True))
        moved = Instance("s", "0", "127.0.0.1", second.port)
        gate.gateway.swap(build(ResourceSet.of(service, moved, route), 8), monotonic())
        # The connections of an instance that is gone are closed.
        await eventually(lambda: not first.open)
        await client.say(GET)
        assert (await client.answer())[1] == b"OK"
        assert [exchange.revision for exchange in gate.observer.exchanges] == [7, 8]
        assert (await gate.ask(GET))[1] == b"OK"
        gate.gateway.swap(build(ResourceSet.of(replace(service), moved, route), 9), monotonic())
        await client.say(GET)
        await client.answer()
        assert second.connections == 1
    await second.stop()


async def test_an_exchange_ends_with_the_table_it_began_with() -> None:
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await go.wait()
        await talk.say(OK)
        await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        await eventually(lambda: upstream.heads)
        gate.gateway.swap(build(ResourceSet.of(), 8), monotonic())
        go.set()
        assert (await client.answer())[1] == b"ok"
        # Its instance is no longer known, so its connection is not kept.
        await eventually(lambda: not upstream.open)
        await client.say(GET)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 404 ")
        assert [exchange.revision for exchange in gate.observer.exchanges] == [7, 8]


async def test_unhealthy_instances_get_nothing() -> None:
    upstream = Upstream(answering(OK))
    async with stage(free_port(), upstream) as gate:
        gate.gateway.set_health(frozenset({"s/0"}))
        for _ in range(3):
            assert (await gate.ask(GET))[1] == b"ok"
        gate.gateway.set_health(frozenset({"s/0", "s/1"}))
        head, body = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: " in head
        assert b'"No healthy instances available"' in body
        assert gate.observer.decisions[-1] == ("none_healthy", 503)
