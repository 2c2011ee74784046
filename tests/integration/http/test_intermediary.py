"""What the RFCs ask of an intermediary, on the wire: the fields it writes, counts down, drops and leaves alone."""

from __future__ import annotations

import pytest

from dataplane.proxy.bounds import Bounds
from tests.integration.http.fields import GET, OPTIONS, lines, values, with_fields
from tests.support.http_stage import OK, Upstream, answering, stage

# --- Via (RFC 9110, 7.6.3)


async def test_via_names_the_gateway_and_the_version_a_request_came_in() -> None:
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    upstream = Upstream(answering(with_fields(OK, b"Connection: keep-alive"), old, hints + old))
    async with stage(upstream) as gate:
        for request in (GET, b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.0\r\n\r\n"):
            head, _ = await gate.ask(request)
            assert lines(head)[0] == b"HTTP/1.1 200 OK" and not values(head, b"via")
    sent = [values(head, b"via") for head in upstream.heads]
    assert sent == [[b"1.1 headgate"], [b"1.0 headgate"], [b"1.0 headgate"]]


async def test_via_of_others_stays_in_front() -> None:
    upstream = Upstream(answering(with_fields(OK, b"Via: 1.0 inner")))
    async with stage(upstream) as gate:
        for _ in range(3):
            head, _ = await gate.ask(with_fields(GET, b"Via: 1.1 edge", b"Connection: via"))
            assert values(head, b"via") == [b"1.0 inner"]
        await gate.ask(with_fields(GET, b"Via: 1.1 edge, 2 fred"))
    assert values(upstream.heads[0], b"via") == [b"1.1 headgate"]
    assert values(upstream.heads[-1], b"via") == [b"1.1 edge, 2 fred", b"1.1 headgate"]


async def test_instances_that_treat_requests_with_a_via_as_a_proxys_need_not_see_ours() -> None:
    """As nginx does: it compresses nothing for them (`gzip_proxied off`)."""
    upstream = Upstream(answering(OK))
    async with stage(upstream, send_via=False) as gate:
        await gate.ask(GET)
        await gate.ask(with_fields(GET, b"Via: 1.1 edge"))
    assert [values(head, b"via") for head in upstream.heads] == [[], [b"1.1 edge"]]


# --- Max-Forwards and OPTIONS (RFC 9110, 7.6.2, 9.3.7; RFC 9112, 3.2.4)


async def test_max_forwards_of_options_is_counted_down() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        for _ in range(3):
            await gate.ask(with_fields(GET, b"Max-Forwards: 10"))
            await gate.ask(with_fields(OPTIONS, b"Max-Forwards: 10"))
        await gate.ask(OPTIONS)
    counts = [values(head, b"max-forwards") for head in upstream.heads]
    assert counts == [[b"10"], [b"9"]] * 3 + [[]]


@pytest.mark.parametrize(
    "request_",
    [
        with_fields(OPTIONS, b"Max-Forwards: 0"),
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["no more hops", "asterisk", "URL without a path"],
)
async def test_options_that_end_here_are_answered_here(request_: bytes) -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        for _ in range(2):
            await client.say(request_)
            head, body = await client.answer()
            assert lines(head)[0] == b"HTTP/1.1 200 OK" and body == b""
            (allow,) = values(head, b"allow")
            assert {b"GET", b"OPTIONS", b"PATCH"} <= set(allow.split(b", ")) and b"TRACE" not in allow
        assert gate.observer.decisions == [("about_server", 200)] * 2
    assert upstream.connections == 0


@pytest.mark.parametrize("value", [b"-1", b"x", b"", b"1, 2"])
async def test_a_count_that_is_none_is_refused(value: bytes) -> None:
    async with stage(Upstream(answering(OK))) as gate:
        head, _ = await gate.ask(with_fields(OPTIONS, b"Max-Forwards: " + value))
        assert lines(head)[0] == b"HTTP/1.1 400 Bad Request"


async def test_a_count_that_is_stated_twice_is_refused() -> None:
    async with stage(Upstream(answering(OK))) as gate:
        head, _ = await gate.ask(with_fields(OPTIONS, b"Max-Forwards: 2", b"Max-Forwards: 2"))
        assert lines(head)[0] == b"HTTP/1.1 400 Bad Request"


async def test_other_methods_have_no_asterisk_form() -> None:
    async with stage(Upstream(answering(OK))) as gate:
        assert (await gate.ask(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"))[0].startswith(b"HTTP/1.1 400 ")


# --- Connection (RFC 9110, 7.6.1)


async def test_what_connection_nominates_goes_no_further_in_any_message() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nConnection: X-Hop\r\nX-Hop: 1\r\nLink: </x>\r\n\r\n"
    final = with_fields(OK, b"X-Hop: 1", b"Connection: x-hop, keep-alive", b"Keep-Alive: timeout=5")
    upstream = Upstream(answering(hints + final))
    async with stage(upstream) as gate:
        client = await gate.client()
        for _ in range(2):
            await client.say(with_fields(GET, b"X-Hop: 1", b"Connection: ,X-Hop ,, close-not"))
            assert lines(await client.head()) == [b"HTTP/1.1 103 Early Hints", b"Link: </x>"]
            head, _ = await client.answer()
            assert not {b"x-hop", b"keep-alive", b"connection"}.intersection(
                line.split(b":")[0].lower() for line in lines(head)
            )
    assert b"hop" not in upstream.heads[0].lower()


MANY = b"Connection: " + b"a," * 30_000


async def test_a_connection_field_without_end_is_refused() -> None:
    """To read 60 KB of names costs milliseconds."""
    upstream = Upstream(answering(with_fields(OK, MANY)))
    async with stage(upstream) as gate:
        head, _ = await gate.ask(with_fields(GET, MANY))
        assert lines(head)[0] == b"HTTP/1.1 400 Bad Request"
        head, _ = await gate.ask(GET)
        assert lines(head)[0] == b"HTTP/1.1 502 Bad Gateway"
        upstream.script = answering(with_fields(b"HTTP/1.1 103 Early Hints\r\n\r\n", MANY) + OK)
        head, _ = await gate.ask(GET)
        assert lines(head)[0] == b"HTTP/1.1 502 Bad Gateway"
        head, _ = await gate.ask(with_fields(GET, *[b"Connection: a,b,c,d"] * 10))
        assert lines(head)[0] == b"HTTP/1.1 502 Bad Gateway"
    async with stage(Upstream(answering(OK)), bounds=Bounds(fields=200)) as gate:
        head, _ = await gate.ask(with_fields(GET, *[b"Connection: a"] * 65))
        assert lines(head)[0] == b"HTTP/1.1 400 Bad Request"


async def test_keep_alive_beside_close_closes() -> None:
    async with stage(Upstream(answering(OK))) as gate:
        got = await gate.until_closed(with_fields(GET, b"Connection: keep-alive, close") + GET)
        assert got.count(b"HTTP/1.1 ") == 1 and b"\r\nconnection: close\r\n" in got


# --- fields that an intermediary leaves alone (RFC 9110, 5.1, 7.7, 11.6; RFC 9111, 5.2)


async def test_fields_that_are_none_of_its_business_pass_as_they_came() -> None:
    said = [
        b"Cache-Control: no-transform, max-age=0, x=y",
        b"Pragma: no-cache",
        b"Range: bytes=0-1",
        b"If-Range: x",
        b"Authorization: Bearer abc",
        b"Accept-Encoding: gzip",
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT",
        b"From: a@b",
        b"X-Unknown:",
    ]
    told = [
        b"Cache-Control: private, no-transform, x=y",
        b"Age: 7",
        b'Warning: 199 - "x"',
        b"WWW-Authenticate: Basic realm=x",
        b"Allow: GET",
        b"Server: inner/1",
        b"Location: /b",
        b"Content-Encoding: gzip",
        b"Content-Range: bytes 0-1/2",
        b"Retry-After: 3",
        b"Vary: *",
    ]
    upstream = Upstream(answering(with_fields(OK.replace(b"200 OK", b"206 Partial Content"), *told)))
    async with stage(upstream) as gate:
        for _ in range(3):
            head, body = await gate.ask(with_fields(GET, *said))
            assert lines(head)[0] == b"HTTP/1.1 206 Partial Content" and body == b"ok"
            assert [line for line in lines(head) if line in told] == told
    for head in upstream.heads:
        got = [line.replace(b"authorization", b"Authorization").rstrip() for line in lines(head)]
        assert set(said) <= set(got)


@pytest.mark.parametrize("status", [205, 299, 300, 401, 402, 405, 407, 416, 421, 451, 499, 599])
async def test_a_status_passes_with_its_body(status: int) -> None:
    upstream = Upstream(answering(OK.replace(b"200", b"%d" % status)))
    async with stage(upstream) as gate:
        head, body = await gate.ask(GET)
        assert lines(head)[0].startswith(b"HTTP/1.1 %d " % status) and body == b"ok"


@pytest.mark.parametrize("status", [600, 999])
async def test_a_status_outside_the_range_is_a_bad_response(status: int) -> None:
    async with stage(Upstream(answering(OK.replace(b"200", b"%d" % status)))) as gate:
        head, _ = await gate.ask(GET)
        assert lines(head)[0] == b"HTTP/1.1 502 Bad Gateway"


async def test_426_says_to_what() -> None:
    """RFC 9110, 15.5.22 and 7.8: Upgrade, and an option in Connection, also where the connection closes."""
    said = with_fields(
        OK.replace(b"200 OK", b"426 Upgrade Required"), b"Upgrade: TLS/1.3, HTTP/1.1", b"Connection: Upgrade"
    )
    async with stage(
        Upstream(answering(said, said, with_fields(OK, b"Upgrade: h2c", b"Connection: upgrade")))
    ) as gate:
        head, body = await gate.ask(GET)
        assert values(head, b"upgrade") == [b"TLS/1.3, HTTP/1.1"] and body == b"ok"
        assert values(head, b"connection") == [b"upgrade"]
        head, _ = await gate.ask(with_fields(GET, b"Connection: close"))
        assert values(head, b"connection") == [b"upgrade", b"close"]
        head, _ = await gate.ask(GET)
        assert not values(head, b"upgrade") and not values(head, b"connection")


async def test_a_date_is_added_only_where_there_is_none() -> None:
    dated = with_fields(OK, b"Date: Sun, 06 Nov 1994 08:49:37 GMT")
    async with stage(Upstream(answering(OK, dated))) as gate:
        assert len(values((await gate.ask(GET))[0], b"date")) == 1
        assert values((await gate.ask(GET))[0], b"date") == [b"Sun, 06 Nov 1994 08:49:37 GMT"]
