"""Interim responses and expectations (RFC 9110, 10.1.1, 15.2)."""

from __future__ import annotations

from tests.integration.http.fields import GET, POST, lines, values, with_fields
from tests.support.http_stage import OK, Upstream, answering, stage


async def test_a_100_that_nobody_asked_for_is_forwarded_too() -> None:
    async with stage(Upstream(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK))) as gate:
        client = await gate.client()
        await client.say(GET)
        assert lines(await client.head()) == [b"HTTP/1.1 100 Continue"]
        assert (await client.answer())[1] == b"ok"


async def test_expectations_are_a_list_that_may_have_empty_members() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        head, _ = await gate.ask(with_fields(POST, b"Expect: , 100-Continue ,", b"Content-Length: 2") + b"ab")
        assert lines(head)[0] == b"HTTP/1.1 200 OK"
        head, _ = await gate.ask(with_fields(POST, b"Expect: 100-continue, x", b"Content-Length: 2"))
        assert lines(head)[0] == b"HTTP/1.1 417 Expectation Failed"
    assert values(upstream.heads[0], b"expect") == [b"100-continue"]


async def test_an_expectation_without_a_body_or_in_http10_is_ignored() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        await gate.ask(with_fields(GET, b"Expect: 100-continue"))
        await gate.ask(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab")
    assert not any(values(head, b"expect") for head in upstream.heads)
