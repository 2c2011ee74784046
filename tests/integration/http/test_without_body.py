"""Messages without a body (RFC 9110, 8.6, 15.3.5; RFC 9112, 6.1, 6.3)."""

from __future__ import annotations

import pytest

from tests.integration.http.fields import GET, lines, values
from tests.support.http_stage import OK, Upstream, answering, stage


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_a_status_without_a_body_has_no_framing_of_one(answer: bytes) -> None:
    async with stage(Upstream(answering(answer, OK))) as gate:
        client = await gate.client()
        await client.say(GET)
        head = await client.head()
        assert not values(head, b"transfer-encoding")
        assert values(head, b"content-length") == ([b"7"] if b" 304 " in head and b": 7" in answer else [])
        await client.say(GET)
        assert (await client.answer())[1] == b"ok"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_what_follows_a_status_without_a_body_reaches_nobody(status: bytes, body: bytes) -> None:
    upstream = Upstream(answering(b"HTTP/1.1 " + status + b"\r\n" + body, OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        await client.say(GET)
        head = await client.head()
        assert head.startswith((b"HTTP/1.1 " + status[:3], b"HTTP/1.1 502")) and b"hello" not in head
        if head.startswith(b"HTTP/1.1 502"):
            await client.reader.readexactly(int(values(head, b"content-length")[0]))
        await client.say(GET)
        head, got = await client.answer()
        assert head.startswith(b"HTTP/1.1 200 ") and got == b"ok"
        assert upstream.connections == 2


async def test_interim_responses_have_no_framing() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\nLink: </x>\r\n\r\n"
    async with stage(Upstream(answering(hints + OK))) as gate:
        client = await gate.client()
        await client.say(GET)
        assert lines(await client.head()) == [b"HTTP/1.1 103 Early Hints", b"Link: </x>"]
        assert (await client.answer())[1] == b"ok"
