"""Requests sent without waiting are answered in order, one upstream exchange at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dataplane.gateway.policy.resources import Route
from dataplane.proxy.downstream import AT_ONCE, Downstream
from dataplane.proxy.http1.pieces import AHEAD
from tests.integration.http.test_cuts import echo
from tests.integration.http.test_leaving import silent
from tests.support.http_stage import Upstream, answering, stage
from tests.support.waiting import eventually

ROUTES = [Route("open", "s", prefix="/open", public=True), Route("closed", "s", prefix="/closed")]


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


async def test_a_hundred_deep() -> None:
    upstream = Upstream(echo)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(b"".join(get(f"/{n}") for n in range(100)))
        for n in range(100):
            assert (await client.answer())[1] == b"GET /%d HTTP/1.1|" % n
        assert upstream.connections == 1


async def test_bodies_among_them() -> None:
    async with stage(Upstream(echo)) as gate:
        client = await gate.client()
        requests = []
        for n in range(30):
            requests.append(get(f"/{n}"))
            requests.append(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d" % n)
            chunks = b"2\r\n%02d\r\n0\r\n\r\n" % n
            requests.append(b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        await client.say(b"".join(requests))
        for n in range(30):
            assert (await client.answer())[1] == b"GET /%d HTTP/1.1|" % n
            assert (await client.answer())[1] == b"POST /p HTTP/1.1|%04d" % n
            assert (await client.answer())[1] == b"POST /c HTTP/1.1|%02d" % n


async def test_refusals_keep_their_place() -> None:
    async with stage(Upstream(echo), routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(b"".join(get(path) for path in ("/none", "/open/1", "/closed", "/open/2", "/none")))
        statuses = [(await client.answer())[0][9:12] for _ in range(5)]
    assert statuses == [b"404", b"200", b"401", b"200", b"404"]


async def test_thousands_of_refusals_in_one_read() -> None:
    async with stage(routes=[]) as gate:
        client = await gate.client()
        await client.say(get("/") * 5_000)
        for _ in range(5_000):
            assert (await client.answer())[0].startswith(b"HTTP/1.1 404")


async def test_refusals_that_nobody_reads_are_not_piled_up() -> None:
    async with stage(routes=[]) as gate:
        client = await gate.client(limit=1024)
        client.writer.transport.set_write_buffer_limits(2**26)
        client.writer.write(get("/" + "a" * 100) * 100_000)
        (connection,) = await eventually(lambda: gate.proxy.connections)
        assert isinstance(connection, Downstream)
        await eventually(lambda: connection.write_paused)
        assert connection.transport.get_write_buffer_size() < 300_000
        assert len(gate.observer.exchanges) < 50_000


async def test_a_pipelined_request_is_not_lost_with_the_first_ones_close() -> None:
    """What follows a request that closes is thrown away, and everything that was begun is told of."""
    async with stage(Upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))) as gate:
        closing = get("/1").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        got = await gate.until_closed(get("/0") + closing + get("/2"))
        assert got.count(b"HTTP/1.1 200") == 2
        assert gate.observer.decisions == [("forwarded", 200)] * 2


@pytest.mark.parametrize("routes", [[], ROUTES])
async def test_what_comes_in_one_read_is_parsed_as_it_is_answered(routes: Sequence[Route]) -> None:
    """Thousands of requests wait as bytes; a few of them are answered in one turn of the event loop."""
    async with stage(Upstream(silent), routes=routes) as gate:
        client = await gate.client()
        turns = busiest = 0
        done = False

        async def watch() -> None:
            nonlocal turns, busiest
            while not done:
                before = len(gate.observer.exchanges)
                await asyncio.sleep(0)
                turns += 1
                busiest = max(busiest, len(gate.observer.exchanges) - before)

        watching = asyncio.create_task(watch())
        client.writer.write(b"GET /open HTTP/1.1\r\nHost:a\r\n\r\n" * 8_000)
        (connection,) = await eventually(lambda: gate.proxy.connections)
        assert isinstance(connection, Downstream)
        reader = connection._reader
        most = 0
        for _ in range(200):
            most = max(most, len(reader.queue))
            await asyncio.sleep(0.001)
        done = True
        await watching
        assert most <= 3 * AHEAD and busiest <= 2 * AT_ONCE
        assert routes or busiest
