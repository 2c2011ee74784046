"""Time-outs and retries of a route, over real sockets. Sources: Gateway API, HTTPRouteTimeouts and HTTPRouteRetry."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from dataplane.gateway.policy.resources import Circuit, Retries, Route, Timeouts
from dataplane.proxy.exchange import Result
from demo.ports import free_port
from tests.support.http_stage import OK, Conversation, Script, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
LIMITED = b"HTTP/1.1 429 Slow down\r\nContent-Length: 4\r\n\r\nwait"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
ALL = frozenset({"connect", "reset", "timeout", "429", "500", "503"})


def route(**fields: Any) -> Route:
    return Route("all", "s", prefix="/", public=True, **fields)


async def silent(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()


async def endless(talk: Conversation) -> None:
    """A response that never ends, and never stops for long."""
    await talk.head()
    await talk.say(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    while not talk.reader.at_eof():
        await talk.say(b"1\r\nx\r\n")
        await asyncio.sleep(0.02)


LATE: list[tuple[str, dict[str, Any], Script, bytes, set[int]]] = [
    # name, of the route, instance, answer, attempts
    # "If the gateway has not been able to respond before this deadline is met, the gateway MUST return a timeout error"
    ("request", {"request_timeout": 0.3}, silent, b"HTTP/1.1 504 ", {1}),
    # "from when the request first starts being sent … to when the full response has been received from the backend"
    ("try", {"try_timeout": 0.3}, silent, b"HTTP/1.1 504 ", {1}),
    ("try, streamed answer", {"try_timeout": 0.3}, endless, b"HTTP/1.1 200 ", {1}),
    ("request, streamed answer", {"request_timeout": 0.3}, endless, b"HTTP/1.1 200 ", {1}),
    # "any individual retry attempt MUST not exceed the BackendRequest timeout"
    (
        "each try",
        {"try_timeout": 0.2, "retries": Retries(2, ALL)},
        silent,
        b"HTTP/1.1 504 ",
        {3},
    ),
    # "the entire duration of the initial request and any retry attempts MUST not exceed the Request timeout duration"
    (
        "all tries",
        {"request_timeout": 0.6, "try_timeout": 0.2, "retries": Retries(10, ALL)},
        silent,
        b"HTTP/1.1 504 ",
        {1, 2, 3},
    ),
    # "… the Gateway MUST immediately return a timeout error", also during a back-off
    (
        "back-off",
        {"request_timeout": 0.4, "retries": Retries(1, ALL, backoff=60.0)},
        answering(BUSY),
        b"HTTP/1.1 504 ",
        {2},
    ),
]


@pytest.mark.parametrize(
    ("fields", "script", "answer", "attempts"), [row[1:] for row in LATE], ids=[row[0] for row in LATE]
)
async def test_requests_that_take_too_long(
    fields: dict[str, Any], script: Script, answer: bytes, attempts: set[int]
) -> None:
    upstream = Upstream(script)
    async with stage(upstream, routes=[route(**fields)]) as gate:
        started = monotonic()
        client = await gate.client()
        await client.say(GET)
        if answer.startswith(b"HTTP/1.1 504"):
            head, body = await client.answer()
            assert head.startswith(answer) and b'"Service unavailable"' in body
        else:
            assert (await client.rest()).startswith(answer)
        assert 0.2 <= monotonic() - started < 5.0
        await eventually(lambda: gate.observer.exchanges)
        (done,) = gate.observer.exchanges
        assert done.decision == "timed_out" and done.attempts in attempts
        await eventually(lambda: upstream.open == len(gate.endpoint().idle))
        assert gate.endpoint().in_flight == 0


@pytest.mark.parametrize("fields", [{"request_timeout": 0.0}, {"request_timeout": 30.0}])
async def test_the_route_s_time_replaces_that_of_the_service(fields: dict[str, Any]) -> None:
    async def slow(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await talk.say(b"x")
            await asyncio.sleep(0.02)

    async with stage(Upstream(slow), routes=[route(**fields)], timeouts=Timeouts(total=0.2)) as gate:
        assert (await gate.ask(GET))[1] == 20 * b"x"


async def test_a_client_that_reads_slowly_is_not_charged_to_the_instance() -> None:
    async def endless(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\n")
        while not talk.reader.at_eof():
            await talk.say(bytes(1 << 20))

    async with stage(Upstream(endless), routes=[route(try_timeout=2.0)]) as gate:
        client = await gate.client(limit=1)
        await client.say(GET)
        await eventually(lambda: gate.observer.exchanges)
        (done,) = gate.observer.exchanges
        assert (done.decision, done.status, done.slowed) == ("timed_out", 200, True)
        assert done.result is Result.ABANDONED


async def test_a_slow_upload_is_not_charged_to_the_instance() -> None:
    async def patient(talk: Conversation) -> None:
        await talk.head()
        await talk.reader.read()

    circuit = Circuit(failure_threshold=1, min_throughput=1)
    async with stage(Upstream(patient), routes=[route(try_timeout=0.3)], circuit=circuit) as gate:
        client = await gate.client()
        await client.say(POST[:-2])
        head, _ = await client.answer()
        assert head.startswith(b"HTTP/1.1 504 ")
        (done,) = gate.observer.exchanges
        assert done.result is Result.ABANDONED
        (report,) = gate.gateway.breakers.report(monotonic())
        assert report.state == "closed"


async def test_a_tunnel_outlives_the_request_s_time() -> None:
    async def changing(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n")
        while data := await talk.reader.read(100):
            await talk.say(data)

    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"
    limited = route(request_timeout=0.3, try_timeout=0.3, upgrades=("chat",))
    async with stage(Upstream(changing), routes=[limited]) as gate:
        client = await gate.client()
        await client.say(upgrade)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        later = asyncio.get_running_loop().time() + 0.6
        await eventually(lambda: asyncio.get_running_loop().time() > later)
        await client.say(b"still there")
        assert await client.reader.readexactly(11) == b"still there"


AGAIN: list[tuple[str, Retries, list[bytes], bytes, int]] = [
    # name, retries, answers of the only instance, last answer's content, requests it gets
    ("code", Retries(1, frozenset({"503"})), [BUSY, OK], b"ok", 2),
    ("code of a client error", Retries(1, frozenset({"429"})), [LIMITED, OK], b"ok", 2),
    ("another code", Retries(1, frozenset({"503"})), [LIMITED, OK], b"wait", 1),
    ("as often as it says", Retries(2, frozenset({"503"})), [BUSY, BUSY, BUSY, OK], b"busy", 3),
    ("switched off", Retries(0, frozenset({"503"})), [BUSY, OK], b"busy", 1),
]


@pytest.mark.parametrize(
    ("retries", "answers", "content", "asked"), [row[1:] for row in AGAIN], ids=[row[0] for row in AGAIN]
)
async def test_requests_that_are_sent_again(
    retries: Retries, answers: list[bytes], content: bytes, asked: int
) -> None:
    upstream = Upstream(answering(*answers))
    # What the service says does not count.
    service = Retries(1, frozenset({"500"}))
    async with stage(upstream, routes=[route(retries=retries)], retries=service) as gate:
        assert (await gate.ask(GET))[1] == content
        assert len(upstream.heads) == gate.observer.exchanges[0].attempts == asked


async def test_answers_that_are_not_to_be_repeated_pass() -> None:
    async with stage(Upstream(answering(MISSING))) as gate:
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 404 ")


async def test_a_method_that_the_route_names_goes_again_with_its_body() -> None:
    async def once_busy(talk: Conversation) -> None:
        answers = [BUSY, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]
        for answer in answers:
            await talk.head()
            body = await talk.body(5)
            await talk.say(answer + (body if answer is not BUSY else b""))

    retries = Retries(1, frozenset({"503"}), methods=frozenset({"POST"}))
    async with stage(Upstream(once_busy), routes=[route(retries=retries)]) as gate:
        assert (await gate.ask(POST))[1] == b"hello"


async def test_no_retry_comes_before_its_back_off() -> None:
    """ "… as long as unsuccessful backend requests are not retried before the configured minimum duration"."""
    routes = [route(retries=Retries(2, ALL, backoff=0.1))]
    async with stage(free_port(), routes=routes, chance=lambda: 0.0) as gate:
        started = monotonic()
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 503 ")
        assert monotonic() - started >= 0.3
        assert gate.observer.exchanges[0].attempts == 3
