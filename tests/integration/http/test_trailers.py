"""Trailers of responses on real sockets: announced ones arrive after the body, all others nowhere."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.gateway.policy.resources import Retries
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.http1.trailers import NEVER
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage
from tests.support.waiting import eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def trailed(announced: bytes, trailers: bytes, status: bytes = b"200 OK", body: bytes = b"ok") -> bytes:
    """A response in chunks with a Trailer field and a trailer section."""
    head = b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\nTrailer: %b\r\n\r\n" % (status, announced)
    return head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers)


def lines(head: bytes) -> list[bytes]:
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


async def test_announced_trailers_travel_on() -> None:
    said = b"X-Sum: 1\r\nServer-Timing: db;dur=5\r\nX-Stray: 2\r\nx-sum: 3\r\n"
    upstream = Upstream(answering(trailed(b"X-Sum, Server-Timing, X-Absent", said), OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        head, body = await client.answer()
        assert b"trailer: x-sum, server-timing, x-absent" in lines(head) and body == b"ok"
        assert client.trailers == [b"X-Sum: 1", b"Server-Timing: db;dur=5", b"x-sum: 3"]
        assert b"X-Sum" not in head and b"X-Stray" not in head
        # Both connections go on, and nothing of it is left.
        await client.say(GET)
        head, body = await client.answer()
        assert b"x-s" not in head.lower() and b"trailer" not in head.lower() and body == b"ok"
        assert upstream.connections == 1
        assert gate.observer.decisions == [("forwarded", 200)] * 2


@pytest.mark.parametrize("said", [b"", b"TE: trailers\r\nConnection: TE\r\n", b"TE: chunked\r\n"])
async def test_a_client_need_not_ask_for_them(said: bytes) -> None:
    """And what it says of this hop stays here."""
    upstream = Upstream(answering(trailed(b"X-Sum", b"X-Sum: 1\r\n")))
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET[:-2] + said + b"\r\n")
        assert (await client.answer())[1] == b"ok" and client.trailers == [b"X-Sum: 1"]
    assert not any(line.lower().startswith((b"te:", b"connection:")) for line in lines(upstream.heads[0]))


@pytest.mark.parametrize("announced", [b"", b"X-Other", b"X Sum", b"X-Sum;q=1", b'"X-Sum"'])
async def test_unannounced_trailers_are_dropped(announced: bytes) -> None:
    async with stage(Upstream(answering(trailed(announced, b"X-Sum: 1\r\n")))) as gate:
        client = await gate.client()
        for _ in range(2):
            await client.say(GET)
            head, body = await client.answer()
            assert body == b"ok" and client.trailers == [] and b"X-Sum" not in head


async def test_what_is_read_before_a_body_never_comes_after_it() -> None:
    """Framing, routing, request modifiers, authentication, response control, content, one hop: in any spelling."""
    # The parser itself refuses framing in trailers.
    names = sorted(NEVER - {b"content-length", b"transfer-encoding"})
    spelled = [
        form for name in names for form in (name, name.title(), name.upper(), name.replace(b"-", b"_"))
    ]
    upstream = Upstream(answering(OK))
    async with stage(upstream, bounds=Bounds(fields=100)) as gate:
        client = await gate.client()
        for start in range(0, len(spelled), 50):
            some = spelled[start : start + 50]
            said = b"".join(b"%b: 1\r\n" % name for name in some) + b"X-Sum: 1\r\n"
            upstream.script = answering(trailed(b", ".join([*some, b"X-Sum"]), said))
            gate.pool.shed()
            await client.say(GET)
            head, body = await client.answer()
            assert body == b"ok" and client.trailers == [b"X-Sum: 1"]
            assert b"trailer: x-sum" in lines(head)


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: gzip\r\n"])
async def test_framing_in_trailers_is_passed_on_by_nobody(framing: bytes) -> None:
    upstream = Upstream(answering(trailed(b"X-Sum, Content-Length, Transfer-Encoding", framing), OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        head, _ = await client.answer()
        assert client.trailers == [] and (
            head.startswith(b"HTTP/1.1 502 ") or b"trailer: x-sum" in lines(head)
        )
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"


async def test_what_connection_names_stays_here() -> None:
    answer = trailed(b"X-Hop, X-Sum", b"X-Hop: 1\r\nX-Sum: 1\r\n")
    answer = answer.replace(b"\r\nTrailer", b"\r\nConnection: x-hop\r\nTrailer")
    async with stage(Upstream(answering(answer))) as gate:
        client = await gate.client()
        await client.say(GET)
        head, _ = await client.answer()
        assert b"trailer: x-sum" in lines(head) and client.trailers == [b"X-Sum: 1"]


@pytest.mark.parametrize("trailer", [b"Connection: close\r\n", b"Proxy-Connection: close\r\n"])
@pytest.mark.parametrize("announced", [b"X-Sum", b"Connection"])
async def test_a_trailer_says_nothing_of_the_connection(trailer: bytes, announced: bytes) -> None:
    """The parser believes it, and would refuse the next response."""
    upstream = Upstream(answering(trailed(announced, trailer), OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        for _ in range(3):
            await client.say(GET)
            head, body = await client.answer()
            assert body == b"ok" and b"\r\nconnection" not in head.lower() and client.trailers == []
        assert gate.observer.decisions == [("forwarded", 200)] * 3


async def test_who_gets_none() -> None:
    """HTTP/1.0, HEAD, responses without body or of known length, bodies that end with the connection."""
    answer = trailed(b"X-Sum", b"X-Sum: 1\r\n")
    head_alone = answer[: answer.index(b"\r\n\r\n") + 4]
    cases = [
        (GET.replace(b"1.1", b"1.0"), answer, b"ok"),
        (GET.replace(b"GET", b"HEAD"), head_alone, b""),
        (GET, head_alone.replace(b"200 OK", b"304 Not Modified"), b""),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTrailer: X-Sum\r\n\r\nok", b"ok"),
    ]
    for request, said, body in cases:
        async with stage(Upstream(answering(said))) as gate:
            got = await gate.until_closed(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            head, _, rest = got.partition(b"\r\n\r\n")
            assert b"sum" not in got.lower() and b"\r\ntrailer" not in head.lower() and rest == body

    async def closing(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n\r\nok")

    async with stage(Upstream(closing)) as gate:
        client = await gate.client()
        await client.say(GET)
        head, body = await client.answer()
        assert body == b"ok" and b"\r\ntrailer" not in head.lower() and client.trailers == []


async def test_an_interim_response_announces_nothing() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nTrailer: X-Early\r\nLink: </x>\r\n\r\n"
    answer = interim + trailed(b"X-Sum", b"X-Early: 1\r\nX-Sum: 1\r\n")
    async with stage(Upstream(answering(answer))) as gate:
        client = await gate.client()
        await client.say(GET)
        assert lines(await client.head()) == [b"HTTP/1.1 103 Early Hints", b"Link: </x>"]
        head, _ = await client.answer()
        assert b"trailer: x-sum" in lines(head) and client.trailers == [b"X-Sum: 1"]


async def test_trailers_of_an_answer_that_was_thrown_away_are_not_those_of_the_next() -> None:
    busy = trailed(b"X-Sum", b"X-Sum: busy\r\n", b"503 Busy")
    good = trailed(b"X-Sum", b"")
    retries = Retries(1, frozenset({"503"}), 1.0)
    async with stage(Upstream(answering(busy)), Upstream(answering(good)), retries=retries) as gate:
        client = await gate.client()
        for _ in range(4):
            await client.say(GET)
            assert (await client.answer())[1] == b"ok" and client.trailers == []


MANY = b"".join(b"X-Sum: %d\r\n" % n for n in range(21))
LONG = b"X-Sum: " + b"x" * 5000 + b"\r\n"


@pytest.mark.parametrize("trailers", [MANY, LONG], ids=["many", "long"])
@pytest.mark.parametrize("apart", [False, True])
async def test_too_many_and_too_long_ones_break_the_body_visibly(trailers: bytes, apart: bool) -> None:
    answer = trailed(b"X-Sum", trailers)
    cut = answer.index(b"0\r\nX-Sum") if apart else len(answer)
    told = asyncio.Event()

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(answer[:cut])
        await told.wait()
        await talk.say(answer[cut:])
        await talk.gone()

    upstream = Upstream(script)
    async with stage(upstream, bounds=Bounds(fields=20, head=4000)) as gate:
        client = await gate.client()
        await client.say(GET)
        if apart:
            await client.reader.readuntil(b"ok")
        told.set()
        with pytest.raises(ConnectionResetError):
            while piece := await client.reader.read(100):
                assert b"\r\n0\r\n" not in piece
        assert gate.observer.decisions[0][0] == "bad_response" and gate.endpoint().idle == []
        await eventually(lambda: not upstream.open)


@pytest.mark.parametrize("trailers", [MANY, LONG], ids=["many", "long"])
async def test_as_many_and_as_long_ones_as_a_head_may_have(trailers: bytes) -> None:
    answer = trailed(b"X-Sum", trailers)
    async with stage(Upstream(answering(answer)), bounds=Bounds(fields=21, head=5020)) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.answer()
        assert b"".join(b"%b\r\n" % line for line in client.trailers) == trailers


@pytest.mark.parametrize("announced", [b"X-Sum", b"X-Other"])
@pytest.mark.parametrize("endless", [b"X-Sum: 1\r\n" * 100, b"x" * 1000], ids=["fields", "one field"])
async def test_endless_trailers_behind_a_long_body_are_not_kept(announced: bytes, endless: bytes) -> None:
    """What a long body has carried is no credit for what follows it."""
    size, said, read = 2_000_000, 0, asyncio.Event()

    async def script(talk: Conversation) -> None:
        nonlocal said
        await talk.head()
        await talk.say(trailed(announced, b"", body=b"x" * size).removesuffix(b"0\r\n\r\n"))
        await read.wait()
        await talk.say(b"0\r\nX-Sum: ")
        while said < 20_000_000:
            await talk.say(endless)
            said += len(endless)

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        await client.head()
        got = 0
        while got < size:
            got += (await client.reader.read(65536)).count(b"x")
        read.set()
        assert b"0\r\n" not in await client.rest()
        assert gate.observer.decisions == [("bad_response", 200)]
        await eventually(lambda: not upstream.open)
        # Sockets' own buffers, and one read.
        assert said < 10_000_000
