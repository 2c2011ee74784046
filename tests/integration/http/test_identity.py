"""What upstreams are told of client and trace, on real sockets."""

from __future__ import annotations

import json
import re
from time import time

import pytest
from joserfc import jwk, jwt

from dataplane.gateway.policy.resources import Route, User, VerificationKey
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, SPAN = PARENT[3:35], PARENT[36:52]


async def told(*fields: bytes, trusted: bool = False) -> tuple[dict[bytes, bytes], str, bytes]:
    """The upstream's fields, the client's address as we see it, and the response's head."""
    upstream = Upstream(answering(OK))
    async with stage(upstream, trusted=["127.0.0.0/8", "10.0.0.0/8"] if trusted else []) as gate:
        head, _ = await gate.ask(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *fields, b"", b""]))
        address = gate.observer.exchanges[0].address
    lines = upstream.heads[0].split(b"\r\n")[1:-2]
    sent = dict(line.split(b": ", 1) for line in lines)
    assert len(sent) == len(lines)
    return sent, address, head


async def test_forwarded_is_believed_from_trusted_peers_and_never_sent_on() -> None:
    field = b"Forwarded: for=192.0.2.43;proto=https;host=shop.example, for=10.0.0.2;proto=http"
    sent, address, _ = await told(field, trusted=True)
    assert address == "192.0.2.43" and b"forwarded" not in sent
    assert sent[b"x-forwarded-for"] == b"192.0.2.43, 10.0.0.2, 127.0.0.1"
    assert (sent[b"x-forwarded-proto"], sent[b"x-forwarded-host"]) == (b"https", b"shop.example")


async def test_forwarded_counts_for_nothing_beside_x_forwarded_for() -> None:
    """A proxy that writes the one may hand on a client's other."""
    sent, address, _ = await told(
        b"Forwarded: for=6.6.6.6;proto=https;host=evil", b"X-Forwarded-For: 192.0.2.43", trusted=True
    )
    assert address == "192.0.2.43" and sent[b"x-forwarded-for"] == b"192.0.2.43, 127.0.0.1"
    assert (sent[b"x-forwarded-proto"], sent[b"x-forwarded-host"]) == (b"http", b"a")


@pytest.mark.parametrize("spelling", [b"Forwarded", b"FORWARDED"])
async def test_from_others_it_is_dropped(spelling: bytes) -> None:
    sent, address, _ = await told(spelling + b": for=6.6.6.6;proto=https;host=evil")
    assert address == "127.0.0.1"
    assert {b"x-forwarded-for": b"127.0.0.1", b"x-forwarded-proto": b"http"}.items() <= sent.items()
    assert b"forwarded" not in {name.lower() for name in sent}


async def test_two_forwarded_fields_are_one_list() -> None:
    sent, address, _ = await told(b"Forwarded: for=192.0.2.43", b"Forwarded: for=10.0.0.2", trusted=True)
    assert address == "192.0.2.43" and sent[b"x-forwarded-for"] == b"192.0.2.43, 10.0.0.2, 127.0.0.1"


@pytest.mark.parametrize(
    "name",
    [
        b"X-Auth-Subject",
        b"x_auth_subject",
        b"X_Auth-Subject",
        b"X.AUTH.SUBJECT",
        b"x~auth!scopes",
        b"X-AUTH_SCOPES",
        b"X-Auth-Scopes",
        b"x_forwarded_for",
        b"X_Request-Id",
        b"X_Forwarded_Proto",
    ],
)
async def test_what_we_say_cannot_be_said_by_clients_in_any_spelling(name: bytes) -> None:
    sent, _, _ = await told(name + b": evil")
    assert b"evil" not in b" ".join(sent.values()), sent


KEY = jwk.ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256"}, private=True)
ALICE = (
    User("alice", frozenset({"orders:read"})),
    VerificationKey("k1", json.dumps(KEY.as_dict(private=False)), "headgate", "headgate"),
)


def token() -> bytes:
    claims = {
        "iss": "headgate",
        "aud": "headgate",
        "sub": "alice",
        "scope": "orders:read",
        "iat": int(time()),
    }
    head = {"alg": "ES256", "kid": "k1", "typ": "at+jwt"}
    return jwt.encode(head, {**claims, "exp": int(time()) + 600}, KEY, ["ES256"]).encode()


async def test_a_caller_is_who_its_token_says_whatever_else_it_says() -> None:
    """Nor can a Connection field take away what we say: identity, client, framing, Host."""
    ours = [
        *(b"x-auth-subject", b"x-auth-scopes", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"),
        *(b"x-request-id", b"traceparent", b"host", b"content-length", b"transfer-encoding"),
    ]

    async def script(talk: Conversation) -> None:
        while True:
            assert await talk.chunks() == b"hello" if b"chunked" in await talk.head() else await talk.body(5)
            await talk.say(OK)

    upstream = Upstream(script)
    guarded = [Route("orders", "s", prefix="/", scopes=frozenset({"orders:read"}))]
    said = b"\r\n".join(
        [
            *(
                b"Host: a",
                b"Authorization: Bearer " + token(),
                b"Connection: keep-alive, " + b", ".join(ours),
            ),
            *(
                b"X-Auth-Subject: root",
                b"x_auth_subject: root",
                b"X-AUTH-SCOPES: admin",
                b"X.Auth.Scopes: admin",
            ),
        ]
    )
    async with stage(upstream, routes=guarded, more=ALICE) as gate:
        client = await gate.client()
        for framed in (
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Auth-Subject: root\r\n\r\n",
        ):
            await client.say(b"POST / HTTP/1.1\r\n%b\r\n%b" % (said, framed))
            assert (await client.answer())[1] == b"ok"
        assert (await gate.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Auth-Subject: root\r\n\r\n"))[0][
            9:12
        ] == b"401"
    assert len(upstream.heads) == 2
    for head, framing in zip(
        upstream.heads, (b"content-length: 5", b"transfer-encoding: chunked"), strict=True
    ):
        lines = head.lower().split(b"\r\n")
        names = [line.split(b":")[0] for line in lines[1:-2]]
        assert {b"x-auth-subject: alice", b"x-auth-scopes: orders:read", b"host: a", framing} <= set(lines)
        assert b"root" not in head and b"admin" not in head
        assert all(names.count(name) == 1 for name in ours[:8]), names


# --- trace context


async def test_a_trace_is_started_with_the_request_id() -> None:
    sent, _, head = await told()
    (request_id,) = re.findall(rb"x-request-id: ([0-9a-f]{32})\r\n", head)
    assert sent[b"traceparent"] == b"00-%b-%b-01" % (request_id, request_id[16:])
    assert b"tracestate" not in sent


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_trace_is_continued_with_a_span_of_ours(trusted: bool) -> None:
    sent, address, head = await told(b"TraceParent: " + PARENT, b"tracestate: a=1", trusted=trusted)
    version, trace, span, flags = sent[b"traceparent"].split(b"-")
    assert (version, trace, flags) == (b"00", TRACE, b"01") and span != SPAN and len(span) == 16
    assert sent[b"tracestate"] == b"a=1" and address == "127.0.0.1"
    assert b"x-request-id: %b" % sent[b"x-request-id"] in head and sent[b"x-request-id"][16:] == span


@pytest.mark.parametrize(
    "fields",
    [
        [b"traceparent: nonsense", b"tracestate: a=1"],
        [b"traceparent: " + PARENT, b"traceparent: " + PARENT, b"tracestate: a=1"],
        [b"tracestate: a=1"],
        [b"traceparent: ", b"tracestate: a=1"],
    ],
    ids=["malformed", "two", "state alone", "empty"],
)
async def test_what_cannot_be_read_starts_a_trace(fields: list[bytes]) -> None:
    sent, _, _ = await told(*fields)
    assert sent[b"traceparent"] == b"00-%b-%b-01" % (sent[b"x-request-id"], sent[b"x-request-id"][16:])
    assert b"tracestate" not in sent


async def test_several_states_are_one_list() -> None:
    sent, _, _ = await told(b"traceparent: " + PARENT, b"tracestate: a=1", b"tracestate: b=2")
    assert sent[b"tracestate"] == b"a=1, b=2"


async def test_a_foreign_request_id_is_no_trace_id() -> None:
    sent, _, head = await told(b"X-Request-Id: order-7", trusted=True)
    assert sent[b"x-request-id"] == b"order-7" and b"x-request-id: order-7" in head
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01", sent[b"traceparent"])


async def test_connection_cannot_take_our_fields_away() -> None:
    sent, _, _ = await told(
        b"Connection: traceparent, x-forwarded-for, keep-alive", b"traceparent: " + PARENT
    )
    assert sent[b"traceparent"].startswith(b"00-" + TRACE) and sent[b"x-forwarded-for"] == b"127.0.0.1"


async def test_every_request_is_a_span_of_its_own() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream) as gate:
        client = await gate.client()
        for _ in range(200):
            await client.say(b"GET / HTTP/1.1\r\nHost: a\r\ntraceparent: " + PARENT + b"\r\n\r\n")
            await client.answer()
    spans = [re.findall(rb"traceparent: 00-[0-9a-f]{32}-([0-9a-f]{16})", head)[0] for head in upstream.heads]
    assert len(set(spans)) == 200
    # Evenly spread, so that whoever samples by trace id gets the share it asked for.
    assert 80 <= sum(span < b"8" for span in spans) <= 120
