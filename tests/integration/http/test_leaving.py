"""Clients that leave: nothing is left behind, everything is told of once."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from dataplane.gateway.policy.resources import Circuit
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.deadlines import TICK
from dataplane.proxy.downstream import Downstream
from dataplane.proxy.exchange import Result
from dataplane.proxy.http1.pieces import AHEAD
from tests.support.http_stage import OK, Client, Conversation, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


async def silent(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()


async def talking(talk: Conversation) -> None:
    await talk.head()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello")
    await talk.gone()


async def deaf(talk: Conversation) -> None:
    await talk.head()
    await asyncio.Event().wait()


async def fill(gate: Stage, client: Client) -> None:
    """Send until nothing is taken any more, but not so much that the end could not get through."""
    while not gate.proxy.deadlines.unread:
        client.writer.write(b"x" * 65536)
        await eventually(lambda: not client.writer.transport.get_write_buffer_size())
        await asyncio.sleep(TICK / 10)


async def whole(talk: Conversation) -> None:
    """Take the next request to its end."""
    head = await talk.head()
    if b"transfer-encoding" in head:
        await talk.chunks()
    elif b"content-length" in head:
        await talk.body(5)


async def answering_each(talk: Conversation) -> None:
    while True:
        await whole(talk)
        await talk.say(OK)


def leave_by_reset(client: Client) -> None:
    client.writer.transport.abort()


@pytest.mark.parametrize("leave", [Client.close, leave_by_reset])
@pytest.mark.parametrize("script", [silent, talking])
async def test_a_client_that_leaves_takes_the_upstream_call_with_it(script: object, leave: object) -> None:
    upstream = Upstream(script)  # type: ignore[arg-type]
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        await eventually(lambda: upstream.heads)
        if script is talking:
            await client.head()
        leave(client)  # type: ignore[operator]
        await eventually(lambda: not upstream.open, within=10)
        (done,) = gate.observer.exchanges
        assert (done.decision, done.result) == ("client_left", Result.ABANDONED)
        assert done.status == (200 if script is talking else 0)
        assert gate.endpoint().in_flight == 0 and gate.endpoint().idle == []
        await eventually(lambda: not gate.proxy.connections)


@pytest.mark.parametrize("leave", [Client.close, leave_by_reset])
@pytest.mark.parametrize("framing", [b"Content-Length: 100000000", b"Transfer-Encoding: chunked"])
async def test_a_client_that_leaves_in_the_middle_of_an_upload_that_nobody_takes(
    framing: bytes, leave: object
) -> None:
    upstream = Upstream(deaf)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        if b"chunked" in framing:
            await client.say(b"5000000\r\n")
        await eventually(lambda: upstream.heads)
        await fill(gate, client)
        leave(client)  # type: ignore[operator]
        await eventually(lambda: gate.observer.exchanges, within=10)
        assert gate.observer.decisions == [("client_left", 0)]
        assert gate.endpoint().in_flight == 0
        await eventually(lambda: not gate.proxy.connections)


async def test_a_client_that_has_sent_a_whole_upload_that_nobody_takes_yet_may_end_its_side() -> None:
    taking = asyncio.Event()
    size = 8_000_000

    async def script(talk: Conversation) -> None:
        await talk.head()
        await taking.wait()
        await talk.body(size)
        await talk.say(OK)

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.writer.write(b"x" * size)
        client.writer.write_eof()
        await eventually(lambda: gate.proxy.deadlines.unread)
        await asyncio.sleep(3 * TICK)  # it has been looked at twice
        assert gate.observer.exchanges == []
        taking.set()
        assert (await client.rest()).startswith(b"HTTP/1.1 200 ")


# --- clients that end their side and wait: nothing tells them from those that left, but the answer


@pytest.mark.parametrize(
    "request_bytes",
    [GET, GET.replace(b"1.1", b"1.0"), GET[:-2] + b"Connection: close\r\n\r\n", POST, CHUNKED],
    ids=["GET", "HTTP/1.0", "close", "length", "chunks"],
)
async def test_a_client_that_has_ended_its_side_is_answered(request_bytes: bytes) -> None:
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        while True:
            await whole(talk)
            await go.wait()
            await talk.say(OK)

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(request_bytes)
        client.writer.write_eof()
        await eventually(lambda: gate.proxy.deadlines.half_closed)
        go.set()
        got = await client.rest()
        assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"ok")
        assert b"\r\nconnection: close\r\n" in got
        await eventually(lambda: not gate.proxy.connections)
        assert gate.observer.decisions == [("forwarded", 200)]
        assert len(gate.endpoint().idle) == 1 and gate.endpoint().in_flight == 0


async def test_all_that_was_asked_before_the_end_is_answered_in_order() -> None:
    upstream = Upstream(answering_each)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say((GET + POST + CHUNKED) * 10)
        client.writer.write_eof()
        got = await client.rest()
        assert got.count(b"HTTP/1.1 200 ") == 30 and got.count(b"\r\nconnection: close\r\n") == 1
        assert gate.observer.decisions == [("forwarded", 200)] * 30


async def test_a_long_answer_to_a_slow_client_that_has_ended_its_side() -> None:
    size = 20_000_000

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(20):
            await talk.say(b"x" * (size // 20))

    async with stage(Upstream(script), bounds=Bounds(half_close=0.15)) as gate:
        client = await gate.client(limit=65536)
        await client.say(GET)
        client.writer.write_eof()
        await client.head()
        (connection,) = gate.proxy.connections
        assert isinstance(connection, Downstream)
        await eventually(lambda: connection.write_paused)
        started = monotonic()
        await eventually(lambda: monotonic() > started + 0.6)
        got = 0
        while piece := await client.reader.read(65536):
            got += len(piece)
        assert got == size and gate.observer.decisions == [("forwarded", 200)]


async def test_events_go_on_for_a_client_that_has_ended_its_side_and_is_there() -> None:
    go = asyncio.Queue[bytes]()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while event := await go.get():
            await talk.say(b"%x\r\n%b\r\n" % (len(event), event))

    upstream = Upstream(script)
    async with stage(upstream, bounds=Bounds(half_close=0.2)) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.head()
        client.writer.write_eof()
        go.put_nowait(b"one")
        assert await client.reader.readexactly(8) == b"3\r\none\r\n"
        # Known to be there: now it may be silent for as long as anybody.
        await eventually(lambda: not gate.proxy.deadlines.half_closed)
        started = monotonic()
        await eventually(lambda: monotonic() > started + 0.6)
        go.put_nowait(b"two")
        assert await client.reader.readexactly(8) == b"3\r\ntwo\r\n"


@pytest.mark.parametrize("event", [b"", b"1\r\nx\r\n"], ids=["silence", "one event"])
async def test_a_client_that_is_gone_is_not_taken_for_one_that_waits(event: bytes) -> None:
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await go.wait()
        await talk.say(event)
        await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.head()
        client.close()
        await eventually(lambda: gate.proxy.deadlines.half_closed)
        go.set()
        await eventually(lambda: not upstream.open, within=10)
        assert gate.observer.decisions == [("client_left", 200)]


async def test_a_bound_of_nothing_takes_them_all_for_gone() -> None:
    upstream = Upstream(silent)
    async with stage(upstream, bounds=Bounds(half_close=0)) as gate:
        client = await gate.client()
        await client.say(GET)
        await eventually(lambda: upstream.heads)
        client.writer.write_eof()
        assert await client.rest() == b""
        assert gate.observer.decisions == [("client_left", 0)] and not gate.proxy.deadlines.half_closed


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("half_close", [0.25, 0])
async def test_a_client_that_leaves_with_requests_waiting_is_noticed(count: int, half_close: float) -> None:
    """Nothing is read from it meanwhile, so only the kernel knows."""
    upstream = Upstream(silent)
    async with stage(upstream, bounds=Bounds(half_close=half_close)) as gate:
        client = await gate.client()
        await client.say(GET * count)
        await eventually(lambda: upstream.heads)
        client.close()
        await eventually(lambda: not upstream.open, within=10)
        await eventually(lambda: not gate.proxy.connections)
        # What was not parsed was never begun.
        assert set(gate.observer.decisions) == {("client_left", 0)}
        assert min(count, AHEAD) <= len(gate.observer.decisions) <= min(count, 3 * AHEAD)
        assert (
            not gate.proxy.deadlines.unread
            and not gate.proxy.deadlines.half_closed
            and gate.endpoint().in_flight == 0
        )


async def test_a_client_that_waits_with_requests_waiting_is_not_taken_for_gone() -> None:
    go = asyncio.Event()

    async def script(talk: Conversation) -> None:
        while True:
            await talk.head()
            await go.wait()
            await talk.say(OK)

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET * 3)
        await eventually(lambda: gate.proxy.deadlines.unread)
        started = monotonic()
        await eventually(lambda: monotonic() > started + 0.5)
        go.set()
        for _ in range(3):
            assert (await client.answer())[1] == b"ok"
        assert not gate.proxy.deadlines.unread


async def test_a_client_that_leaves_while_the_gateway_connects() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        for _ in range(20):
            client = await gate.client()
            await client.say(GET)
            leave_by_reset(client)
        await eventually(lambda: not gate.proxy.connections)
        await eventually(lambda: gate.endpoint().in_flight == 0)
        assert all(decision in ("client_left", "forwarded") for decision, _ in gate.observer.decisions)
        # The connections made for those that left serve others.
        assert (await gate.ask(GET))[1] == b"ok"


async def test_a_trial_is_settled_when_its_client_leaves() -> None:
    """A half-open probe that is never settled would block the service for ever."""
    bad = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    circuit = Circuit(failure_threshold=1, min_throughput=1, recovery_timeout=0.1, half_open_timeout=60)
    slow = asyncio.Event()

    async def script(talk: Conversation) -> None:
        while True:
            await talk.head()
            if len(upstream.heads) == 1:
                await talk.say(bad)
            elif len(upstream.heads) == 2:
                slow.set()
                await talk.gone()
                return
            else:
                await talk.say(OK)

    upstream = Upstream(script)
    async with stage(upstream, circuit=circuit) as gate:
        await gate.ask(GET)
        client = await gate.client()

        async def probing() -> bool:
            await client.say(GET)
            await asyncio.sleep(0.05)
            return slow.is_set()

        await eventually(probing)
        client.close()

        async def recovered() -> bool:
            return (await gate.ask(GET))[1] == b"ok"

        await eventually(recovered)
