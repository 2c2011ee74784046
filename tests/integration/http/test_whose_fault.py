"""Who is late, and who is charged for it: what waits for the client is no failure of the service."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from dataplane.gateway.policy.resources import Circuit, Timeouts
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Result
from tests.support.http_stage import OK, Conversation, Script, Stage, Upstream, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
BIG = 8_000_000


async def deaf(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()
    await asyncio.Event().wait()


async def continuing(talk: Conversation) -> None:
    await talk.head()
    await talk.say(b"HTTP/1.1 100 Continue\r\n\r\n")
    await asyncio.Event().wait()


async def big(talk: Conversation) -> None:
    while True:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG))


async def results(gate: Stage) -> list[Result]:
    await eventually(lambda: gate.observer.exchanges)
    return [exchange.result for exchange in gate.observer.exchanges]


@pytest.mark.parametrize("script", [continuing, deaf])
async def test_a_client_that_announces_a_body_and_sends_none(
    script: Script,
) -> None:
    async with stage(Upstream(script), bounds=Bounds(body_timeout=0.3)) as gate:
        got = await gate.until_closed(EXPECTING)
        assert b"HTTP/1.1 408 " in got
        assert await results(gate) == [Result.ABANDONED]


async def test_five_such_clients_do_not_open_the_breaker() -> None:
    circuit = Circuit(failure_threshold=5, min_throughput=1, failure_ratio=0.1)
    async with stage(Upstream(continuing), bounds=Bounds(body_timeout=0.2), circuit=circuit) as gate:
        await asyncio.gather(*(gate.until_closed(EXPECTING) for _ in range(6)))
        (report,) = gate.gateway.breakers.report(monotonic())
        assert (report.state, report.failed_requests) == ("closed", 0)


async def test_a_slow_uploader_uses_up_the_whole_time() -> None:
    bounds = Bounds(body_timeout=5.0, linger_timeout=0.3)
    async with stage(Upstream(deaf), bounds=bounds, timeouts=Timeouts(total=0.4)) as gate:
        assert (await gate.until_closed(POST + b"1234")).startswith(b"HTTP/1.1 504 ")
        assert await results(gate) == [Result.ABANDONED]


async def test_a_slow_reader_uses_up_the_whole_time() -> None:
    async with stage(Upstream(big), timeouts=Timeouts(total=0.5)) as gate:
        client = await gate.client(limit=1024)
        await client.say(GET)
        assert await results(gate) == [Result.ABANDONED]
        assert gate.observer.decisions == [("timed_out", 200)]


async def test_an_instance_uses_up_the_whole_time() -> None:
    async with stage(Upstream(deaf), timeouts=Timeouts(total=0.3)) as gate:
        head, _ = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 504 ")
        assert await results(gate) == [Result.FAILED]


async def test_an_instance_that_stalls_in_the_middle_of_its_response() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await asyncio.Event().wait()

    async with stage(Upstream(script), timeouts=Timeouts(idle=0.3)) as gate:
        await gate.until_closed(GET)
        assert await results(gate) == [Result.FAILED]
        assert gate.observer.decisions == [("timed_out", 200)]


async def test_a_client_that_takes_no_more_of_its_response() -> None:
    async with stage(Upstream(big), timeouts=Timeouts(idle=0.3)) as gate:
        client = await gate.client(limit=1024)
        await client.say(GET)
        assert await results(gate) == [Result.ABANDONED]
        assert gate.observer.decisions == [("client_stalled", 200)]


async def test_an_instance_that_takes_no_more_of_a_request() -> None:
    async with stage(Upstream(deaf), bounds=Bounds(body_timeout=0.4, linger_timeout=0.3)) as gate:
        client = await gate.client()
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        client.writer.write(bytes(20_000_000))
        assert (await client.head()).startswith(b"HTTP/1.1 504 ")
        assert await results(gate) == [Result.FAILED]


@pytest.mark.parametrize(("patience", "result"), [(1.2, Result.FAILED), (0.0, Result.ABANDONED)])
async def test_a_hung_service_whose_clients_have_less_patience(patience: float, result: Result) -> None:
    """A client that leaves after a third of the response time tells of a service from which nothing comes."""
    upstream = Upstream(deaf)
    async with stage(upstream, timeouts=Timeouts(response=3.0)) as gate:
        client = await gate.client()
        await client.say(GET)
        await eventually(lambda: upstream.heads)
        await asyncio.sleep(patience)
        client.close()
        assert await results(gate) == [result]


async def test_a_slow_answer_of_a_service_that_answers_others_is_no_failure() -> None:
    async def script(talk: Conversation) -> None:
        while b"/slow" not in await talk.head():
            await talk.say(OK)
        await asyncio.Event().wait()

    upstream = Upstream(script)
    async with stage(upstream, timeouts=Timeouts(response=3.0)) as gate:
        client = await gate.client()
        await client.say(GET.replace(b"/", b"/slow", 1))
        await eventually(lambda: upstream.heads)
        await gate.ask(GET)
        await asyncio.sleep(1.2)
        client.close()
        await eventually(lambda: len(gate.observer.exchanges) == 2)
        assert gate.observer.exchanges[1].result is Result.ABANDONED


async def test_a_stalled_upload_is_no_trial_of_the_service() -> None:
    """It neither opens the breaker again nor keeps its place: the next request shows that the service is back."""
    replies = [b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", OK]

    async def script(talk: Conversation) -> None:
        while True:
            if b"content-length" in await talk.head():
                await talk.body(9)
            await talk.say(replies.pop(0))

    circuit = Circuit(
        failure_threshold=1,
        min_throughput=1,
        recovery_timeout=0.2,
        half_open_requests=1,
        half_open_timeout=1.0,
    )

    async def served(gate: Stage) -> bool:
        return (await gate.ask(GET))[0].startswith(b"HTTP/1.1 200 ")

    async with stage(Upstream(script), circuit=circuit) as gate:
        await gate.ask(GET)
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 503 ")
        await asyncio.sleep(0.3)
        stalled = await gate.client()
        await stalled.say(POST + b"1234")
        await eventually(lambda: gate.endpoint().in_flight)
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 503 ")
        await eventually(lambda: served(gate))
        (report,) = gate.gateway.breakers.report(monotonic())
        assert report.state == "closed"
