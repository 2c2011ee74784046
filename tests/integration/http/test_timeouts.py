"""Nobody holds a connection for nothing: heads, bodies and silence have their time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from time import monotonic

from dataplane.gateway.policy.resources import Timeouts
from dataplane.proxy.bounds import Bounds
from tests.support.http_stage import OK, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_a_head_that_does_not_end() -> None:
    async with stage(bounds=Bounds(head_timeout=0.3)) as gate:
        client = await gate.client()
        started = asyncio.get_running_loop().time()
        reading = asyncio.create_task(client.rest())
        await client.say(GET[:10])
        for n in range(10, len(GET)):
            # One byte at a time does not buy more time (slowloris).
            if reading.done():
                break
            await client.say(GET[n : n + 1] if n < 20 else b"")
            await asyncio.sleep(0.05)
        got = await reading
        assert got.startswith(b"HTTP/1.1 408 ") and b"\r\nconnection: close" in got
        assert asyncio.get_running_loop().time() - started < 2.0
        assert gate.observer.decisions == [("bad_request", 408)]


async def test_the_second_head_has_its_time_too() -> None:
    async with stage(Upstream(answering(OK)), bounds=Bounds(head_timeout=0.3)) as gate:
        got = await gate.until_closed(GET + GET[:10])
        assert got.startswith(b"HTTP/1.1 200 ") and b"HTTP/1.1 408 " in got


async def test_silence_is_not_answered() -> None:
    async with stage(Upstream(answering(OK)), bounds=Bounds(keep_alive_timeout=0.3)) as gate:
        assert await gate.until_closed(b"") == b""
        assert (await gate.until_closed(GET)).endswith(b"\r\n\r\nok")
        assert await gate.until_closed(b"\r\n\r\n") == b""
        assert gate.observer.decisions == [("forwarded", 200)]


async def test_a_body_that_stops() -> None:
    upstream = Upstream(answering(b""))
    async with stage(upstream, bounds=Bounds(body_timeout=0.3)) as gate:
        got = await gate.until_closed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhel")
        assert got.startswith(b"HTTP/1.1 408 ")
        assert gate.observer.decisions == [("bad_request", 408)]
        await eventually(lambda: not upstream.open)


async def test_refused_clients_are_not_listened_to_for_ever() -> None:
    async with stage(routes=[], bounds=Bounds(linger_timeout=0.3)) as gate:
        client = await gate.client()
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        head, _ = await client.answer()
        assert head.startswith(b"HTTP/1.1 404 ") and b"\r\nconnection: close" in head
        # What is still sent is taken, so that the answer is not lost in a reset.
        await client.say(b"x" * 100_000)
        assert await client.rest() == b""
        await eventually(lambda: not gate.proxy.connections)


async def test_an_instance_that_does_not_accept() -> None:
    """Its queue is full, so that the kernel answers nothing at all."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with stage(full.getsockname()[1], timeouts=Timeouts(connect=0.3)) as gate:
            started = monotonic()
            head, body = await gate.ask(GET)
            assert head.startswith(b"HTTP/1.1 504 ") and b'"Service unavailable"' in body
            assert 0.3 <= monotonic() - started < 2.0
            assert gate.observer.decisions == [("timed_out", 504)] and gate.endpoint().in_flight == 0


async def test_idle_upstream_connections_are_closed() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, bounds=Bounds(pool_timeout=0.3)) as gate:
        await gate.ask(GET)
        assert upstream.open == 1
        await eventually(lambda: not upstream.open)
        assert gate.endpoint().idle == []


async def test_surplus_upstream_connections_are_not_kept() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, bounds=Bounds(pool_idle=2)) as gate:
        await asyncio.gather(*(gate.ask(GET) for _ in range(6)))
        await eventually(lambda: upstream.open == len(gate.endpoint().idle) == 2)
