"""Copies of requests over real sockets: what they hold, and that the request neither waits nor fails with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dataplane.config.table import Item
from dataplane.gateway.policy.forwarding import Forwarding, Mirror
from dataplane.gateway.policy.resources import Instance, Retries, Route, Service, Timeouts
from dataplane.proxy.bounds import Bounds
from demo.ports import free_port
from tests.support.http_stage import OK, Conversation, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nX-Own: 1\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


class Recording(Upstream):
    """Answers every request, and keeps the bodies."""

    def __init__(self, answer: bytes = OK) -> None:
        super().__init__(self._record)
        self.bodies: list[bytes] = []
        self._answer = answer

    async def _record(self, talk: Conversation) -> None:
        while True:
            head = (await talk.head()).lower()
            body = b""
            if b"transfer-encoding" in head:
                body = await talk.chunks()
            elif b"content-length: " in head:
                body = await talk.body(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            self.bodies.append(body)
            await talk.say(self._answer)


@contextlib.asynccontextmanager
async def mirrored(
    main: Upstream, copy: Upstream | int, service: Service | None = None, **rest: Any
) -> AsyncIterator[Stage]:
    """A gateway whose only route goes to `main`, with copies for `copy`."""
    if isinstance(copy, Upstream):
        await copy.start()
    port = copy.port if isinstance(copy, Upstream) else copy
    more: list[Item] = [service or Service("m"), Instance("m", "m", "127.0.0.1", port)]
    route = Route(
        "all", "s", prefix="/", public=True, upgrades=("chat",), forwarding=Forwarding(mirrors=(Mirror("m"),))
    )
    async with stage(main, routes=[route], more=more, **rest) as gate:
        try:
            yield gate
        finally:
            if isinstance(copy, Upstream):
                await copy.stop()


def counted(gate: Stage) -> dict[str, Any]:
    return {name: count for name, count in gate.gateway.mirrors.report().items() if count}


def under_way(gate: Stage) -> int:
    return gate.gateway.mirrors._under_way.get("m", 0)


async def test_a_copy_is_the_request_that_the_service_gets() -> None:
    main, copy = Recording(), Recording()
    async with mirrored(main, copy) as gate:
        assert (await gate.ask(GET))[1] == b"ok"
        await eventually(lambda: copy.heads)
        # Host, path, header fields, the client's address, request id and trace.
        assert copy.heads == main.heads and b"host: shop.example" in copy.heads[0].lower()
        await eventually(lambda: not under_way(gate))
        assert counted(gate) == {"mirrored": {"m": 1}}
        # One request, one line of the log, and a connection that is used again.
        assert gate.observer.decisions == [("forwarded", 200)]
        await gate.ask(GET)
        await eventually(lambda: len(copy.heads) == 2)
        assert copy.connections == 1


async def test_bodies_are_copied_as_they_pass() -> None:
    main, copy = Recording(), Recording()
    async with mirrored(main, copy) as gate:
        client = await gate.client()
        await client.say(PUT + b"he")
        await eventually(lambda: main.heads)
        await client.say(b"llo")
        await client.answer()
        await client.say(PUT + b"world")
        await client.answer()
        await client.say(CHUNKED)
        await client.answer()
        await eventually(lambda: len(copy.bodies) == 3)
        assert sorted(copy.bodies) == sorted(main.bodies) == [b"hello", b"hello", b"world"]


async def test_long_bodies_pass_and_are_not_copied() -> None:
    main, copy = Recording(), Recording()
    async with mirrored(main, copy, bounds=Bounds(replay=4)) as gate:
        await gate.ask(PUT + b"hello")
        await gate.ask(CHUNKED)
        assert main.bodies == [b"hello", b"hello"] and not copy.heads
        assert counted(gate) == {"mirror_dropped": [("m", "body", 2)]}


async def silent(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()


async def test_the_request_does_not_wait_for_its_copy() -> None:
    copy = Upstream(silent)
    async with mirrored(Recording(), copy) as gate:
        for _ in range(3):
            assert (await gate.ask(GET))[1] == b"ok"
        await eventually(lambda: copy.open == 3)
        assert under_way(gate) == gate.endpoint("m", "m").in_flight == 3
        assert gate.observer.decisions == [("forwarded", 200)] * 3


async def test_a_copy_has_the_time_of_its_service() -> None:
    copy = Upstream(silent)
    async with mirrored(Recording(), copy, Service("m", timeouts=Timeouts(response=0.3))) as gate:
        assert (await gate.ask(GET))[1] == b"ok"
        await eventually(lambda: not under_way(gate))
        assert counted(gate) == {"mirrored": {"m": 1}, "mirror_failed": {"m": 1}}
        await eventually(lambda: not copy.open)
        assert gate.endpoint("m", "m").in_flight == 0


async def test_a_mirror_that_cannot_be_reached_harms_nobody() -> None:
    async with mirrored(Recording(), free_port()) as gate:
        for _ in range(20):
            assert (await gate.ask(GET))[1] == b"ok"
        await eventually(lambda: not under_way(gate))
        assert counted(gate) == {"mirrored": {"m": 20}, "mirror_failed": {"m": 20}}
        assert {report.state for report in gate.gateway.breakers.report(0.0)} == {"closed"}
        assert gate.observer.decisions == [("forwarded", 200)] * 20


@pytest.mark.parametrize(
    "answer",
    [BUSY, b"nonsense\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n"],
    ids=["503", "malformed", "a 101 that nobody asked for"],
)
async def test_answers_are_thrown_away_whatever_they_are(answer: bytes) -> None:
    async with mirrored(Recording(), Recording(answer)) as gate:
        assert (await gate.ask(GET))[1] == b"ok"
        await eventually(lambda: not under_way(gate))
        assert counted(gate)["mirrored"] == {"m": 1}


async def test_endless_answers_are_cut() -> None:
    async def endless(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await talk.say(bytes(1 << 16))

    copy = Upstream(endless)
    async with mirrored(Recording(), copy) as gate:
        assert (await gate.ask(GET))[1] == b"ok"
        await eventually(lambda: not under_way(gate) and not copy.open)
        assert counted(gate) == {"mirrored": {"m": 1}}


async def test_a_client_that_leaves_does_not_end_the_copy() -> None:
    release = asyncio.Event()

    async def waiting(talk: Conversation) -> None:
        await talk.head()
        await release.wait()
        await talk.say(OK)
        await talk.gone()

    copy = Upstream(waiting)
    async with mirrored(Upstream(waiting), copy) as gate:
        client = await gate.client()
        await client.say(GET)
        await eventually(lambda: copy.heads)
        client.close()
        await eventually(lambda: gate.observer.exchanges)
        assert under_way(gate) == 1
        release.set()
        await eventually(lambda: not under_way(gate))
        assert counted(gate) == {"mirrored": {"m": 1}}


async def test_a_request_that_is_sent_again_is_copied_once() -> None:
    copy, main = Recording(), Upstream(answering(BUSY, OK))
    retries = Retries(1, frozenset({"503"}))
    async with mirrored(main, copy, retries=retries) as gate:
        await gate.ask(GET)
        await eventually(lambda: copy.heads and not under_way(gate))
        assert len(copy.heads) == 1


async def test_a_drain_ends_the_copies() -> None:
    async with mirrored(Recording(), Upstream(silent)) as gate:
        await gate.ask(GET)
        gate.close_clients()
        await gate.proxy.drain(5.0)
        assert not under_way(gate)
