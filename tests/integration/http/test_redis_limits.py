"""Requests that wait for Redis, on real sockets: the store is the test's, which answers when it likes."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from time import monotonic, time
from typing import Any, cast

import pytest
from http_sfv.list import List
from joserfc import jwk, jwt

from dataplane.config.items import UnlinkedRoute
from dataplane.config.table import ResourceSet, build
from dataplane.gateway.policy.leased import terms
from dataplane.gateway.policy.resources import (
    Limit,
    LimitKey,
    LimitMode,
    Route,
    Service,
    StoreFailure,
    Timeouts,
    User,
    VerificationKey,
)
from headgate_api.leases.owner import Owner
from tests.support.fake_store import REFUSED, TAKEN, FakeStore
from tests.support.http_stage import OK, Client, Conversation, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

KEY = jwk.ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"}, private=True)
VERIFIED_BY = VerificationKey("k1", json.dumps(KEY.as_dict(private=False)), "headgate", "headgate")
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


def limit(name: str = "l", burst: int = 5, key: tuple[str, ...] = LimitKey.ROUTE, **fields: Any) -> Limit:
    return Limit(name, 0.001, burst, key, **{"mode": LimitMode.REDIS, **fields})


def token_of(subject: str) -> bytes:
    claims = {"iss": "headgate", "aud": "headgate", "sub": subject, "scope": "", "exp": int(time()) + 600}
    return jwt.encode({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}, claims, KEY, ["ES256"]).encode()


class Scene:
    """A gateway with one route "/" behind limits, and the store it asks."""

    def __init__(self, gate: Stage, store: FakeStore) -> None:
        self.gate = gate
        self.store = store

    async def asked(self, count: int = 1) -> None:
        """Wait until so many questions wait for an answer."""
        await eventually(lambda: len(self.store.questions()) == count)

    async def begin(self, request: bytes = GET, questions: int = 1) -> Client:
        """A client whose request waits."""
        client = await self.gate.client()
        await client.say(request)
        await self.asked(questions)
        return client

    def answer(self, *replies: object) -> None:
        self.store.answer(*replies, now=monotonic())


@asynccontextmanager
async def behind(*limits: Limit, upstream: Upstream | None = None, **fields: Any) -> AsyncIterator[Scene]:
    names = tuple(each.name for each in limits)
    route = UnlinkedRoute(Route("a", "s", **{"prefix": "/", "public": True, **fields}), names)
    async with stage(upstream or Upstream(answering(OK)), routes=(), more=(route, *limits)) as gate:
        store = FakeStore()
        gate.gateway.use_store(store)
        yield Scene(gate, store)


async def test_a_request_waits_for_the_answer_and_goes_on() -> None:
    async with behind(limit()) as scene:
        client = await scene.begin()
        scene.answer(TAKEN)
        assert (await client.answer())[1] == b"ok"
        await client.say(GET)
        await scene.asked()
        scene.answer(REFUSED)
        head, _ = await client.answer()
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b'retry-after: 30\r\nratelimit: "l";r=0;t=30\r\n' in head.lower()
        await client.say(GET)
        await scene.asked()
        scene.answer(TAKEN)
        assert (await client.answer())[1] == b"ok"


async def test_pipelined_requests_wait_one_after_the_other() -> None:
    async with behind(limit()) as scene:
        client = await scene.begin(GET * 3)
        for reply in (TAKEN, REFUSED, TAKEN):
            await scene.asked()
            scene.answer(reply)
        heads = [(await client.answer())[0] for _ in range(3)]
        assert [head.split(b" ")[1] for head in heads] == [b"200", b"429", b"200"]


@pytest.mark.parametrize("early", [b"", b"he", b"hello"])
async def test_a_body_that_comes_meanwhile_is_sent_afterwards(early: bytes) -> None:
    bodies: list[bytes] = []

    async def script(talk: Conversation) -> None:
        await talk.head()
        bodies.append(await talk.body(5))
        await talk.say(OK)

    async with behind(limit(), upstream=Upstream(script)) as scene:
        client = await scene.begin(POST + early)
        if early:
            scene.answer(TAKEN)
            await client.say(b"hello"[len(early) :])
        else:
            await client.say(b"hello")
            scene.answer(TAKEN)
        assert (await client.answer())[1] == b"ok"
        assert bodies == [b"hello"]


async def test_a_refusal_of_a_request_with_a_body_closes_after_it() -> None:
    async with behind(limit()) as scene:
        client = await scene.begin(POST + b"he")
        scene.answer(REFUSED)
        assert (await client.head()).startswith(b"HTTP/1.1 429 ")


async def test_a_body_that_makes_no_sense_is_found_afterwards() -> None:
    chunked = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with behind(limit()) as scene:
        client = await scene.begin(chunked)
        await client.say(b"nonsense\r\n")
        scene.answer(TAKEN)
        assert (await client.head()).startswith(b"HTTP/1.1 400 ")
        assert scene.gate.endpoint().in_flight == 0


async def test_nobody_waits_for_ever() -> None:
    """The store has a deadline of its own; should it fail, the connection has one too."""
    async with behind(limit()) as scene:
        client = await scene.begin()
        (connection,) = scene.gate.proxy.connections
        connection.deadline = monotonic()
        assert (await client.head()).startswith(b"HTTP/1.1 503 ")
        scene.answer(TAKEN)
        assert scene.gate.observer.decisions == [("unavailable", 503)]
        assert scene.gate.endpoint().in_flight == 0


async def test_a_client_that_is_gone_is_not_answered() -> None:
    async with behind(limit()) as scene:
        client = await scene.begin()
        client.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await eventually(lambda: scene.gate.observer.decisions == [("client_left", 0)])
        scene.answer(TAKEN)
        assert scene.gate.endpoint().in_flight == 0


async def test_the_time_for_the_whole_exchange_runs_while_it_waits() -> None:
    route = UnlinkedRoute(Route("a", "s", prefix="/", public=True), ("l",))
    timeouts = Timeouts(total=0.3)
    async with stage(Upstream(answering(OK)), routes=(), more=(route, limit()), timeouts=timeouts) as gate:
        scene = Scene(gate, FakeStore())
        gate.gateway.use_store(scene.store)
        client = await scene.begin()
        assert (await client.head()).startswith(b"HTTP/1.1 504 ")
        scene.answer(TAKEN)
        assert gate.observer.decisions == [("timed_out", 504)]


# --- several limits


async def test_what_others_took_is_given_back() -> None:
    here = limit("here", 50, mode=LimitMode.LOCAL)
    first, slots, second, third = (
        limit("first"),
        limit("slots", 9000, cost=3),
        limit("second"),
        limit("third"),
    )
    async with behind(here, first, slots, second, third) as scene:
        client = await scene.begin(questions=4)
        names = [question.name for question in scene.store.questions()]
        assert names == [b"rate_limit:%b:a" % name for name in (b"first", b"slots", b"second", b"third")]
        scene.answer(TAKEN, TAKEN, REFUSED, TAKEN)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b'"violated-policies":["second"]' in body.replace(b" ", b"")
        back = scene.store.orders()
        assert [order.split(b" ")[0] for order in back] == [b"ZREM", b"EVALSHA", b"ZREM"]
        assert back[0].startswith(b"ZREM rate_limit:first:a ")
        assert back[1].endswith(b" rate_limit:slots:a 90000000000 9000 3 7")
        (row,) = (row for row in scene.gate.gateway.limiter.report(monotonic()) if row.name == "here")
        assert row.remaining == pytest.approx(50, abs=0.1)


async def test_a_refusal_by_one_gives_back_what_those_of_other_modes_took() -> None:
    here = limit("here", 50, mode=LimitMode.LOCAL)
    fleet = limit("fleet", 6, mode=LimitMode.FLEET)
    alone = limit("alone", 50, LimitKey.ADDRESS, mode=LimitMode.FLEET)
    async with behind(here, alone, fleet, limit("redis")) as scene:
        limiter = scene.gate.gateway.limiter
        lend(scene, fleet, alone)

        def taken() -> list[float]:
            local = 50 - limiter.counter(here).remaining("a", monotonic())
            return [round(local), *(limiter.admitted()[name] for name in ("alone", "fleet"))]

        client = await scene.begin()
        assert taken() == [1, 1, 1]
        scene.answer(REFUSED)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 429 ")
        assert taken() == [0, 0, 0]
        await client.say(GET)
        await scene.asked()
        scene.answer(TAKEN)
        assert (await client.answer())[1] == b"ok"
        assert taken() == [1, 1, 1]
        # The worker has leased one request of a bucket of six: the next one is refused before Redis is asked.
        await client.say(GET)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b'"violated-policies":["fleet"]' in body.replace(b" ", b"")
        assert taken() == [1, 1, 1]
        assert scene.store.asked == []


async def test_a_leased_limit_by_caller_gives_back_what_redis_took_before() -> None:
    early, fleet = limit("early"), limit("fleet", 6, LimitKey.SUBJECT, mode=LimitMode.FLEET)
    async with behind(early, fleet) as scene:
        lend(scene, fleet)
        client = await scene.begin()
        scene.answer(TAKEN)
        assert (await client.answer())[1] == b"ok"
        await client.say(GET)
        await scene.asked()
        scene.answer(TAKEN)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 429 "), "by the leased one"
        assert [order.split(b" ")[1] for order in scene.store.orders()] == [b"rate_limit:early:a"]


def lend(scene: Scene, *limits: Limit) -> None:
    """Let the owners of limits answer what the gateway asks: it has a starter of each key then."""
    limiter, now = scene.gate.gateway.limiter, monotonic()
    owners = {
        each.name: Owner(held, 1, now, takeover=False, stored=False)
        for each in limits
        if (held := terms(each, 1)) is not None
    }
    for leased, ask in limiter.asks(now, fleet=True):
        answer = owners[leased.limit.name].ask("0", ask, now)
        assert answer is not None
        limiter.answer(leased.limit.name, leased.counts_by, answer, now)
    assert not limiter.joining


async def test_every_token_of_a_cost_is_given_back() -> None:
    async with behind(limit("many", cost=3), limit("none")) as scene:
        client = await scene.begin(questions=2)
        identity = scene.store.questions()[0].command.split(b"\r\n")[-2]
        scene.answer(TAKEN, REFUSED)
        await client.head()
        members = b" ".join(b"%b:%d" % (identity, number) for number in (1, 2, 3))
        assert scene.store.orders() == [b"ZREM rate_limit:many:a " + members]


async def test_a_local_refusal_asks_nobody() -> None:
    async with behind(limit("here", 1, mode=LimitMode.LOCAL), limit()) as scene:
        client = await scene.begin()
        scene.answer(TAKEN)
        await client.answer()
        await client.say(GET)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 429 ")
        assert scene.store.asked == []


async def test_limits_by_caller_are_asked_for_after_those_that_need_none() -> None:
    early, late, here = (
        limit("early"),
        limit("late", key=LimitKey.SUBJECT),
        limit("here", 1, key=LimitKey.SUBJECT, mode=LimitMode.LOCAL),
    )
    names = ("early", "late", "here")
    route = UnlinkedRoute(Route("a", "s", prefix="/"), names)
    async with stage(
        Upstream(answering(OK)),
        routes=(),
        more=(route, early, late, here, VERIFIED_BY, User("alice", frozenset())),
    ) as gate:
        scene = Scene(gate, FakeStore())
        gate.gateway.use_store(scene.store)
        client = await scene.begin()
        scene.answer(TAKEN)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 401 ")
        assert scene.store.orders() == [], "401 gives nothing back"
        token = b"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % token_of("alice")
        client = await scene.begin(token)
        scene.answer(TAKEN)
        await scene.asked()
        assert scene.store.questions()[0].name == b"rate_limit:late:alice"
        scene.answer(REFUSED)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 429 ")
        assert [order.split(b" ")[1] for order in scene.store.orders()] == [b"rate_limit:early:a"]
        scene.store.asked.clear()
        # The token is known now: everything is asked for at once.
        await client.say(token)
        await scene.asked(2)
        asked = [question.name for question in scene.store.questions()]
        assert asked == [b"rate_limit:early:a", b"rate_limit:late:alice"]
        scene.answer(REFUSED, TAKEN)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"early" in body
        assert [order.split(b" ")[1] for order in scene.store.orders()] == [b"rate_limit:late:alice"]
        await client.say(token)
        await scene.asked(2)
        scene.answer(TAKEN, TAKEN)
        assert (await client.answer())[1] == b"ok"
        scene.store.asked.clear()
        await client.say(token)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 429 "), "by the local one"
        assert scene.store.asked == []


async def test_a_local_limit_by_caller_gives_back_what_redis_took_before() -> None:
    early, here = limit("early"), limit("here", 1, key=LimitKey.SUBJECT, mode=LimitMode.LOCAL)
    route = UnlinkedRoute(Route("a", "s", prefix="/", public=True), ("early", "here"))
    async with stage(Upstream(answering(OK)), routes=(), more=(route, early, here)) as gate:
        scene = Scene(gate, FakeStore())
        gate.gateway.use_store(scene.store)
        client = await scene.begin()
        scene.answer(TAKEN)
        assert (await client.answer())[1] == b"ok"
        await client.say(GET)
        await scene.asked()
        scene.answer(TAKEN)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 429 ")
        assert [order.split(b" ")[1] for order in scene.store.orders()] == [b"rate_limit:early:a"]


async def test_a_known_caller_who_may_not_is_counted_by_what_needs_no_caller() -> None:
    early, late = limit("early"), limit("late", key=LimitKey.SUBJECT)
    route = UnlinkedRoute(Route("a", "s", prefix="/", scopes=frozenset({"x:y"})), ("early", "late"))
    user = User("alice", frozenset())
    async with stage(
        Upstream(answering(OK)), routes=(), more=(route, early, late, VERIFIED_BY, user)
    ) as gate:
        scene = Scene(gate, FakeStore())
        gate.gateway.use_store(scene.store)
        token = b"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % token_of("alice")
        for _ in range(2):
            client = await scene.begin(token)
            scene.answer(TAKEN)
            assert (await client.answer())[0].startswith(b"HTTP/1.1 403 ")


# --- no answer


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize(
    ("policy", "statuses"),
    [
        (StoreFailure.OPEN, [b"200", b"200", b"200"]),
        (StoreFailure.CLOSED, [b"503", b"503", b"503"]),
        (StoreFailure.LOCAL, [b"200", b"200", b"429"]),
    ],
)
async def test_without_an_answer_the_limit_says_what_holds(
    policy: StoreFailure, statuses: list[bytes], away: bool
) -> None:
    async with behind(limit(burst=2, on_store_failure=policy)) as scene:
        scene.store.away = away
        found = []
        client = await scene.gate.client()
        for _ in range(3):
            await client.say(GET)
            if not away:
                await scene.asked()
                scene.answer(None)
            found.append((await client.answer())[0].split(b" ")[1])
        assert found == statuses


@pytest.mark.parametrize("burst", [2, 9000])
@pytest.mark.parametrize(
    ("policy", "others", "status", "given_back"),
    [
        (StoreFailure.CLOSED, (), b"503", 1),
        (StoreFailure.OPEN, (), b"200", 0),
        (StoreFailure.LOCAL, (), b"200", 0),
        (StoreFailure.OPEN, (REFUSED,), b"429", 1),
    ],
)
async def test_a_late_take_of_a_request_that_was_refused_is_given_back(
    policy: StoreFailure, others: tuple[object, ...], status: bytes, given_back: int, burst: int
) -> None:
    more = [limit(f"other{number}") for number in range(len(others))]
    async with behind(limit(burst=burst, on_store_failure=policy), *more) as scene:
        client = await scene.begin(questions=1 + len(others))
        question = scene.store.questions()[0]
        scene.answer(None, *others)
        assert (await client.answer())[0].split(b" ")[1] == status
        assert scene.store.orders() == []
        question.late(TAKEN, monotonic())
        question.late(b"nonsense", monotonic())
        assert [order.split(b" ")[0] for order in scene.store.orders()] == [
            b"ZREM" if burst == 2 else b"EVALSHA"
        ] * given_back


async def test_an_answer_that_comes_late_but_before_the_others_counts() -> None:
    async with behind(limit("one", on_store_failure=StoreFailure.CLOSED), limit("two")) as scene:
        client = await scene.begin(questions=2)
        one = scene.store.questions()[0]
        scene.answer(None)
        one.late(TAKEN, monotonic())
        scene.answer(TAKEN)
        assert (await client.answer())[1] == b"ok"
        assert scene.store.orders() == []


async def test_a_refused_request_whose_client_takes_nothing_is_not_sent_on() -> None:
    """The refusal is written and not yet taken: the exchange goes on until it is, the request does not."""
    async with behind(limit()) as scene:
        await scene.begin()
        (connection,) = scene.gate.proxy.connections
        cast(Any, connection).current.status = 503
        scene.answer(TAKEN)
        assert scene.gate.endpoint().in_flight == 0


@pytest.mark.parametrize(
    "reply",
    [
        [float("inf"), 0, 0, 0],
        [10**400, 0, 0, 0],
        b"OK",
        1,
        [],
        [0, 1, 2],
        [0, 1, 2, 3, 4],
        [0, None, 0, 0],
        [b"x", 1, 2, 3],
    ],
)
async def test_what_makes_no_sense_is_no_answer(reply: object) -> None:
    async with behind(limit(on_store_failure=StoreFailure.CLOSED)) as scene:
        client = await scene.begin()
        scene.answer(reply)
        assert (await client.answer())[0].startswith(b"HTTP/1.1 503 ")


async def test_a_limit_that_is_tried_first_refuses_nothing_without_redis_either() -> None:
    async with behind(limit(enforced=0, on_store_failure=StoreFailure.CLOSED)) as scene:
        client = await scene.begin()
        scene.answer(REFUSED)
        assert (await client.answer())[1] == b"ok"
        scene.store.away = True
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"
        assert [exchange.shadowed for exchange in scene.gate.observer.exchanges] == [("l",), ("l",)]


# --- what lasts


async def test_the_cost_that_a_response_tells_is_settled_in_redis() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Cost: %d\r\n\r\nok"
    upstream = Upstream(answering(said % 25, said % 4))
    async with behind(limit(burst=100, cost=10, cost_header="x-cost"), upstream=upstream) as scene:
        for _ in range(2):
            client = await scene.begin()
            scene.answer(TAKEN)
            assert (await client.answer())[1] == b"ok"
        charged, back = scene.store.orders()
        assert charged.endswith(b" rate_limit:l:a 1000000000 100 15")
        assert back.endswith(b" rate_limit:l:a 1000000000 100 6 7")


async def test_what_remains_is_advertised() -> None:
    async with behind(limit(advertise=True)) as scene:
        client = await scene.begin()
        scene.answer(TAKEN)
        head, _ = await client.answer()
        assert b'ratelimit: "l";r=4;t=60\r\nratelimit-policy: "l";q=5;w=5000\r\n' in head.lower()
        scene.store.away = True
        await client.say(GET)
        head, body = await client.answer()
        assert body == b"ok"
        assert b"ratelimit" not in head.lower()


async def test_requests_under_way_are_counted_here() -> None:
    async with behind(limit(max_concurrent=1)) as scene:
        one = await scene.begin()
        two = await scene.begin(questions=2)
        scene.answer(TAKEN, TAKEN)
        statuses = {(await client.answer())[0].split(b" ")[1] for client in (one, two)}
        assert statuses == {b"200", b"429"}
        assert [order.split(b" ")[0] for order in scene.store.orders()] == [b"ZREM"]


# --- changes


async def test_a_service_that_goes_meanwhile_is_gone() -> None:
    async with behind(limit()) as scene:
        client = await scene.begin()
        route = UnlinkedRoute(Route("a", "s", prefix="/", public=True), ("l",))
        without = ResourceSet.of(Service("s"), route, limit())
        scene.gate.gateway.swap(build(without, 8), monotonic())
        scene.answer(TAKEN)
        assert b"not found in registry" in (await client.answer())[1]


async def test_only_limits_in_redis_are_wanted_from_it() -> None:
    async with behind(limit("there"), limit("here", mode=LimitMode.LOCAL)) as scene:
        assert scene.store.wanted == ["there"]


@pytest.mark.parametrize("refusing", ["here", "fleet", "there"])
async def test_clients_are_told_of_limits_of_every_mode_in_one_field(refusing: str) -> None:
    here = limit("here", 1 if refusing == "here" else 50, mode=LimitMode.LOCAL, advertise=True)
    # Its only worker has a starter of one request of a bucket of four.
    fleet = limit("fleet", 4 if refusing == "fleet" else 50, mode=LimitMode.FLEET, advertise=True)
    async with behind(here, fleet, limit("there", advertise=True)) as scene:
        lend(scene, fleet)
        client = await scene.begin()
        scene.answer(TAKEN)
        head, _ = await client.answer()
        left, policies = told(head, "RateLimit"), told(head, "RateLimit-Policy")
        assert list(left) == list(policies) == ["here", "fleet", "there"]
        assert (left["here"]["r"], left["there"]) == (here.burst - 1, {"r": 4, "t": 60})
        assert {name: each["q"] for name, each in policies.items()} == {
            "here": here.burst,
            "fleet": fleet.burst,
            "there": 5,
        }
        await client.say(GET)
        if refusing == "there":
            await scene.asked()
            scene.answer(REFUSED)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 429 ")
        (wait,) = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"retry-after: ")]
        assert told(head, "RateLimit") == {refusing: {"r": 0, "t": int(wait)}}
        assert list(told(head, "RateLimit-Policy")) == [refusing]
        problem = json.loads(body)
        assert problem["type"].endswith("#quota-exceeded")
        assert problem["violated-policies"] == [refusing]


def told(head: bytes, field: str) -> dict[str, dict[str, Any]]:
    """The one field of this name, read by an independent library: parameters by item."""
    start = field.lower().encode() + b": "
    (value,) = [line[len(start) :] for line in head.split(b"\r\n") if line.startswith(start)]
    found = List()
    found.parse(value)
    return {item.value: dict(item.params) for item in found}
