"""A connection that has ended leaves nothing behind that only the collector of cycles could free.

Changes freeze the collector's generations, so that whatever lies about then stays for good.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dataplane.gateway.policy.resources import Route
from dataplane.proxy.bounds import Bounds
from demo.ports import free_port
from tests.integration.http.test_cuts import echo
from tests.support.http_stage import OK, Conversation, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@contextmanager
def only_cycles() -> Iterator[Counter[str]]:
    """Counts the objects of the data plane that were left in cycles, by type."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(
            type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("dataplane.")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def left(gate: Stage) -> None:
    await eventually(lambda: not gate.proxy.connections)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        CLOSING,
        GET * 40,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HT",
    ],
)
async def test_connections(request_: bytes) -> None:
    async with stage(Upstream(echo), bounds=Bounds(pool_idle=1)) as gate:
        await gate.until_closed(CLOSING)
        await left(gate)
        with only_cycles() as found:
            for _ in range(5):
                client = await gate.client()
                await client.say(request_)
                if b"50\r\n" not in request_ and request_.endswith(b"\r\n\r\n"):
                    await client.answer()
                client.close()
            await left(gate)
            gate.observer.exchanges.clear()
        assert not found


async def test_upgrades() -> None:
    asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
    switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(switched)
        await talk.gone()

    routes = [Route("all", "s", prefix="/", public=True, upgrades=("echo",))]
    async with stage(Upstream(script), routes=routes) as gate:
        with only_cycles() as found:
            for _ in range(5):
                client = await gate.client()
                await client.say(asked)
                assert (await client.head()).startswith(b"HTTP/1.1 101 ")
                client.close()
            await left(gate)
            gate.observer.exchanges.clear()
        assert not found


async def test_instances_that_fail() -> None:
    async with stage(free_port()) as gate:
        with only_cycles() as found:
            for _ in range(5):
                await gate.ask(GET)
            await left(gate)
            gate.observer.exchanges.clear()
        assert not found


async def test_connections_that_end_with_the_pool() -> None:
    async with stage(Upstream(answering(OK))) as gate:
        with only_cycles() as found:
            await asyncio.gather(*(gate.ask(GET) for _ in range(20)))
            await left(gate)
            gate.pool.close()
            await asyncio.sleep(0.05)
            gate.observer.exchanges.clear()
        assert not found
