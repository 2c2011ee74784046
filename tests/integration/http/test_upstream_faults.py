"""Instances that refuse, die, answer nonsense or too much: what the client sees, and that no connection is reused."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.gateway.policy.resources import Circuit, Retries, Timeouts
from dataplane.proxy.exchange import Result
from demo.ports import free_port
from tests.integration.http.test_smuggling import BODIES, C
from tests.support.http_stage import OK, Client, Conversation, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"

NONSENSE = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "old version": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "new version": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status 99": b"HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nok",
    "status 600": b"HTTP/1.1 600 High\r\nContent-Length: 2\r\n\r\nok",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 2\r\n\r\nok",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nok",
    "obs-fold": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw",
    "101 without Upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\nraw",
    "endless head": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 400_000,
    "endless interim": b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 20_000,
}


async def final(client: Client) -> tuple[bytes, bytes]:
    """The response after all interim ones."""
    while True:
        head, body = await client.answer()
        if not head.startswith(b"HTTP/1.1 1"):
            return head, body


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_is_a_502(name: str) -> None:
    upstream = Upstream(answering(NONSENSE[name], OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        head, body = await final(client)
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n") and b'"Service unavailable"' in body
        assert gate.endpoint().idle == [] and gate.endpoint().in_flight == 0
        (done,) = gate.observer.exchanges
        assert (done.decision, done.result) == ("bad_response", Result.FAILED)
        # The client's connection goes on, over another upstream connection.
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"
        assert upstream.connections == 2


@pytest.mark.parametrize(
    ("fields", "whole"),
    [
        (b"A: " + b"b" * 60_000 + b"\r\n", True),
        (b"A: " + b"b" * 70_000 + b"\r\n", False),
        (b"A: " + b"b" * 200_000 + b"\r\n", False),
        (b"A: b\r\n" * 9_000, True),
        (b"A: b\r\n" * 12_000, False),
    ],
    ids=["60 KB", "70 KB", "200 KB", "9,000 fields", "12,000 fields"],
)
@pytest.mark.parametrize("body", [b"", b"x" * 1_000_000], ids=["alone", "with a body"])
@pytest.mark.parametrize("cut", [1, 30_000, 1_000_000_000])
async def test_a_head_has_one_bound_however_much_comes_at_once(
    fields: bytes, whole: bool, body: bytes, cut: int
) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(answer[:cut])
        for _ in range(3):
            await asyncio.sleep(0)
        await talk.say(answer[cut:])
        await talk.gone()

    async with stage(Upstream(script)) as gate:
        head, got = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 200 " if whole else b"HTTP/1.1 502 ")
        assert got == body or not whole


BROKEN = {
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\nzz\r\n",
    "short body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe",
    "unfinished chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
    "unfinished trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nA: b\r\n",
}


@pytest.mark.parametrize("name", sorted(BODIES.keys() - {"coding as trailer"}))
@pytest.mark.parametrize("apart", [False, True])
async def test_framing_of_instances_is_read_as_strictly_as_that_of_clients(name: str, apart: bool) -> None:
    """Nothing of it reaches the client as whole, whether or not the head has gone out before."""
    head, framed = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n",
        BODIES[name][len(C) :],
    )

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(head if apart else head + framed)
        await seen.wait()
        await talk.say(framed if apart else b"")
        await talk.gone()

    seen = asyncio.Event()
    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        begun = await client.head()
        assert begun.startswith(b"HTTP/1.1 200 " if apart else b"HTTP/1.1 502 ")
        seen.set()
        if apart:
            assert b"0\r\n" not in await client.rest()
        await eventually(lambda: not upstream.open)
        assert gate.observer.decisions == [("bad_response", 200 if apart else 502)]
        assert gate.endpoint().idle == []


@pytest.mark.parametrize("http", [b"1.1", b"1.0"])
async def test_a_body_that_should_end_with_the_connection_and_ends_in_a_reset_is_broken(http: bytes) -> None:
    go_on = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await go_on.wait()
        talk.reset()

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(GET.replace(b"1.1", http))
        await client.reader.readuntil(b"half")
        go_on.set()
        with pytest.raises(ConnectionResetError):
            while piece := await client.reader.read(100):
                assert b"0\r\n" not in piece
        assert gate.observer.decisions == [("bad_response", 200)]


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_breaks_off_is_visibly_broken(name: str, reset: bool) -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(BROKEN[name])
        if reset:
            talk.reset()

    async with stage(Upstream(script)) as gate:
        got = await gate.until_closed(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        # A reset may throw away what the client had not read; what came with the head can still be a 502.
        assert not got or got.endswith((b"\r\nhe", b"\r\nhe\r\n")) or got.startswith(b"HTTP/1.1 502 ")
        (done,) = gate.observer.exchanges
        assert done.result is Result.FAILED
        assert done.decision in ("bad_response", "unavailable")
        assert gate.endpoint().idle == []


async def test_a_broken_body_to_http10_ends_in_a_reset() -> None:
    """Closing ends such a body, so only a reset tells that it is not whole."""

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
        await asyncio.sleep(0.05)

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(b"GET / HTTP/1.0\r\n\r\n")
        await client.head()
        with pytest.raises(ConnectionResetError):
            while await client.reader.read(100):
                pass


LEFTOVERS = {
    "a second response": OK + OK,
    "part of a response": OK + b"HT",
    "garbage": OK + b"garbage",
    "longer than its length": OK + b"!",
    "body to a 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "a second one after trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n"
    b"2\r\nok\r\n0\r\nA: b\r\n\r\n" + OK,
    "data after close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("name", LEFTOVERS)
@pytest.mark.parametrize("apart", [False, True])
async def test_what_follows_a_response_is_never_taken_for_the_next(name: str, apart: bool) -> None:
    async def script(talk: Conversation) -> None:
        first = upstream.connections == 1
        await talk.head()
        answer = LEFTOVERS[name] if first else OK
        cut = len(answer)
        if first:
            end = b"b\r\n\r\n" if b"chunked" in answer else b"ok" if b"ok" in answer else b"\r\n\r\n"
            cut = answer.index(end) + len(end)
        await talk.say(answer[:cut])
        if apart and answer[cut:]:
            await asyncio.sleep(0.02)
        await talk.say(answer[cut:])
        await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.answer()
        await eventually(lambda: not gate.endpoint().idle)
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"
        assert upstream.connections == 2


async def test_a_body_to_a_head_request_costs_the_connection() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET.replace(b"GET", b"HEAD"))
        await client.head()
        await eventually(lambda: not gate.endpoint().idle)
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"
        assert upstream.connections == 2


async def test_refused_connections_go_to_another_instance() -> None:
    upstream = Upstream(answering(OK))
    async with stage(free_port(), upstream) as gate:
        for _ in range(4):
            assert (await gate.ask(GET))[1] == b"ok"
        assert {exchange.endpoint.id for exchange in gate.observer.exchanges if exchange.endpoint} == {"1"}
        assert gate.endpoint("s", "0").in_flight == gate.endpoint("s", "1").in_flight == 0


async def test_bodies_survive_the_move_to_another_instance() -> None:
    async def script(talk: Conversation) -> None:
        while True:
            await talk.head()
            body = await talk.body(5)
            await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    async with stage(free_port(), free_port(), Upstream(script), retries=Retries(2)) as gate:
        for _ in range(3):
            assert (await gate.ask(POST))[1] == b"hello"


async def test_no_instance_accepts() -> None:
    async with stage(free_port(), free_port()) as gate:
        head, body = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 503 ") and b'"Service unavailable"' in body
        assert gate.observer.decisions == [("unavailable", 503)]
        assert gate.observer.exchanges[0].result is Result.FAILED


async def test_retries_can_be_switched_off() -> None:
    async with stage(free_port(), Upstream(answering(OK)), retries=Retries(0)) as gate:
        statuses = {(await gate.ask(GET))[0][9:12] for _ in range(2)}
        assert statuses == {b"503", b"200"}


async def test_an_instance_that_dies_before_it_answers() -> None:
    for reset in (False, True):

        async def script(talk: Conversation, reset: bool = reset) -> None:
            await talk.head()
            if reset:
                talk.reset()

        upstream = Upstream(script)
        async with stage(upstream) as gate:
            head, _ = await gate.ask(GET)
            assert head.startswith(b"HTTP/1.1 503 ")
            assert gate.observer.decisions == [("unavailable", 503)]
            # Only a connection that had been used before may have been closing: this one was fresh.
            assert upstream.connections == 1


async def test_an_instance_that_dies_while_it_gets_the_body() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.body(5)
        talk.reset()

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(POST.replace(b": 5", b": 500000"))
        assert (await client.head()).startswith(b"HTTP/1.1 503 ")
        assert gate.observer.decisions == [("unavailable", 503)]


async def test_an_answer_before_the_end_of_the_request() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        await talk.gone()

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(POST.replace(b": 5", b": 500000"))
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 413") and b"\r\nconnection: close" in head and body == b"no"
        await client.say(b"x" * 100_000)
        assert await client.rest() == b""
        assert gate.endpoint().idle == []


async def test_an_idle_connection_that_ends_is_not_used() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(OK)

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        for count in range(1, 4):
            await client.say(GET)
            assert (await client.answer())[1] == b"ok"
            await eventually(lambda: not gate.endpoint().idle)
            assert upstream.connections == count


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"200"), (b"PUT", b"200"), (b"POST", b"503")])
async def test_a_connection_that_closes_under_a_request(method: bytes, status: bytes) -> None:
    """RFC 9112 section 9.3.1: an idempotent request is sent once more, any other is not."""

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(OK)
        if upstream.connections == 1:
            await talk.head()
            return
        await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.answer()
        await client.say(GET.replace(b"GET", method))
        head, _ = await client.answer()
        assert head[9:12] == status
        assert gate.endpoint().in_flight == 0


async def test_a_slow_instance() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        assert await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream, timeouts=Timeouts(response=0.2)) as gate:
        client = await gate.client()
        await client.say(GET)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 504 ") and b'"Service unavailable"' in body
        assert gate.observer.decisions == [("timed_out", 504)]
        await eventually(lambda: not upstream.open)
        # The client's connection can go on.
        await client.say(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 400 ")


async def test_a_response_that_stops() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe")
        assert await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream, timeouts=Timeouts(idle=0.2)) as gate:
        got = await gate.until_closed(GET)
        assert not got or got.endswith(b"he")
        assert gate.observer.decisions == [("timed_out", 200)]
        await eventually(lambda: not upstream.open)


async def test_failures_open_the_breaker_and_success_closes_it() -> None:
    bad = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    circuit = Circuit(failure_threshold=3, min_throughput=3, recovery_timeout=0.2)
    async with stage(Upstream(answering(bad, bad, bad, OK)), circuit=circuit) as gate:
        for _ in range(3):
            assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 500 ")
        head, body = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 1\r\n" in head
        assert b'"Circuit breaker is open for service s"' in body
        assert gate.observer.decisions[-1] == ("circuit_open", 503)

        async def recovered() -> bool:
            return (await gate.ask(GET))[1] == b"ok"

        await eventually(recovered)
        assert [report.state for report in gate.gateway.breakers.report(0.0)] == ["closed"]


@pytest.mark.parametrize("status", [b"501", b"505"])
async def test_what_a_caller_can_bring_about_opens_no_breaker(status: bytes) -> None:
    answer = b"HTTP/1.1 " + status + b" No\r\nContent-Length: 0\r\n\r\n"
    circuit = Circuit(failure_threshold=2, min_throughput=2)
    async with stage(Upstream(answering(answer)), Upstream(answering(answer)), circuit=circuit) as gate:
        for _ in range(8):
            assert (await gate.ask(b"REPORT / HTTP/1.1\r\nHost: a\r\n\r\n"))[0][9:12] == status
        assert not gate.gateway.backends.ejected()


async def test_trailers_never_become_fields_of_the_next_response() -> None:
    """The next response on that connection may be for somebody else."""
    trailers = b"X-Secret: 1\r\nSet-Cookie: session=1\r\nDate: x\r\nX-Last: 1\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + trailers + b"\r\n"
    for cut in (len(answer), 1):

        async def script(talk: Conversation, cut: int = cut) -> None:
            await talk.head()
            for at in range(0, len(answer), cut):
                await talk.say(answer[at : at + cut])
            await talk.head()
            await talk.say(OK)

        upstream = Upstream(script)
        async with stage(upstream) as gate:
            assert (await gate.ask(GET))[1] == b"ok"
            head, body = await gate.ask(GET)
            assert body == b"ok" and upstream.connections == 1
            for name in (b"x-secret", b"set-cookie", b"x-last", b"date: x"):
                assert name not in head.lower()
