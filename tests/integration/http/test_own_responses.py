"""The gateway's own responses (RFC 9110, 6.6.1, 9.3.2, 15.5.2; RFC 6750)."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.resources import Route
from tests.integration.http.fields import GET, POST, lines, values, with_fields
from tests.support.http_stage import OK, Upstream, answering, stage

GUARDED = [Route("guarded", "s", prefix="/", methods=frozenset({"GET", "HEAD", "POST"}))]


async def test_own_responses_are_dated_and_have_no_body_for_head() -> None:
    async with stage(Upstream(answering(OK)), routes=GUARDED) as gate:
        client = await gate.client()
        for method in (b"HEAD", b"GET"):
            await client.say(GET.replace(b"GET", method))
            head = await client.head()
            assert len(values(head, b"date")) == 1
            length = int(values(head, b"content-length")[0])
            assert length
        assert len(await client.reader.readexactly(length)) == length


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"/a", b"/a?access_token=abc"),
        with_fields(POST, b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 16")
        + b"access_token=abc",
        with_fields(GET, b"Authorization: Basic YTpi"),
        with_fields(GET, b"Authorization: Bearer"),
        with_fields(GET, b"Cookie: access_token=abc"),
    ],
    ids=["query", "form", "another scheme", "no token", "cookie"],
)
async def test_a_token_counts_in_the_authorization_field_alone(request_: bytes) -> None:
    """RFC 6750, 2 and 3: challenged with the scheme, without an error where no token was sent."""
    upstream = Upstream(answering(OK))
    async with stage(upstream, routes=GUARDED) as gate:
        head, _ = await gate.ask(request_)
        assert lines(head)[0] == b"HTTP/1.1 401 Unauthorized"
        (challenge,) = values(head, b"www-authenticate")
        assert challenge.startswith(b"Bearer") and b"error" not in challenge
    assert upstream.connections == 0


async def test_a_bad_token_is_told_so_and_two_are_a_bad_request() -> None:
    """RFC 6750, 3.1."""
    async with stage(Upstream(answering(OK)), routes=GUARDED) as gate:
        head, _ = await gate.ask(with_fields(GET, b"Authorization: Bearer abc"))
        (challenge,) = values(head, b"www-authenticate")
        assert lines(head)[0] == b"HTTP/1.1 401 Unauthorized" and b'error="invalid_token"' in challenge
        two = [b"Authorization: Bearer abc", b"authorization: Bearer abc"]
        head, _ = await gate.ask(with_fields(GET, *two))
        assert lines(head)[0] == b"HTTP/1.1 400 Bad Request"


async def test_a_method_that_no_route_allows() -> None:
    async with stage(Upstream(answering(OK)), routes=GUARDED) as gate:
        head, _ = await gate.ask(GET.replace(b"GET", b"DELETE"))
        assert lines(head)[0] == b"HTTP/1.1 405 Method Not Allowed"
        assert values(head, b"allow") == [b"GET, HEAD, POST"]
