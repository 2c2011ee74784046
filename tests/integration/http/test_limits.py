"""Limits on real sockets: what a request costs afterwards, requests under way, shadow, what clients are told."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from time import monotonic

import pytest

from dataplane.config.items import UnlinkedRoute
from dataplane.gateway.policy.resources import Limit, LimitKey, Retries, Route
from tests.support.http_stage import OK, Conversation, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n"


def behind(upstream: Upstream, *limits: Limit) -> AbstractAsyncContextManager[Stage]:
    route = UnlinkedRoute(Route("a", "s", prefix="/", public=True), tuple(limit.name for limit in limits))
    return stage(upstream, routes=(), more=(route, *limits))


def saying(cost: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + cost + b"X-Other: 1\r\n\r\nok"


def tokens(burst: int = 100, cost: int = 1, per_second: float = 0.001) -> Limit:
    return Limit("tokens", per_second, burst, LimitKey.ROUTE, cost=cost, cost_header="x-cost")


def left(gate: Stage, limit: Limit) -> float:
    (row,) = gate.gateway.limiter.report(monotonic())
    assert row.name == limit.name
    return round(row.remaining, 1)


# --- what it cost, once that is known


async def test_the_cost_comes_from_the_response_and_stays_here() -> None:
    limit = tokens(cost=10)
    upstream = Upstream(answering(saying(b"X-Cost: 25\r\n"), saying(b"X-COST: 3\r\n")))
    async with behind(upstream, limit) as gate:
        for remaining in (75, 72):
            head, body = await gate.ask(GET)
            assert head.startswith(b"HTTP/1.1 200 ") and body == b"ok"
            assert b"x-cost" not in head.lower() and b"X-Other: 1\r\n" in head
            assert left(gate, limit) == remaining, (
                "10 are taken before; the rest, or what was too much, afterwards"
            )


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"X-Cost: \r\n",
        b"X-Cost: -5\r\n",
        b"X-Cost: 1e3\r\n",
        b"X-Cost: 5\r\nX-Cost: 6\r\n",
        b"X-Cost: 1234567890123\r\n",
    ],
)
async def test_what_is_no_cost_changes_none(said: bytes) -> None:
    limit = tokens(cost=10)
    async with behind(Upstream(answering(saying(said))), limit) as gate:
        head, _ = await gate.ask(GET)
        assert b"x-cost" not in head.lower()
        assert left(gate, limit) == 90


async def test_a_response_that_is_thrown_away_for_a_retry_is_paid_too() -> None:
    limit = tokens(cost=10)
    busy = Upstream(answering(b"HTTP/1.1 503 Busy\r\nX-Cost: 25\r\nContent-Length: 4\r\n\r\nbusy"))
    good = Upstream(answering(saying(b"X-Cost: 3\r\n")))
    route = UnlinkedRoute(Route("a", "s", prefix="/", public=True), ("tokens",))
    again = Retries(1, frozenset({"503"}), 1.0)
    async with stage(busy, good, routes=(), more=(route, limit), retries=again) as gate:
        assert (await gate.ask(GET))[1] == b"ok"
        assert left(gate, limit) == 100 - 25 - 3


async def test_the_bucket_may_go_below_zero_and_the_next_request_waits() -> None:
    limit = tokens(per_second=1.0)
    async with behind(Upstream(answering(saying(b"X-Cost: 1000\r\n"))), limit) as gate:
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 200 ")
        head, _ = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 429 ")
        assert 899 <= int(head.split(b"retry-after: ")[1].split(b"\r\n")[0]) <= 901


async def test_a_cost_may_come_in_the_trailers() -> None:
    """A service that streams knows the cost at the end. Nothing of it reaches the client."""
    limit = tokens()
    said = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Cost, X-Sum\r\n\r\n2\r\nok\r\n0\r\n"
        b"X-Cost: 40\r\nX-Sum: 1\r\n\r\n"
    )
    bare = said.replace(b"Trailer: X-Cost, X-Sum\r\n", b"").replace(b"X-Sum: 1\r\n", b"")
    blank = bare.replace(b"40\r\n", b"\t10 \r\n")
    async with behind(Upstream(answering(said, bare, blank)), limit) as gate:
        client = await gate.client()
        await client.say(GET)
        head, body = await client.answer()
        assert b"trailer: x-sum\r\n" in head and body == b"ok" and client.trailers == [b"X-Sum: 1"]
        assert left(gate, limit) == 60
        await client.say(GET)
        assert (await client.answer())[1] == b"ok" and client.trailers == []
        assert left(gate, limit) == 20
        await client.say(GET)
        assert (await client.answer())[1] == b"ok" and left(gate, limit) == 10


async def test_answers_to_head_tell_a_cost_too_and_other_routes_keep_the_field() -> None:
    limit = tokens()
    open_route = UnlinkedRoute(Route("open", "s", prefix="/open", public=True), ())
    route = UnlinkedRoute(Route("a", "s", prefix="/a", public=True), ("tokens",))
    upstream = Upstream(answering(b"HTTP/1.1 200 OK\r\nX-Cost: 5\r\nContent-Length: 0\r\n\r\n"))
    async with stage(upstream, routes=(), more=(open_route, route, limit)) as gate:
        for _ in range(8):
            # Often enough for the head to be taken from the cache.
            assert b"X-Cost: 5\r\n" in (await gate.ask(GET.replace(b"/a", b"/open")))[0]
        for number in range(1, 4):
            assert b"x-cost" not in (await gate.ask(GET))[0].lower()
            assert left(gate, limit) == 100 - 5 * number


async def test_a_field_that_tells_a_cost_stays_here_in_interim_responses_too() -> None:
    """Only the final response tells the cost."""
    limit = tokens()
    early = b"HTTP/1.1 103 Early Hints\r\nX-Cost: 9\r\nLink: </a>\r\n\r\n"
    async with behind(Upstream(answering(early + saying(b"X-Cost: 5\r\n"))), limit) as gate:
        client = await gate.client()
        await client.say(GET)
        assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        head, body = await client.answer()
        assert b"x-cost" not in head.lower() and body == b"ok" and left(gate, limit) == 95


async def test_a_change_of_protocols_tells_its_cost_and_keeps_its_place() -> None:
    limit = Limit("tokens", 0.001, 100, LimitKey.ROUTE, cost_header="x-cost", max_concurrent=1)
    route = UnlinkedRoute(Route("a", "s", prefix="/", public=True, upgrades=("raw",)), ("tokens",))
    agreed = b"HTTP/1.1 101 Fine\r\nUpgrade: raw\r\nConnection: Upgrade\r\nX-Cost: 7 \r\nX-Kept: 1\r\n\r\n"
    ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(agreed)
        await talk.gone()

    async with stage(Upstream(script), routes=(), more=(route, limit)) as gate:
        client = await gate.client()
        await client.say(ask)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 101 ") and b"x-cost" not in head.lower() and b"X-Kept: 1" in head
        assert left(gate, limit) == 93
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 429 "), "the tunnel is under way"
        client.close()
        await eventually(lambda: len(gate.observer.exchanges) == 2)
        client = await gate.client()
        await client.say(ask)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")


# --- requests under way


class Slow:
    """Instances that answer when they are told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def script(self, talk: Conversation) -> None:
        while True:
            await talk.head()
            await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            await self.go.wait()
            await talk.say(b"k")


async def test_as_many_requests_as_may_be_under_way_until_their_bodies_have_ended() -> None:
    slow, limit = Slow(), Limit("few", 0, 0, LimitKey.ADDRESS, max_concurrent=2)
    upstream = Upstream(slow.script)
    async with behind(upstream, limit) as gate:
        clients = [await gate.client() for _ in range(2)]
        for client in clients:
            await client.say(GET)
            assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        head, body = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 429 ") and b"retry-after: 1\r\n" in head
        assert b'ratelimit-policy: "few";q=2;qu="concurrent-requests"\r\n' in head
        assert json.loads(body)["violated-policies"] == ["few"]
        slow.go.set()
        for client in clients:
            assert await client.reader.readexactly(2) == b"ok"
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_leaves_frees_its_place() -> None:
    slow, limit = Slow(), Limit("few", 0, 0, LimitKey.ADDRESS, max_concurrent=1)
    async with behind(Upstream(slow.script), limit) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.head()
        client.close()
        await eventually(lambda: len(gate.observer.exchanges) == 1)
        slow.go.set()
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 200 ")


async def test_a_service_has_as_many_requests_under_way_as_it_may() -> None:
    slow = Slow()
    async with stage(Upstream(slow.script), max_in_flight=2) as gate:
        clients = [await gate.client() for _ in range(2)]
        for client in clients:
            await client.say(GET)
            await client.head()
        head, body = await gate.ask(GET)
        assert head.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in head
        assert json.loads(body)["detail"] == "Service s has reached its limit of requests under way"
        assert gate.observer.decisions == [("saturated", 503)]
        slow.go.set()
        for client in clients:
            assert await client.reader.readexactly(2) == b"ok"
        assert (await gate.ask(GET))[0].startswith(b"HTTP/1.1 200 ")


# --- not enforced, and told


async def test_a_shadow_limit_lets_through_and_marks() -> None:
    limit = Limit("try", 0.001, 1, LimitKey.ADDRESS, enforced=0)
    async with behind(Upstream(answering(OK)), limit) as gate:
        assert [(await gate.ask(GET))[0][9:12] for _ in range(3)] == [b"200"] * 3
        assert [exchange.shadowed for exchange in gate.observer.exchanges] == [(), ("try",), ("try",)]


async def test_responses_that_pass_say_what_remains() -> None:
    limit = Limit("told", 0.1, 5, LimitKey.ADDRESS, advertise=True)
    also = Limit("also", 0, 0, LimitKey.ADDRESS, max_concurrent=3, advertise=True)
    async with behind(Upstream(answering(OK)), limit, also) as gate:
        client = await gate.client()
        for number in range(5):
            await client.say(GET)
            head, _ = await client.answer()
            lines = head.split(b"\r\n")
            assert b'ratelimit: "told";r=%d;t=%d, "also";r=2' % (4 - number, 10 * (number + 1)) in lines
            assert b'ratelimit-policy: "told";q=5;w=50, "also";q=3;qu="concurrent-requests"' in lines
        await client.say(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 429 ")


async def test_a_limit_that_does_not_advertise_says_nothing() -> None:
    async with behind(Upstream(answering(OK)), Limit("quiet", 0.1, 5, LimitKey.ADDRESS)) as gate:
        assert b"ratelimit" not in (await gate.ask(GET))[0]
