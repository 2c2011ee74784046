"""External authorization on the wire: a service that is asked, and the service of the route."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from dataplane.gateway.policy.authorization import Authorization
from dataplane.gateway.policy.forwarding import Forwarding
from dataplane.gateway.policy.resources import Circuit, Instance, Route, Service, Timeouts
from tests.integration.http.fields import GET, lines, values, with_fields
from tests.support.http_stage import OK, Conversation, Script, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

RULES = Authorization(
    "auth",
    "/check",
    request_headers=("authorization", "x-shop"),
    to_service=("x-user", "x-role"),
    to_client=("www-authenticate", "location"),
)
ALLOWED = b"HTTP/1.1 200 OK\r\nX-User: alice\r\nX-Other: 1\r\nContent-Length: 0\r\n\r\n"
DENIED = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="a"\r\nX-Secret: 1\r\n'
    b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nno"
)
TOKEN = b"Authorization: Bearer a"


@contextlib.asynccontextmanager
async def asked(
    auth: Upstream | None, rules: Authorization = RULES, circuit: Circuit | None = None, **more: Any
) -> AsyncIterator[tuple[Stage, Upstream]]:
    """A stage whose route asks `auth`; None: a port where nobody listens."""
    upstream = Upstream(answering(OK))
    if auth is not None:
        await auth.start()
    service = Service(
        "auth", circuit=circuit or Circuit(failure_threshold=1000), timeouts=Timeouts(connect=1.0)
    )
    instance = Instance("auth", "1", "127.0.0.1", 1 if auth is None else auth.port)
    route = Route("r", "s", prefix="/", public=True, forwarding=Forwarding(authorization=rules))
    try:
        async with stage(upstream, routes=[route], more=[service, instance], **more) as gate:
            yield gate, upstream
    finally:
        if auth is not None:
            await auth.stop()


def results(gate: Stage) -> dict[str, int]:
    assert gate.gateway.authorizers is not None
    return {str(result): int(str(count)) for _, result, count, _ in gate.gateway.authorizers.report()}


def under_way(gate: Stage) -> int:
    """Requests that wait for an answer."""
    assert gate.gateway.authorizers is not None
    return sum(gate.gateway.authorizers.under_way.values())


async def test_a_request_passes_with_fields_of_the_answer() -> None:
    auth = Upstream(answering(ALLOWED))
    async with asked(auth) as (gate, upstream):
        client = await gate.client()
        sent = (TOKEN, b"X-Shop: 7", b"X-User: mallory", b"X_Role: admin", b"Accept: */*")
        for _ in range(3):
            await client.say(with_fields(b"PUT /a/b?c=d HTTP/1.1\r\nHost: shop.example\r\n\r\n", *sent))
            assert (await client.answer())[1] == b"ok"
        assert results(gate) == {"allowed": 3}
    assert auth.connections == 1 and len(auth.heads) == 3
    head = auth.heads[-1]
    assert lines(head)[0] == b"GET /check HTTP/1.1"
    expected = {
        b"authorization": [b"Bearer a"],
        b"x-shop": [b"7"],
        b"accept": [],
        b"x-user": [],
        b"x-forwarded-method": [b"PUT"],
        b"x-forwarded-uri": [b"/a/b?c=d"],
        b"x-forwarded-host": [b"shop.example"],
        b"x-forwarded-for": [b"127.0.0.1"],
        b"content-length": [],
    }
    assert {name: values(head, name) for name in expected} == expected
    reached = upstream.heads[-1]
    assert values(head, b"x-request-id") == values(reached, b"x-request-id")
    # Not what the client says of itself, in any spelling.
    assert values(reached, b"x-user") == [b"alice"]
    assert values(reached, b"x_role") == values(reached, b"x-role") == values(reached, b"x-other") == []


async def test_a_refusal_goes_to_the_client() -> None:
    async with asked(Upstream(answering(DENIED))) as (gate, upstream):
        client = await gate.client()
        for _ in range(2):
            await client.say(GET)
            head, body = await client.answer()
            assert lines(head)[0] == b"HTTP/1.1 401 Unauthorized" and body == b"no"
            assert values(head, b"www-authenticate") == [b'Basic realm="a"']
            assert values(head, b"content-type") == [b"text/plain"] and not values(head, b"x-secret")
        assert gate.observer.decisions == [("authorization_denied", 401)] * 2
        assert results(gate) == {"denied": 2}
    assert upstream.heads == []


REFUSALS = [
    # the service's answer, and the status that the client gets
    (b"HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nContent-Length: 0\r\n\r\n", 302),
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
    (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", 429),
    (b"HTTP/1.1 499 Odd\r\nContent-Length: 0\r\n\r\n", 499),
    (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 403),
    (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", 503),
    (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 503),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 503),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400_000, 503),
    (b"nonsense\r\n\r\n", 503),
]


@pytest.mark.parametrize(("answer", "status"), REFUSALS)
async def test_answers_that_let_nothing_pass(answer: bytes, status: int) -> None:
    async with asked(Upstream(answering(answer))) as (gate, upstream):
        head, _ = await gate.ask(GET)
        assert int(lines(head)[0].split()[1]) == status
        if status == 302:
            assert values(head, b"location") == [b"https://login.example/"]
        await eventually(lambda: not gate.endpoint("auth", "1").in_flight)
        assert not under_way(gate)
    assert upstream.heads == []


async def silent(talk: Conversation) -> None:
    await talk.head()
    await talk.gone()


async def reset(talk: Conversation) -> None:
    await talk.head()
    talk.reset()


FAILURES: list[tuple[str, Script | None, str]] = [
    ("no answer in time", silent, "no answer in time"),
    ("a reset", reset, "closed the connection"),
    ("nobody listens", None, "no connection to 1"),
]


@pytest.mark.parametrize("fail_open", [False, True])
@pytest.mark.parametrize(("source", "script", "reason"), FAILURES, ids=[row[0] for row in FAILURES])
async def test_without_an_answer(source: str, script: Script | None, reason: str, fail_open: bool) -> None:
    """Closed by default: 503 with the reason in the log. Open only where the route says so, and still without the
    fields that the service would have set."""
    rules = replace(RULES, timeout=0.2 if script is silent else 5.0, fail_open=fail_open)
    async with asked(None if script is None else Upstream(script), rules) as (gate, upstream):
        head, body = await gate.ask(with_fields(GET, b"X-User: mallory"))
        [exchange] = gate.observer.exchanges
        if fail_open:
            assert body == b"ok" and exchange.decision == "forwarded"
            assert values(upstream.heads[0], b"x-user") == []
            assert results(gate) == {"open": 1}
        else:
            assert lines(head)[0] == b"HTTP/1.1 503 Service Unavailable" and upstream.heads == []
            assert b"Authorization by service auth is unavailable" in body
            assert (exchange.decision, exchange.status) == ("authorization_failed", 503)
            assert values(head, b"retry-after") == [b"1"]
            assert results(gate) == {"failed": 1}
        assert "service auth" in exchange.reason
        if script is not reset:
            assert reason in exchange.reason
        await eventually(lambda: not gate.endpoint("auth", "1").in_flight)


async def test_the_service_has_a_breaker() -> None:
    failing = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    circuit = Circuit(failure_threshold=3, min_throughput=1, recovery_timeout=60.0)
    auth = Upstream(answering(failing))
    async with asked(auth, circuit=circuit) as (gate, _):
        client = await gate.client()
        for _ in range(5):
            await client.say(GET)
            assert lines((await client.answer())[0])[0].startswith(b"HTTP/1.1 503")
        assert [one.reason for one in gate.observer.exchanges][-1] == "service auth: circuit open"
        breakers = {one.service: one for one in gate.gateway.breakers.report(0.0)}
        assert breakers["auth"].state == "open" and breakers["s"].total_requests == 0
    assert len(auth.heads) == 3


async def test_only_the_request_itself_waits() -> None:
    """Another route of the same worker, and another connection, go on."""
    answered = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await answered.wait()
        await talk.say(ALLOWED)
        await talk.gone()

    async with asked(Upstream(script), replace(RULES, timeout=5.0)) as (gate, upstream):
        waiting = await gate.client()
        await waiting.say(GET)
        await eventually(lambda: under_way(gate) == 1)
        other = await gate.client()
        await other.say(GET)
        await eventually(lambda: under_way(gate) == 2)
        assert upstream.heads == []
        answered.set()
        assert (await waiting.answer())[1] == (await other.answer())[1] == b"ok"


async def test_a_client_that_leaves_while_the_service_is_asked() -> None:
    asking, answered = asyncio.Event(), asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        asking.set()
        await answered.wait()
        await talk.say(ALLOWED)
        await talk.gone()

    async with asked(Upstream(script), replace(RULES, timeout=5.0)) as (gate, upstream):
        client = await gate.client()
        await client.say(GET)
        await asking.wait()
        client.close()
        await eventually(lambda: gate.observer.decisions == [("client_left", 0)])
        answered.set()
        await eventually(lambda: not under_way(gate))
    assert upstream.heads == []


async def test_a_body_waits_for_the_answer() -> None:
    async with asked(Upstream(answering(ALLOWED))) as (gate, upstream):
        upstream.script = echo
        client = await gate.client()
        await client.say(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert (await client.answer())[1] == b"hello"


async def echo(talk: Conversation) -> None:
    await talk.head()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + await talk.body(5))


CACHED = replace(RULES, cache_seconds=60.0)
KNOWN: list[tuple[str, Authorization, bytes, list[bytes], int]] = [
    # what, rules, fields of the answer, requests, times that the service is asked
    ("the same request", CACHED, b"", [GET, GET], 1),
    ("another path", CACHED, b"", [GET, GET.replace(b"/a", b"/b")], 2),
    ("another method", CACHED, b"", [GET, GET.replace(b"GET", b"PUT")], 2),
    ("another host", CACHED, b"", [GET, GET.replace(b"Host: a", b"Host: b")], 2),
    ("another token", CACHED, b"", [GET, with_fields(GET, TOKEN)], 2),
    ("a field that the service does not see", CACHED, b"", [GET, with_fields(GET, b"X-B: 1")], 1),
    ("no caching", RULES, b"", [GET, GET], 2),
    ("the service forbids it", CACHED, b"Cache-Control: private, no-store\r\n", [GET, GET], 2),
    ("the service says 0 seconds", CACHED, b"Cache-Control: max-age=0\r\n", [GET, GET], 2),
    (
        "by token, another path",
        replace(CACHED, cache_key=("authorization",)),
        b"",
        [with_fields(GET, TOKEN), with_fields(GET, TOKEN).replace(b"/a", b"/b")],
        1,
    ),
    (
        "by token, another token",
        replace(CACHED, cache_key=("authorization",)),
        b"",
        [with_fields(GET, TOKEN), with_fields(GET, TOKEN + b"b")],
        2,
    ),
    ("by token, without one", replace(CACHED, cache_key=("authorization",)), b"", [GET, GET], 2),
]


@pytest.mark.parametrize(
    ("source", "rules", "control", "requests", "times"), KNOWN, ids=[row[0] for row in KNOWN]
)
async def test_answers_that_are_used_again(
    source: str, rules: Authorization, control: bytes, requests: list[bytes], times: int
) -> None:
    auth = Upstream(answering(ALLOWED.replace(b"X-Other: 1\r\n", control)))
    async with asked(auth, rules) as (gate, upstream):
        client = await gate.client()
        for request in requests:
            await client.say(with_fields(request, b"X-User: mallory"))
            assert (await client.answer())[1] == b"ok"
    assert len(auth.heads) == times
    assert [values(head, b"x-user") for head in upstream.heads] == [[b"alice"]] * len(requests)


async def test_a_refusal_is_not_used_again() -> None:
    auth = Upstream(answering(DENIED, ALLOWED))
    async with asked(auth, CACHED) as (gate, _):
        client = await gate.client()
        await client.say(GET)
        assert lines((await client.answer())[0])[0].startswith(b"HTTP/1.1 401")
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"
