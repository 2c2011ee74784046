"""A request is sent again only where that is safe, to another instance, and never more often than the service bears."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from dataplane.gateway.policy.resources import Circuit, Retries, Timeouts
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Result
from demo.ports import free_port
from tests.support.http_stage import OK, Conversation, Script, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
EVERYTHING = frozenset({"connect", "reset", "timeout", "500", "502", "503", "504"})
ALL = Retries(3, EVERYTHING, 1.0)


async def resetting(talk: Conversation) -> None:
    await talk.head()
    talk.reset()


async def half_a_head(talk: Conversation) -> None:
    await talk.head()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Le")


async def half_a_body(talk: Conversation) -> None:
    await talk.head()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")


async def silent(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()


async def echoing(talk: Conversation) -> None:
    """Answer with the request's body."""
    while True:
        head = await talk.head()
        body = await talk.chunks() if b"transfer-encoding" in head else await talk.body(5)
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def first_at(gate: Stage, request: bytes) -> tuple[bytes, bytes]:
    """Ask; the ring begins with instance 0."""
    return await gate.ask(request)


@pytest.mark.parametrize("script", [resetting, half_a_head, answering(BUSY), silent])
async def test_what_fails_at_one_instance_is_asked_of_another(script: Script) -> None:
    bad, good = Upstream(script), Upstream(answering(OK))
    async with stage(bad, good, retries=ALL, timeouts=Timeouts(response=0.2)) as gate:
        assert (await first_at(gate, GET))[1] == b"ok"
        (done,) = gate.observer.exchanges
        assert (done.attempts, done.result) == (2, Result.ANSWERED)
        assert done.endpoint is not None and done.endpoint.id == "1"
        assert [gate.endpoint("s", name).in_flight for name in "01"] == [0, 0]
        assert len(bad.heads) == len(good.heads) == 1


@pytest.mark.parametrize("request_bytes", [PUT, CHUNKED])
@pytest.mark.parametrize("script", [resetting, answering(BUSY)])
async def test_a_body_at_hand_goes_again_whole(script: Script, request_bytes: bytes) -> None:
    async with stage(Upstream(script), Upstream(script), Upstream(echoing), retries=ALL) as gate:
        assert (await first_at(gate, request_bytes))[1] == b"hello"
        assert gate.observer.exchanges[0].attempts == 3


async def test_a_body_still_under_way_is_sent_again_from_its_begin() -> None:
    bad, good = Upstream(resetting), Upstream(echoing)
    async with stage(bad, good, retries=ALL) as gate:
        client = await gate.client()
        await client.say(PUT[:-3])
        await eventually(lambda: good.heads)
        await client.say(PUT[-3:])
        assert (await client.answer())[1] == b"hello"


async def test_a_body_that_is_too_long_to_keep_is_sent_once() -> None:
    good = Upstream(echoing)
    async with stage(Upstream(answering(BUSY)), good, retries=ALL, bounds=Bounds(replay=4)) as gate:
        assert (await first_at(gate, PUT))[0].startswith(b"HTTP/1.1 503 ")
        assert not good.heads


@pytest.mark.parametrize("script", [resetting, answering(BUSY), silent])
async def test_methods_that_are_not_idempotent_are_sent_once(script: Script) -> None:
    good = Upstream(answering(OK))
    async with stage(Upstream(script), good, retries=ALL, timeouts=Timeouts(response=0.2)) as gate:
        head, _ = await first_at(gate, PUT.replace(b"PUT", b"POST"))
        assert head[9:12] in (b"503", b"504")
        assert not good.heads and gate.observer.exchanges[0].attempts == 1


async def test_a_response_that_has_begun_is_never_begun_anew() -> None:
    good = Upstream(answering(OK))
    async with stage(Upstream(half_a_body), good, retries=ALL) as gate:
        got = await gate.until_closed(GET)
        assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"hello")
        assert not good.heads
        assert gate.observer.decisions == [("bad_response", 200)]


@pytest.mark.parametrize(
    ("script", "needed"), [(resetting, "reset"), (answering(BUSY), "503"), (silent, "timeout")]
)
async def test_only_for_the_causes_that_are_named(script: Script, needed: str) -> None:
    good = Upstream(answering(OK))
    retries = Retries(3, EVERYTHING - {needed}, 1.0)
    async with stage(Upstream(script), good, retries=retries, timeouts=Timeouts(response=0.2)) as gate:
        assert (await first_at(gate, GET))[0][9:10] == b"5"
        assert not good.heads


async def test_the_last_answer_is_handed_on_when_nobody_does_better() -> None:
    upstreams = [Upstream(answering(BUSY)) for _ in range(3)]
    async with stage(*upstreams, retries=ALL) as gate:
        head, body = await first_at(gate, GET)
        assert head.startswith(b"HTTP/1.1 503 ") and body == b"busy"
        assert gate.observer.exchanges[0].attempts == 3
        assert all(len(upstream.heads) == 1 for upstream in upstreams)
        # What was thrown away was read to its end: its connection is as good as ever.
        assert all(len(gate.endpoint("s", name).idle) == 1 for name in "012")


async def test_a_single_instance_is_not_asked_twice() -> None:
    upstream = Upstream(answering(BUSY))
    async with stage(upstream, retries=ALL) as gate:
        await first_at(gate, GET)
        assert len(upstream.heads) == 1


async def test_the_budget_bounds_what_a_failing_service_gets() -> None:
    # Half of them are ejected; the others have somebody to retry with.
    upstreams = [Upstream(answering(BUSY)) for _ in range(4)]
    retries = Retries(3, EVERYTHING, 0.2)
    async with stage(*upstreams, retries=retries, circuit=Circuit(failure_threshold=10_000)) as gate:
        client = await gate.client()
        for _ in range(200):
            await client.say(GET)
            assert (await client.answer())[1] == b"busy"
        asked = sum(len(upstream.heads) for upstream in upstreams)
        assert 200 + 40 <= asked <= 200 + 10 + 40


async def test_refused_connections_cost_no_budget() -> None:
    retries = Retries(1, EVERYTHING, 0.0)
    async with stage(free_port(), Upstream(answering(OK)), retries=retries) as gate:
        for _ in range(30):
            assert (await gate.ask(GET))[1] == b"ok"


async def test_a_half_open_breaker_s_probe_is_sent_once() -> None:
    circuit = Circuit(failure_threshold=1, min_throughput=1, recovery_timeout=0.1)
    first, second = Upstream(answering(BUSY)), Upstream(answering(BUSY))
    async with stage(first, second, retries=Retries(1, EVERYTHING, 1.0), circuit=circuit) as gate:
        await first_at(gate, GET)
        before = len(first.heads) + len(second.heads)

        async def probed() -> bool:
            return (await gate.ask(GET))[1] == b"busy"

        await eventually(probed)
        assert len(first.heads) + len(second.heads) == before + 1


async def test_a_client_that_leaves_during_a_back_off_is_not_asked_for() -> None:
    good = Upstream(answering(OK))
    async with stage(Upstream(answering(BUSY)), good, retries=ALL, chance=lambda: 40.0) as gate:
        client = await gate.client()
        await client.say(GET)
        await eventually(lambda: gate.endpoint("s", "1").in_flight == 1)
        client.close()
        await eventually(lambda: gate.observer.exchanges)
        assert gate.endpoint("s", "1").in_flight == 0
        # The back-off of one second ends, and nobody is asked.
        left = asyncio.get_running_loop().time() + 1.1
        await eventually(lambda: asyncio.get_running_loop().time() > left)
        assert not good.heads and gate.observer.decisions == [("client_left", 0)]


async def test_back_offs_hold_up_nobody_else() -> None:
    def script_for(name: bytes) -> Script:
        async def script(talk: Conversation) -> None:
            while True:
                head = await talk.head()
                await talk.say(BUSY if b"/slow" in head and name == b"0" else OK)

        return script

    async with stage(
        Upstream(script_for(b"0")), Upstream(script_for(b"1")), retries=ALL, chance=lambda: 12.0
    ) as gate:
        slow = await gate.client()
        started = monotonic()
        await slow.say(GET.replace(b"/ ", b"/slow "))
        await eventually(lambda: gate.endpoint("s", "1").in_flight == 1)
        for _ in range(10):
            assert (await gate.ask(GET))[1] == b"ok"
        assert not [exchange for exchange in gate.observer.exchanges if exchange.attempts > 1]
        assert (await slow.answer())[1] == b"ok"
        assert monotonic() - started >= 0.3


async def test_pipelined_requests_stay_in_order_over_retries() -> None:
    async def script(talk: Conversation) -> None:
        while True:
            head = await talk.head()
            number = head.split(b" ")[1]
            await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(number) + number)

    async with stage(Upstream(answering(BUSY)), Upstream(script), retries=ALL) as gate:
        client = await gate.client()
        await client.say(b"".join(GET.replace(b"/ ", b"/%d " % n) for n in range(20)))
        assert [(await client.answer())[1] for _ in range(20)] == [b"/%d" % n for n in range(20)]


async def test_the_whole_exchange_has_its_time() -> None:
    async def dripping(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not talk.reader.at_eof():
            await talk.say(b"x")
            await asyncio.sleep(0.02)

    upstream = Upstream(dripping)
    async with stage(upstream, timeouts=Timeouts(total=0.3)) as gate:
        started = monotonic()
        got = await gate.until_closed(GET)
        assert got.startswith(b"HTTP/1.1 200 ") and monotonic() - started < 2.0
        assert gate.observer.decisions == [("timed_out", 200)]


async def test_the_whole_exchange_has_its_time_over_all_attempts() -> None:
    upstreams = [Upstream(silent) for _ in range(4)]
    async with stage(*upstreams, retries=ALL, timeouts=Timeouts(response=0.3, total=0.5)) as gate:
        assert (await first_at(gate, GET))[0].startswith(b"HTTP/1.1 504 ")
        assert gate.observer.exchanges[0].attempts == 2
        await eventually(lambda: not any(upstream.open for upstream in upstreams))
