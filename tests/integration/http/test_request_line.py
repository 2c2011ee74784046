"""The request line (RFC 9110, 2.5, 9.1; RFC 9112, 2.2, 3)."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.resources import Route
from tests.integration.http.fields import GET, lines, values
from tests.support.http_stage import OK, Upstream, answering, stage


@pytest.mark.parametrize("method", [b"FOO", b"get", b"GETX", b"CONNECT", b"TRACE", b"A" * 300, b"M-SEARCH"])
async def test_a_method_that_is_not_served(method: bytes) -> None:
    """501, also for one that is longer than any (RFC 9112, 3)."""
    async with stage(Upstream(answering(OK))) as gate:
        for lead in (b"", b"\r\n"):
            head, _ = await gate.ask(lead + method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n")
            assert lines(head)[0] == b"HTTP/1.1 501 Not Implemented"


@pytest.mark.parametrize("version", [b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9"])
async def test_a_version_that_is_not_spoken(version: bytes) -> None:
    async with stage(Upstream(answering(OK))) as gate:
        head, _ = await gate.ask(GET.replace(b"HTTP/1.1", version))
        assert lines(head)[0] == b"HTTP/1.1 505 HTTP Version Not Supported"


async def test_empty_lines_before_a_request_are_ignored() -> None:
    async with stage(Upstream(answering(OK))) as gate:
        client = await gate.client()
        for lead in (b"\r\n", b"\r\n\r\n", b""):
            await client.say(lead + GET)
            assert (await client.answer())[1] == b"ok"


async def test_the_authority_of_a_url_counts_and_host_does_not() -> None:
    """RFC 9112, 3.2.2: routed by it, and the instance gets it as the only Host."""
    routes = [
        Route("b", "s", hosts=("b.example",), prefix="/", public=True),
        Route("closed", "s", hosts=("a.example",), prefix="/"),
    ]
    upstream = Upstream(answering(OK))
    async with stage(upstream, routes=routes) as gate:
        head, _ = await gate.ask(b"GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert lines(head)[0] == b"HTTP/1.1 200 OK"
        head, _ = await gate.ask(b"GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n")
        assert lines(head)[0] == b"HTTP/1.1 401 Unauthorized"
    (sent,) = upstream.heads
    assert lines(sent)[0] == b"GET /x?y HTTP/1.1" and values(sent, b"host") == [b"b.example"]
    assert values(sent, b"x-forwarded-host") == [b"b.example"]


@pytest.mark.parametrize("host", [b"", b"Host: a\r\nHost: a\r\n", b"Host: a/b\r\n", b"Host: u@a\r\n"])
async def test_a_url_needs_a_host_field_all_the_same(host: bytes) -> None:
    async with stage(Upstream(answering(OK))) as gate:
        head, _ = await gate.ask(b"GET http://a/x HTTP/1.1\r\n" + host + b"\r\n")
        assert lines(head)[0] == b"HTTP/1.1 400 Bad Request"
