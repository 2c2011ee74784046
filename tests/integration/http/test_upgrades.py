"""Upgrades: authorised first, agreed to by the instance, then a tunnel; in every other case plain HTTP or nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dataplane.gateway.policy.resources import Circuit, Route, Timeouts
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Result
from tests.support.http_stage import OK, Client, Conversation, Stage, Upstream, answering, stage
from tests.support.waiting import eventually, within

ROUTES = (
    Route("ws", "s", prefix="/ws", public=True, upgrades=("websocket", "raw/1")),
    Route("guarded", "s", prefix="/guarded", upgrades=("websocket",)),
    Route("rest", "s", prefix="/", public=True),
)
ASK = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: raw/1\r\n\r\n"
AGREED = b"HTTP/1.1 101 Fine\r\nUpgrade: Raw/1\r\nConnection: Upgrade\r\nX-Kept: 1\r\n\r\n"


def tunnel(of: Callable[[Conversation], Awaitable[None]], answer: bytes = AGREED) -> Upstream:
    """An instance that agrees and goes on as told."""

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(answer)
        await of(talk)

    return Upstream(script)


async def echo(talk: Conversation) -> None:
    while data := await talk.reader.read(65536):
        await talk.say(data)


async def silence(talk: Conversation) -> None:
    await talk.gone()


async def caught_up(gate: Stage) -> None:
    """The gateway has answered a request of somebody else's, and so has read all that was sent to it before."""
    assert b" 501 " in (await gate.ask(b"TRACE / HTTP/1.1\r\nHost: b\r\n\r\n"))[0]


@contextlib.asynccontextmanager
async def opened(
    upstream: Upstream, timeouts: Timeouts | None = None, bounds: Bounds | None = None
) -> AsyncIterator[tuple[Stage, Client]]:
    """A client that has its tunnel."""
    async with stage(upstream, routes=ROUTES, timeouts=timeouts, bounds=bounds) as gate:
        client = await gate.client()
        await client.say(ASK)
        assert (await client.head()).startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        yield gate, client


# --- with a WebSocket library on both sides


@contextlib.asynccontextmanager
async def chat() -> AsyncIterator[int]:
    async def handler(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async with serve(handler, "127.0.0.1", 0, max_size=None, subprotocols=None) as server:
        port: int = server.sockets[0].getsockname()[1]
        yield port


async def test_websockets_pass() -> None:
    async with chat() as port, stage(port, routes=ROUTES) as gate:
        async with connect(f"ws://127.0.0.1:{gate.port}/ws", max_size=None, compression=None) as client:
            for message in ("hello", "x" * 1_000_000, b"\0\1", "bye"):
                await client.send(message)
                assert await client.recv() == message
            await (await client.ping())
        await eventually(lambda: gate.observer.exchanges)
        (exchange,) = gate.observer.exchanges
        assert (exchange.status, exchange.decision, exchange.result) == (101, "forwarded", Result.ANSWERED)
        assert exchange.sent > 1_000_000 and exchange.received > 1_000_000
        assert exchange.ended > exchange.started and exchange.sent_at == 0
        assert not gate.proxy.connections and gate.endpoint().in_flight == 0


async def test_a_hundred_websockets_at_once() -> None:
    async with chat() as port, stage(port, routes=ROUTES) as gate, contextlib.AsyncExitStack() as stack:
        url = f"ws://127.0.0.1:{gate.port}/ws"
        clients = [await stack.enter_async_context(connect(url)) for _ in range(100)]
        assert len(gate.proxy.connections) == gate.endpoint().in_flight == 100
        for number, client in enumerate(clients):
            await client.send(str(number))
        assert [await client.recv() for client in clients] == [str(number) for number in range(100)]


@pytest.mark.parametrize(("path", "status"), [("/guarded", 401), ("/elsewhere", 426)])
async def test_websockets_are_refused_where_they_may_not_pass(path: str, status: int) -> None:
    """No token; a route that lists none, so that the server sees a plain GET (RFC 6455 section 4.2.2: 426)."""
    async with chat() as port, stage(port, routes=ROUTES) as gate:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{gate.port}{path}")
        assert refused.value.response.status_code == status
        assert not gate.endpoint().in_flight


# --- what goes to and fro


async def test_heads_are_written_anew() -> None:
    upstream = tunnel(silence)
    async with stage(upstream, routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(ASK.replace(b"raw/1", b"other, RAW/1, websocket").replace(b"keep-alive", b"x-mine"))
        head = await client.head()
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\nX-Kept: 1\r\nx-request-id: ")
    assert head.endswith(b"\r\nconnection: upgrade\r\nupgrade: raw/1\r\n\r\n")
    assert upstream.heads[0].endswith(b"\r\nconnection: upgrade\r\nupgrade: raw/1\r\n\r\n")
    assert upstream.heads[0].lower().count(b"upgrade: ") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: x\r\nUpgrade: raw/1\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: raw/1\r\n\r\n",
        b"GET /ws HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw/1\r\n\r\n",
    ],
    ids=["another route", "another protocol", "not nominated", "no Connection", "HTTP/1.0"],
)
async def test_a_wish_that_does_not_count_is_ignored(head: bytes) -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, routes=ROUTES) as gate:
        got, body = await gate.ask(head)
        assert got.startswith(b"HTTP/1.1 200 ") and body == b"ok"
    assert b"upgrade" not in upstream.heads[0].lower()


async def test_an_instance_may_decline_and_nothing_after_the_request_is_read_as_http() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, routes=ROUTES) as gate:
        got = await gate.until_closed(ASK + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 ") and got.count(b"HTTP/1.1 ") == 1
        assert b"\r\nconnection: close\r\n" in got
        assert (await gate.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))[1] == b"ok"
    assert len(upstream.heads) == 2 and upstream.connections == 1


async def test_nothing_reaches_an_instance_before_it_agreed() -> None:
    """What the client sends ahead of the 101 waits, and then goes through, in order."""
    agree = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        ahead = asyncio.ensure_future(talk.reader.readexactly(1))
        await agree.wait()
        assert not ahead.done()
        await talk.say(AGREED + b"first ")
        assert await ahead + await talk.body(9) == b"early more"
        await echo(talk)

    upstream = Upstream(script)
    async with stage(upstream, routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(ASK + b"early ")
        await eventually(lambda: upstream.heads)
        await client.say(b"more")
        await caught_up(gate)
        agree.set()
        await client.head()
        assert await client.reader.readexactly(6) == b"first "
        await client.say(b"and on")
        assert await client.reader.readexactly(6) == b"and on"
        client.close()
        await eventually(lambda: len(gate.observer.exchanges) == 2)
        exchange = gate.observer.exchanges[-1]
        assert (exchange.received, exchange.sent) == (len(b"early moreand on"), len(b"first and on"))


async def test_who_talks_too_much_ahead_is_cut_off() -> None:
    upstream = Upstream(answering(b""))
    async with stage(upstream, routes=ROUTES, bounds=Bounds(write_buffer=1000)) as gate:
        client = await gate.client()
        await client.say(ASK + b"x" * 2000)
        assert await client.rest() == b""
        await eventually(lambda: gate.observer.decisions == [("client_left", 0)])


async def test_an_upgrade_waits_for_its_turn() -> None:
    upstream = Upstream(answering(OK, AGREED))
    async with stage(upstream, routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + ASK)
        assert (await client.answer())[1] == b"ok"
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")


async def test_interim_responses_come_before_the_101() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with stage(tunnel(silence, hints + AGREED), routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(ASK)
        assert (await client.head()).startswith(b"HTTP/1.1 103 ")
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("cut", range(1, len(AGREED) + 3))
async def test_a_101_cut_anywhere(cut: int) -> None:
    whole = AGREED + b"abc"

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(whole[:cut])
        await caught_up(gate)
        await talk.say(whole[cut:])
        await echo(talk)

    async with stage(Upstream(script), routes=ROUTES) as gate:
        client = await gate.client()
        await client.say(ASK)
        await client.head()
        assert await client.reader.readexactly(3) == b"abc"
        await client.say(b"def")
        assert await client.reader.readexactly(3) == b"def"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\nUpgrade: raw/1, websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\nUpgrade: raw/1\r\nUpgrade: raw/1\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\nUpgrade: raw/1\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\nUpgrade: raw/1\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Fine\r\n\r\n",
        b"HTTP/1.0 101 Fine\r\nUpgrade: raw/1\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=["other", "two", "twice", "not nominated", "keep-alive", "no protocol", "nothing", "HTTP/1.0"],
)
async def test_a_101_to_anything_else_is_a_bad_response(answer: bytes) -> None:
    async with stage(tunnel(silence, answer), routes=ROUTES) as gate:
        got = await gate.until_closed(ASK)
        assert got.startswith(b"HTTP/1.1 502 ") and got.count(b"HTTP/1.1 ") == 1
        assert gate.observer.decisions == [("bad_response", 502)]
        assert gate.endpoint().idle == [] and not gate.endpoint().in_flight


async def test_an_unsolicited_101_is_a_bad_response_where_upgrades_are_allowed_too() -> None:
    async with stage(tunnel(silence), routes=ROUTES) as gate:
        got, _ = await gate.ask(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 502 ")


# --- the tunnel


async def test_a_slow_reader_holds_a_bounded_buffer() -> None:
    sent = 0

    async def flood(talk: Conversation) -> None:
        nonlocal sent
        with contextlib.suppress(ConnectionError):
            while sent < 200_000_000:
                await talk.say(b"x" * 65536)
                sent += 65536

    async with opened(tunnel(flood), bounds=Bounds(write_buffer=65536)) as (gate, client):
        before = -1

        def stalled() -> bool:
            nonlocal before
            before, last = sent, before
            return bool(sent) and sent == last

        await eventually(stalled, within=30)
        assert sent < 100_000_000
        stopped = sent
        for _ in range(50):
            await client.reader.readexactly(65536 * 16)
        await eventually(lambda: sent > stopped)
        client.writer.transport.abort()
        await eventually(lambda: gate.observer.exchanges)


async def test_a_half_closed_side_still_hears_the_answer() -> None:
    async def count(talk: Conversation) -> None:
        await talk.say(b"%d" % len(await talk.reader.read()))

    async with opened(tunnel(count)) as (gate, client):
        await client.say(b"x" * 300_000)
        client.writer.write_eof()
        assert await client.rest() == b"300000"
        await eventually(lambda: [exchange.received for exchange in gate.observer.exchanges] == [300_000])


async def test_whoever_leaves_ends_it_for_the_other() -> None:
    upstream = tunnel(silence)
    async with opened(upstream) as (gate, client):
        client.writer.transport.abort()
        await eventually(lambda: upstream.open == 0)
        await eventually(lambda: gate.observer.decisions == [("forwarded", 101)])

    async def reset(talk: Conversation) -> None:
        await talk.body(1)
        talk.reset()

    async with opened(tunnel(reset)) as (gate, client):
        await client.say(b"x")
        assert await client.rest() == b""
        await eventually(lambda: gate.observer.decisions == [("forwarded", 101)])
        assert not gate.endpoint().in_flight


async def test_an_idle_tunnel_is_closed() -> None:
    upstream = tunnel(echo)
    async with opened(upstream, timeouts=Timeouts(idle=0.3)) as (gate, client):
        end = monotonic() + 0.6
        while monotonic() < end:
            await client.say(b"x")
            assert await client.reader.readexactly(1) == b"x"
        assert await client.rest() == b""
        await eventually(lambda: upstream.open == 0)
        await eventually(lambda: gate.observer.decisions == [("forwarded", 101)])


async def test_a_side_that_takes_nothing_does_not_keep_a_closed_tunnel() -> None:
    async def push(talk: Conversation) -> None:
        talk.writer.write(b"x" * 50_000_000)
        await talk.writer.drain()

    bounds = Bounds(write_buffer=65536, linger_timeout=0.2)
    async with opened(tunnel(push), Timeouts(idle=0.3), bounds) as (gate, _):
        await eventually(lambda: gate.observer.exchanges)
        assert not gate.proxy.connections


async def test_draining_gives_tunnels_their_time_and_then_closes_them() -> None:
    async with opened(tunnel(echo)) as (gate, client):
        draining = asyncio.create_task(gate.proxy.drain(1.0))
        await eventually(lambda: gate.proxy.shared.draining)
        await client.say(b"still here")
        assert await client.reader.readexactly(10) == b"still here"
        assert await client.rest() == b""
        await draining
        assert gate.observer.decisions == [("forwarded", 101)]

    async with opened(tunnel(echo)) as (gate, client):
        draining = asyncio.create_task(gate.proxy.drain(60.0))
        await eventually(lambda: gate.proxy.shared.draining)
        client.close()
        await within(draining, 30)


async def test_the_breaker_hears_of_the_101_and_of_no_more() -> None:
    """Half open, one trial at a time: a tunnel that stays open must not hold it."""
    circuit = Circuit(failure_threshold=1, failure_ratio=0, min_throughput=1, recovery_timeout=0.01)
    upstream = Upstream(answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"))
    async with stage(upstream, routes=ROUTES, circuit=circuit) as gate:
        assert b" 500 " in (await gate.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))[0]
        agreeing, upstream.script = tunnel(echo), answering(OK)
        upstream.script = agreeing.script
        client = await gate.client()
        recovered = monotonic() + circuit.recovery_timeout
        await eventually(lambda: monotonic() > recovered)
        gate.endpoint().idle.pop().close()
        await client.say(ASK)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        (report,) = gate.gateway.breakers.report(0.0)
        assert report.state == "closed"
