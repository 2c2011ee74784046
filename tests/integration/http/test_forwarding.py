"""What goes upstream and what comes back, byte for byte where it matters."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.gateway.policy.resources import Route
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage
from tests.support.waiting import within

GET = b"GET /a?b=c HTTP/1.1\r\nHost: gate.example\r\n\r\n"


def lines(head: bytes) -> list[bytes]:
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


async def test_a_head_is_written_anew() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        head, body = await gate.ask(
            GET.replace(b"\r\n\r\n", b"\r\nAccept: */*\r\nX-Two: 1\r\nX-Two: 2\r\n\r\n")
        )
    sent = lines(upstream.heads[0])
    assert sent[:2] == [b"GET /a?b=c HTTP/1.1", b"host: gate.example"]
    assert sent[2:5] == [b"Accept: */*", b"X-Two: 1", b"X-Two: 2"]
    assert sent[5:9] == [
        b"x-forwarded-for: 127.0.0.1",
        b"x-forwarded-proto: http",
        b"via: 1.1 headgate",
        b"x-forwarded-host: gate.example",
    ]
    request_id = sent[9].removeprefix(b"x-request-id: ")
    assert sent[10] == b"traceparent: 00-" + request_id + b"-" + request_id[16:] + b"-01"
    assert len(sent) == 11 and len(request_id) == 32
    assert lines(head)[0] == b"HTTP/1.1 200 OK" and b"x-request-id: " + request_id in lines(head)
    assert body == b"ok"


async def test_fields_of_one_name_stay_in_order_however_they_are_spelled() -> None:
    """RFC 9110 section 5.3; and whether or not a spelling has been seen before."""
    spelled = [b"x-order: 1", b"X-Order: 2", b"X-ORDER: 3", b"x-order: 4", b"X-oRdEr: 5"]
    ordered = b"\r\n".join(spelled)
    answer = OK.replace(b"\r\nContent", b"\r\n" + ordered + b"\r\nContent")
    upstream = Upstream(answering(OK.replace(b"\r\nContent", b"\r\nX-Order: 0\r\nContent"), answer))
    async with stage(upstream) as gate:
        await gate.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Order: 0\r\n\r\n"))
        for _ in range(2):
            head, _ = await gate.ask(GET.replace(b"\r\n\r\n", b"\r\n" + ordered + b"\r\n\r\n"))
            assert [line for line in lines(head) if line.lower().startswith(b"x-order")] == spelled
    for head in upstream.heads[1:]:
        assert [line for line in lines(head) if line.lower().startswith(b"x-order")] == spelled


async def test_fields_that_are_ours_or_hop_by_hop_do_not_pass() -> None:
    upstream = Upstream(answering(OK))
    said = [
        b"Connection: keep-alive, X-Private, X-Request-Id",
        b"X-Private: 1",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Proxy-Authorization: x",
        b"X-Auth-Subject: root",
        b"x_auth_subject: root",
        b"X.Auth.Scopes: admin",
        b"X-Forwarded-For: 6.6.6.6",
        b"X_Forwarded_For: 6.6.6.6",
        b"Forwarded: for=6.6.6.6",
        b"X-Real-IP: 6.6.6.6",
        b"X-Request-Id: mine",
        b"Transfer_Encoding: chunked",
        b"Content_Length: 7",
        b"Proxy: evil",
        b"TraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        b"tracestate: a=b",
        b"X-Custom_Name: stays",
    ]
    async with stage(upstream) as gate:
        await gate.ask(GET.replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(said) + b"\r\n\r\n"))
    sent = lines(upstream.heads[0])
    assert sent[2] == said[-1]
    assert [line.split(b":")[0] for line in sent[3:]] == [
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"via",
        b"x-forwarded-host",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
    ]
    assert sent[-2].startswith(b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-")
    assert (
        sent[-2].endswith(b"-00") and b"b7ad6b7169203331" not in sent[-2] and sent[-1] == b"tracestate: a=b"
    )
    assert b"6.6.6.6" not in upstream.heads[0] and b"mine" not in upstream.heads[0]


async def test_trusted_peers_are_believed() -> None:
    upstream = Upstream(answering(OK))
    said = b"X-Forwarded-For: 9.9.9.9, 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc-1\r\n\r\n"
    async with stage(upstream, trusted=["127.0.0.0/8"]) as gate:
        head, _ = await gate.ask(GET.replace(b"\r\n\r\n", b"\r\n" + said))
    sent = lines(upstream.heads[0])
    assert b"x-forwarded-for: 9.9.9.9, 8.8.8.8, 127.0.0.1" in sent
    assert b"x-forwarded-proto: https" in sent and b"x-request-id: abc-1" in sent
    assert b"x-request-id: abc-1" in lines(head)


@pytest.mark.parametrize(
    ("route", "target", "sent"),
    [
        (Route("r", "s", prefix="/api", public=True), b"/api/x?q=%2f", b"/api/x?q=%2f"),
        (Route("r", "s", prefix="/api", public=True, strip_prefix=True), b"/api/x?q", b"/x?q"),
        (Route("r", "s", prefix="/api", public=True, strip_prefix=True), b"/api", b"/"),
        (Route("r", "s", prefix="/api", public=True, rewrite="/v2"), b"/api/x", b"/v2/x"),
        (Route("r", "s", prefix="/api", public=True), b"/api/./y/../%78//z", b"/api/x/z"),
        (Route("r", "s", prefix="/api", public=True), b"http://gate.example/api/x", b"/api/x"),
    ],
)
async def test_targets(route: Route, target: bytes, sent: bytes) -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, routes=[route]) as gate:
        await gate.ask(b"GET " + target + b" HTTP/1.1\r\nHost: gate.example\r\n\r\n")
    assert lines(upstream.heads[0])[0] == b"GET " + sent + b" HTTP/1.1"


async def test_a_body_of_known_length_keeps_its_framing() -> None:
    bodies = []

    async def script(talk: Conversation) -> None:
        await talk.head()
        bodies.append(await talk.body(5))
        await talk.say(OK)

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        await gate.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
    assert lines(upstream.heads[0])[-1] == b"content-length: 5" and bodies == [b"hello"]


async def test_chunks_are_framed_anew_and_trailers_dropped() -> None:
    bodies = []

    async def script(talk: Conversation) -> None:
        for _ in range(2):
            await talk.head()
            bodies.append(await talk.chunks())
            await talk.say(OK)

    upstream = Upstream(script)
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: X-T\r\n\r\n"
    chunks = b'3;a=b\r\nhel\r\n02;q="x"\r\nlo\r\n0\r\nX-T: 1\r\nAuthorization: Bearer x\r\n\r\n'
    async with stage(upstream) as gate:
        client = await gate.client()
        for _ in range(2):
            await client.say(request + chunks)
            assert (await client.answer())[1] == b"ok"
    assert bodies == [b"hello", b"hello"] and upstream.connections == 1
    for head in upstream.heads:
        assert (
            lines(head)[-1] == b"transfer-encoding: chunked" and b"X-T" not in head and b"Bearer" not in head
        )


async def test_a_method_that_may_have_a_body_says_that_it_has_none() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        await gate.ask(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n")
        await gate.ask(b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert lines(upstream.heads[0])[-1] == b"content-length: 0"
    assert b"content-length" not in upstream.heads[1]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            b"hello",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 404 Whatever\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    ],
)
async def test_responses_and_the_connection_used_again(answer: bytes, body: bytes) -> None:
    upstream = Upstream(answering(answer))
    async with stage(upstream) as gate:
        client = await gate.client()
        for _ in range(3):
            await client.say(GET)
            head = await client.head()
            if b"chunked" in head:
                assert await client.reader.readexactly(15) == b"5\r\nhello\r\n0\r\n\r\n"
            else:
                assert await client.reader.readexactly(len(body)) == body
            assert lines(head)[0].startswith(b"HTTP/1.1 " + answer[9:12])
            assert b"Whatever" not in head
        assert upstream.connections == 1
        assert gate.endpoint().in_flight == 0


async def test_head_requests_have_no_body() -> None:
    upstream = Upstream(
        answering(
            b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            OK,
        )
    )
    async with stage(upstream) as gate:
        client = await gate.client()
        for length in (b"content-length: 500", b"", b""):
            await client.say(GET.replace(b"GET", b"HEAD"))
            framing = [line for line in lines(await client.head()) if b"length" in line or b"chunked" in line]
            assert framing == [length] * bool(length)
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"


async def test_a_body_that_ends_with_the_connection_is_sent_in_chunks() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await talk.say(b"lo")

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        for _ in range(2):
            await client.say(GET)
            head, body = await client.answer()
            assert b"transfer-encoding: chunked" in lines(head) and body == b"hello"


async def test_http10_clients() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    upstream = Upstream(answering(chunked, OK))
    async with stage(upstream) as gate:
        got = await gate.until_closed(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = got.partition(b"\r\n\r\n")
        assert b"connection: close" in lines(head) and b"chunked" not in head and body == b"hello"
        client = await gate.client()
        for _ in range(2):
            await client.say(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, body = await client.answer()
            assert b"connection: keep-alive" in lines(head) and body == b"ok"
    assert lines(upstream.heads[0])[:2] == [b"GET / HTTP/1.1", f"host: 127.0.0.1:{upstream.port}".encode()]


async def test_connection_close_is_kept() -> None:
    async with stage(Upstream(answering(OK))) as gate:
        got = await gate.until_closed(
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"GET / leftovers"
        )
    assert b"\r\nconnection: close\r\n" in got and got.endswith(b"\r\n\r\nok")


async def test_interim_responses() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: x\r\n\r\n"
    upstream = Upstream(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        assert lines(await client.head()) == [b"HTTP/1.1 100 Continue"]
        assert lines(await client.head()) == [b"HTTP/1.1 103 Early Hints", b"Link: </x>"]
        assert (await client.answer())[1] == b"ok"
        await client.say(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await client.answer())[0].startswith(b"HTTP/1.1 200 OK")


async def test_expectations_go_to_the_upstream() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await talk.body(5)
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
        await talk.head()
        await talk.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await talk.gone()

    upstream = Upstream(script)
    request = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(request)
        assert lines(await client.head()) == [b"HTTP/1.1 100 Continue"]
        await client.say(b"hello")
        assert (await client.answer())[1] == b"hello"
        await client.say(request)
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 403") and b"connection: close" in lines(head)
        assert await client.rest() == b""
    assert b"expect: 100-continue" in lines(upstream.heads[0])


async def test_refused_expectations_never_reach_the_upstream() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, routes=[]) as gate:
        got = await gate.until_closed(
            b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    assert got.startswith(b"HTTP/1.1 404") and not upstream.heads


async def test_events_come_through_at_once() -> None:
    told: asyncio.Event = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(3):
            await talk.say(b"9\r\ndata: %d\n\n\r\n" % number)
            await told.wait()
            told.clear()
        await talk.say(b"0\r\n\r\n")

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.head()
        for number in range(3):
            event = b"9\r\ndata: %d\n\n\r\n" % number
            assert await within(client.reader.readexactly(len(event)), 30) == event
            told.set()
        assert await client.reader.readexactly(5) == b"0\r\n\r\n"


async def test_what_is_known_of_an_exchange_at_its_end() -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.body(5)
        await talk.say(OK)

    async with stage(Upstream(script)) as gate:
        await gate.ask(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        (done,) = gate.observer.exchanges
    assert (done.decision, done.status, done.received, done.sent, done.revision) == (
        "forwarded",
        200,
        5,
        2,
        7,
    )
    assert done.started <= done.sent_at <= done.streamed_at <= done.ended
    assert done.endpoint is not None and done.endpoint.id == "0" and done.plan is not None
