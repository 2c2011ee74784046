"""Every bound of what a client may cost is kept, told by its status, and lifted or tightened by its setting."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.gateway.policy.resources import Route
from dataplane.proxy.bounds import Bounds
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def refusal(request: bytes, bounds: Bounds) -> bytes:
    """The status line and head of the answer to a request that must not reach the upstream."""
    upstream = Upstream(answering(OK))
    async with stage(upstream, bounds=bounds) as gate:
        got = await gate.until_closed(request)
        assert b"\r\nconnection: close" in got and not upstream.heads
        return got


async def accepted(request: bytes, bounds: Bounds) -> bool:
    async with stage(Upstream(answering(OK)), bounds=bounds) as gate:
        return (await gate.ask(request))[1] == b"ok"


async def test_a_head_that_is_too_long() -> None:
    big = GET[:-2] + b"X: " + b"x" * 2000 + b"\r\n\r\n"
    assert (await refusal(big, Bounds(head=2000))).startswith(b"HTTP/1.1 431 ")
    assert await accepted(big, Bounds(head=4000))
    # Also when it never ends.
    assert (await refusal(big[:-2] + b"Y: " + b"y" * 100_000, Bounds())).startswith(b"HTTP/1.1 431 ")


async def test_a_head_with_too_many_fields() -> None:
    many = GET[:-2] + b"".join(b"X-%d: 1\r\n" % n for n in range(20)) + b"\r\n"
    assert (await refusal(many, Bounds(fields=20))).startswith(b"HTTP/1.1 431 ")
    assert await accepted(many, Bounds(fields=21))


async def test_a_target_that_is_too_long() -> None:
    long = GET.replace(b"/ ", b"/" + b"a" * 99 + b" ")
    assert (await refusal(long, Bounds(target=99))).startswith(b"HTTP/1.1 414 ")
    assert await accepted(long, Bounds(target=100))


@pytest.mark.parametrize(
    "framed",
    [b"Content-Length: 6\r\n\r\nsixsix", b"Transfer-Encoding: chunked\r\n\r\n6\r\nsixsix\r\n0\r\n\r\n"],
)
async def test_a_body_is_as_long_as_its_route_allows(framed: bytes) -> None:
    post = b"POST / HTTP/1.1\r\nHost: a\r\n" + framed

    async def script(talk: Conversation) -> None:
        while True:
            assert await talk.chunks() if b"chunked" in await talk.head() else await talk.body(6)
            await talk.say(OK)

    def route(most: int) -> Route:
        return Route("all", "s", prefix="/", public=True, max_body_bytes=most)

    upstream = Upstream(script)
    async with stage(upstream, routes=[route(5)]) as gate:
        assert (await gate.ask(post))[0].startswith(b"HTTP/1.1 413 ")
        assert not upstream.heads
        # Also where that shows only once it is under way; what comes then is not read as a request.
        client = await gate.client()
        await client.say(post[:-1])
        if b"chunked" in post:
            assert (await client.head()).startswith(b"HTTP/1.1 413 ")
            await client.say(post[-1:] + GET)
            assert b"HTTP/1.1 " not in await client.rest()
            await eventually(lambda: not upstream.open)
        else:
            assert b"\r\nconnection: close" in await client.head()
        assert gate.observer.decisions == [("too_large", 413)] * 2
    async with stage(Upstream(script), routes=[route(6)]) as gate:
        assert (await gate.ask(post))[1] == b"ok"


async def test_a_body_that_is_too_long_is_not_asked_for() -> None:
    upstream = Upstream(answering(OK))
    route = Route("all", "s", prefix="/", public=True, max_body_bytes=5)
    async with stage(upstream, routes=[route]) as gate:
        got = await gate.until_closed(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n"
        )
        assert got.startswith(b"HTTP/1.1 413 ") and not upstream.connections


async def test_a_connection_carries_so_many_requests() -> None:
    async with stage(Upstream(answering(OK)), bounds=Bounds(requests=3)) as gate:
        got = await gate.until_closed(GET * 5)
        assert got.count(b"HTTP/1.1 200 ") == 3 and got.count(b"\r\nconnection: close") == 1
        assert gate.observer.decisions[:3] == [("forwarded", 200)] * 3
        assert {decision for decision, _ in gate.observer.decisions[3:]} <= {"connection_closed"}


async def test_a_worker_has_so_many_connections() -> None:
    async with stage(Upstream(answering(OK)), bounds=Bounds(connections=3)) as gate:
        clients = [await gate.client() for _ in range(3)]
        await eventually(lambda: len(gate.proxy.connections) == 3)
        got = await gate.until_closed(b"")
        assert got.startswith(b"HTTP/1.1 503 ") and b'"Too many connections"' in got
        assert b"\r\nretry-after: 1" in got and b"\r\nconnection: close" in got
        # Those that are there are served as before, and one that leaves makes room.
        for client in clients:
            await client.say(GET)
            assert (await client.answer())[1] == b"ok"
        clients[0].close()
        await eventually(lambda: len(gate.proxy.connections) == 2)
        assert (await gate.ask(GET))[1] == b"ok"
        assert gate.proxy.connections.refused == 1


async def test_an_address_has_so_many_connections() -> None:
    async with stage(Upstream(answering(OK)), bounds=Bounds(connections_per_address=2)) as gate:
        clients = [await gate.client() for _ in range(2)]
        await eventually(lambda: len(gate.proxy.connections) == 2)
        assert (await gate.until_closed(b"")).startswith(b"HTTP/1.1 503 ")
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port, local_addr=("127.0.0.2", 0))
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        for client in clients:
            client.close()
        await eventually(lambda: not gate.proxy.connections)
        assert (await gate.ask(GET))[1] == b"ok"


async def test_trusted_proxies_bring_the_connections_of_many_clients() -> None:
    bounds = Bounds(connections_per_address=1)
    async with stage(Upstream(answering(OK)), bounds=bounds, trusted=["127.0.0.0/8"]) as gate:
        clients = [await gate.client() for _ in range(5)]
        for client in clients:
            await client.say(GET)
            assert (await client.answer())[1] == b"ok"
