"""Edits of header fields and hosts, on the wire. Rows name their source: conformance tests of the Gateway API."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.edits import HeaderEdits
from dataplane.gateway.policy.forwarding import Forwarding
from dataplane.gateway.policy.resources import Route
from tests.integration.http.fields import GET, lines, values, with_fields
from tests.support.http_stage import Upstream, answering, stage

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\nok"


def routes(request: HeaderEdits | None = None, response: HeaderEdits | None = None) -> list[Route]:
    forwarding = Forwarding(request_edits=request, response_edits=response)
    return [Route("r", "s", prefix="/", public=True, forwarding=forwarding)]


SET, ADD, REMOVE = "x-header-set", "x-header-add", "x-header-remove"
ROWS: list[tuple[str, HeaderEdits, list[bytes], dict[bytes, list[bytes]]]] = [
    # source, edits, fields that are sent, fields that arrive
    (
        "HTTPRouteRequestHeaderModifier: set",
        HeaderEdits(set={SET: "set-overwrites-values"}),
        [b"Some-Other-Header: val"],
        {b"some-other-header": [b"val"], b"x-header-set": [b"set-overwrites-values"]},
    ),
    (
        "HTTPRouteRequestHeaderModifier: set overwrites",
        HeaderEdits(set={SET: "set-overwrites-values"}),
        [b"X-Header-Set: some-other-value", b"x-header-set: second"],
        {b"x-header-set": [b"set-overwrites-values"]},
    ),
    (
        "HTTPRouteRequestHeaderModifier: add",
        HeaderEdits(add={ADD: "add-appends-values"}),
        [],
        {b"x-header-add": [b"add-appends-values"]},
    ),
    (
        "HTTPRouteRequestHeaderModifier: add appends",
        HeaderEdits(add={ADD: "add-appends-values"}),
        [b"X-Header-Add: some-other-value"],
        {b"x-header-add": [b"some-other-value", b"add-appends-values"]},
    ),
    (
        "HTTPRouteRequestHeaderModifier: remove, whatever the case",
        HeaderEdits(remove=(REMOVE,)),
        [b"X-HEADER-Remove: val", b"X-Other: 1"],
        {b"x-header-remove": [], b"x-other": [b"1"]},
    ),
    (
        "HTTPRouteRequestHeaderModifier: several",
        HeaderEdits(set={SET: "a", f"{SET}-2": "b"}, add={ADD: "c", f"{ADD}-2": "d"}, remove=(REMOVE,)),
        [b"X-Header-Set: old", b"X-Header-Add: 1", b"X-Header-Remove: 2", b"X-Kept: 3"],
        {
            b"x-header-set": [b"a"],
            b"x-header-set-2": [b"b"],
            b"x-header-add": [b"1", b"c"],
            b"x-header-add-2": [b"d"],
            b"x-header-remove": [],
            b"x-kept": [b"3"],
        },
    ),
    (
        "RFC 9110, 17.10: to CGI-style servers other spellings are the same field",
        HeaderEdits(set={"x-tenant-id": "a"}, remove=("x-debug-mode",)),
        [b"X_Tenant_Id: b", b"X-Tenant_Id: c", b"x.tenant.id: d", b"X_Debug_Mode: 1", b"X_Kept: 2"],
        {
            b"x-tenant-id": [b"a"],
            b"x_tenant_id": [],
            b"x-tenant_id": [],
            b"x.tenant.id": [],
            b"x_debug_mode": [],
            b"x_kept": [b"2"],
        },
    ),
    (
        "variables",
        HeaderEdits(set={"x-real-ip": "%{address}", "x-route": "to %{route}", "x-who": "%{subject}"}),
        [b"X-Real-IP: 6.6.6.6", b"X-Who: me"],
        {b"x-real-ip": [b"127.0.0.1"], b"x-route": [b"to r"], b"x-who": []},
    ),
]


@pytest.mark.parametrize(("source", "edits", "sent", "arrived"), ROWS, ids=[row[0] for row in ROWS])
async def test_edits_of_requests(
    source: str, edits: HeaderEdits, sent: list[bytes], arrived: dict[bytes, list[bytes]]
) -> None:
    """Several times: the second head comes from the cache of heads, and the third from that of edited ones."""
    upstream = Upstream(answering(*[ANSWER % b""] * 4))
    async with stage(upstream, routes=routes(request=edits)) as gate:
        client = await gate.client()
        for _ in range(4):
            await client.say(with_fields(GET, *sent))
            assert (await client.answer())[1] == b"ok"
    assert len(upstream.heads) == 4
    for head in upstream.heads:
        assert {name: values(head, name) for name in arrived} == arrived
        assert len(values(head, b"x-request-id")) == len(values(head, b"host")) == 1


@pytest.mark.parametrize(("source", "edits", "sent", "arrived"), ROWS[:6], ids=[row[0] for row in ROWS[:6]])
async def test_edits_of_responses(
    source: str, edits: HeaderEdits, sent: list[bytes], arrived: dict[bytes, list[bytes]]
) -> None:
    """HTTPRouteResponseHeaderModifier has the same rows."""
    answer = ANSWER % b"".join(field + b"\r\n" for field in sent)
    async with stage(Upstream(answering(*[answer] * 4)), routes=routes(response=edits)) as gate:
        client = await gate.client()
        for _ in range(4):
            await client.say(GET)
            head, body = await client.answer()
            assert body == b"ok" and lines(head)[0] == b"HTTP/1.1 200 OK"
            assert {name: values(head, name) for name in arrived} == arrived
            assert values(head, b"content-length") == [b"2"]


async def test_the_id_of_the_request_goes_both_ways() -> None:
    edits = HeaderEdits(set={"x-trace": "%{request_id}"})
    upstream = Upstream(answering(ANSWER % b""))
    async with stage(upstream, routes=routes(edits, edits)) as gate:
        head, _ = await gate.ask(GET)
    assert values(head, b"x-trace") == values(head, b"x-request-id") == values(upstream.heads[0], b"x-trace")


async def test_a_request_with_a_body_is_edited_once() -> None:
    edits = HeaderEdits(add={"x-a": "1"})
    upstream = Upstream(answering(ANSWER % b""))
    post = b"POST / HTTP/1.1\r\nHost: a\r\nX-A: 0\r\n\r\n"
    async with stage(upstream, routes=routes(edits)) as gate:
        await gate.ask(post)
    assert values(upstream.heads[0], b"x-a") == [b"0", b"1"]


async def test_a_rewritten_host_leaves_the_forwarded_one() -> None:
    """HTTPRouteRewriteHost."""
    route = Route("r", "s", prefix="/", public=True, forwarding=Forwarding(host="one.example.org"))
    upstream = Upstream(answering(ANSWER % b""))
    async with stage(upstream, routes=[route]) as gate:
        await gate.ask(GET)
    assert values(upstream.heads[0], b"host") == [b"one.example.org"]
    assert values(upstream.heads[0], b"x-forwarded-host") == [b"a"]


async def test_the_service_s_own_cors_fields_are_replaced() -> None:
    """One Access-Control-Allow-Origin, or browsers refuse the response (Fetch, CORS check)."""
    rules = Cors(origins=frozenset({"https://a.example"}))
    route = Route("r", "s", prefix="/", public=True, forwarding=Forwarding(cors=rules))
    answer = ANSWER % b"Access-Control-Allow-Origin: *\r\nVary: Accept\r\n"
    async with stage(Upstream(answering(*[answer] * 3)), routes=[route]) as gate:
        client = await gate.client()
        for origin, named in (
            (b"https://a.example", [b"https://a.example"]),
            (b"https://b.example", []),
            (b"https://a.example", [b"https://a.example"]),
        ):
            await client.say(with_fields(GET, b"Origin: " + origin))
            head, _ = await client.answer()
            assert values(head, b"access-control-allow-origin") == named
            assert values(head, b"vary") == [b"Accept", b"Origin"]
        await client.say(
            b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n"
            b"Access-Control-Request-Method: PUT\r\n\r\n"
        )
        head = await client.head()
        assert lines(head)[0] == b"HTTP/1.1 204 No Content" and not values(head, b"content-length")
