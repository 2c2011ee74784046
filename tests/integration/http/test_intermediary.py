"""What the RFCs ask of an intermediary, on the wire: the fields it writes, counts down, drops and leaves alone."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from hashlib import sha1

import pytest

from dataplane.gateway.policy.resources import Route
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.http1.asserted import ASSERTED
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
OPTIONS = b"OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n"


def with_fields(message: bytes, *fields: bytes) -> bytes:
    """The message with more fields at the end of its head."""
    head, _, body = message.partition(b"\r\n\r\n")
    return b"\r\n".join((head, *fields)) + b"\r\n\r\n" + body


def lines(head: bytes) -> list[bytes]:
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


def values(head: bytes, name: bytes) -> list[bytes]:
    """Of every field of this name, in order."""
    pairs = (line.partition(b": ") for line in lines(head)[1:])
    return [value for key, _, value in pairs if key.lower() == name]


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


# --- what a client asserts about itself


def spelled(entry: bytes) -> bytes:
    """A name that the entry stands for."""
    return entry.replace(b"*", b"anything")


@pytest.mark.parametrize("kind", ASSERTED)
async def test_identity_that_a_client_asserts_stops_here_in_every_spelling(kind: str) -> None:
    names = [spelled(name) for name in ASSERTED[kind]]
    said = [
        name + b": admin"
        for lower in names
        for name in (
            lower,
            lower.upper(),
            lower.title(),
            lower.replace(b"-", b"_"),
            lower.replace(b"-", b"."),
        )
    ]
    for trusted in ([], ["127.0.0.1"]):
        upstream = Upstream(answering(OK))
        async with stage(upstream, trusted=trusted, bounds=Bounds(fields=500)) as gate:
            head, _ = await gate.ask(with_fields(GET, *said))
            assert lines(head)[0] == b"HTTP/1.1 200 OK"
        assert b"admin" not in upstream.heads[0]


@pytest.mark.parametrize(
    "name",
    [
        *(b"X-Forwarded-User", b"X-Forwarded-Email", b"X-Forwarded-Groups", b"X-Forwarded-Anything"),
        *(b"X-Forwarded-Preferred-Username", b"X-Forwarded-Access-Token", b"X_Forwarded_User"),
        *(b"X-Auth-Request-User", b"X-Remote-User", b"Remote-User", b"True-Client-IP", b"CF-Connecting-IP"),
        *(b"X-Client-IP", b"X-Real-IP", b"X-Cluster-Client-IP", b"Fastly-Client-IP", b"X-Original-URL"),
        *(b"X-Rewrite-URL", b"X-Original-Forwarded-For", b"X-Envoy-Original-Path", b"X-SSL-Client-Verify"),
        *(b"X-Client-Cert", b"X-Client-DN", b"Client-Cert", b"X-Forwarded-Client-Cert", b"Proxy"),
        *(
            b"X-JWT-Assertion",
            b"X-Endpoint-API-UserInfo",
            b"X-Apigateway-API-UserInfo",
            b"Tailscale-User-Login",
        ),
        *(b"X-User", b"X-User-ID", b"X_Username", b"X-Groups", b"Impersonate-User", b"X-JWT-Payload"),
        *(b"Incap-Client-IP", b"X-Sucuri-ClientIP", b"X-Vercel-Forwarded-For", b"CloudFront-Viewer-Address"),
        *(b"X-Originating-IP", b"Fastly-SSL", b"CF-Visitor", b"Sec-Istio-Authn-Payload"),
    ],
)
async def test_fields_that_instances_are_known_to_believe(name: bytes) -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        await gate.ask(with_fields(GET, name + b": admin"))
    assert b"admin" not in upstream.heads[0]


async def test_credentials_that_the_instance_checks_itself_pass() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        await gate.ask(
            with_fields(GET, b"X-Auth-Token: t", b"X-API-Key: k", b"Cookie: c", b"X-Client-Version: 1")
        )
    assert lines(upstream.heads[0])[2:6] == [
        b"X-Auth-Token: t",
        b"X-API-Key: k",
        b"Cookie: c",
        b"X-Client-Version: 1",
    ]


async def test_operators_add_to_the_list() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, bounds=Bounds(strip=("x-tenant", "X-Corp-*", "x-auth-token"))) as gate:
        said = [b"X-Tenant: 1", b"x_tenant: 2", b"X-Corp-User: 3", b"x_corp_user: 4", b"X-Auth-Token: 5"]
        await gate.ask(with_fields(GET, *said, b"X-Tenants: 6", b"X-Corp: 7"))
    assert lines(upstream.heads[0])[2:4] == [b"X-Tenants: 6", b"X-Corp: 7"]


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


# --- interim responses and expectations (RFC 9110, 10.1.1, 15.2)


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


# --- the request line (RFC 9110, 2.5, 9.1; RFC 9112, 2.2, 3)


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


# --- Upgrade (RFC 9110, 7.8; RFC 6455)

H2C = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk"]
BODIES = {
    "none": (GET, b""),
    "known": (with_fields(POST, b"Content-Length: 5") + b"hello", b"hello"),
    "long": (with_fields(POST, b"Content-Length: 300000") + b"x" * 300_000, b"x" * 300_000),
    "chunks": (
        with_fields(POST, b"Transfer-Encoding: chunked") + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
        b"hello",
    ),
    "empty": (with_fields(POST, b"Content-Length: 0"), b""),
}


async def echo(talk: Conversation) -> None:
    while True:
        head = await talk.head()
        if values(head, b"transfer-encoding"):
            body = await talk.chunks()
        else:
            body = await talk.body(int((values(head, b"content-length") or [b"0"])[0]))
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("piece", [1 << 20, 40], ids=["whole", "in pieces"])
@pytest.mark.parametrize(
    "offer", [H2C, [b"Connection: upgrade", b"Upgrade: x y"], [b"Connection: Upgrade", b"Upgrade: ,"]]
)
async def test_an_offer_that_does_not_count_is_answered_in_http11(
    name: str, piece: int, offer: list[bytes]
) -> None:
    """Java's HttpClient and `curl --http2` offer h2c with every first request; the connection goes on."""
    request, body = BODIES[name]
    request = with_fields(request, *offer)
    upstream = Upstream(echo)
    async with stage(upstream) as gate:
        client = await gate.client()
        for wire in (request, request, request + GET + request):
            for at in range(0, len(wire), piece if len(wire) < 100_000 else 1 << 20):
                await client.say(wire[at : at + (piece if len(wire) < 100_000 else 1 << 20)])
                await asyncio.sleep(0)
            got = [(await client.answer())[1] for _ in range(wire.count(b"HTTP/1.1\r\n"))]
            assert got == [body] + [b"", body] * (len(got) == 3)
        assert upstream.connections == 1
    assert not any(values(head, b"upgrade") or values(head, b"http2-settings") for head in upstream.heads)


async def test_an_offer_with_a_body_is_ignored_whatever_it_is_for() -> None:
    routes = [Route("ws", "s", prefix="/", public=True, upgrades=("websocket",))]
    async with stage(Upstream(echo), routes=routes) as gate:
        client = await gate.client()
        for _ in range(2):
            await client.say(
                with_fields(POST, b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 2") + b"ab"
            )
            assert (await client.answer())[1] == b"ab"


async def test_an_offer_beside_h2c_still_counts() -> None:
    async def script(talk: Conversation) -> None:
        head = await talk.head()
        assert values(head, b"upgrade") == [b"raw"]
        await talk.say(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\nhi")
        await talk.gone()

    routes = [Route("raw", "s", prefix="/", public=True, upgrades=("raw",))]
    async with stage(Upstream(script), routes=routes) as gate:
        client = await gate.client()
        await client.say(with_fields(GET, b"Connection: upgrade", b"Upgrade: h2c, raw,"))
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert await client.reader.readexactly(2) == b"hi"


KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b64encode(sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


@pytest.mark.parametrize(
    ("accept", "status"),
    [([ACCEPT], 101), ([], 502), ([b"x"], 502), ([ACCEPT, ACCEPT], 502), ([KEY], 502)],
    ids=["right", "none", "wrong", "twice", "the key"],
)
async def test_a_websocket_needs_the_instance_to_accept_the_key(accept: list[bytes], status: int) -> None:
    """RFC 6455, 4.1: the client would have to fail the connection; until then a gateway could be made to tunnel."""
    agreed = with_fields(
        b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        *[b"Sec-WebSocket-Accept: " + each for each in accept],
    )

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(agreed)
        await talk.gone()

    routes = [Route("ws", "s", prefix="/", public=True, upgrades=("websocket",))]
    async with stage(Upstream(script), routes=routes) as gate:
        client = await gate.client()
        await client.say(
            with_fields(
                GET,
                b"Connection: upgrade",
                b"Upgrade: websocket",
                b"Sec-WebSocket-Key: " + KEY,
                b"Sec-WebSocket-Version: 13",
            )
        )
        assert (await client.head()).startswith(b"HTTP/1.1 %d " % status)


# --- messages without a body (RFC 9110, 8.6, 15.3.5; RFC 9112, 6.1, 6.3)


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


# --- the gateway's own responses (RFC 9110, 6.6.1, 9.3.2, 15.5.2; RFC 6750)

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
