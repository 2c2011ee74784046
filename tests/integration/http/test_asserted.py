"""Fields in which clients assert an identity or an address stop at the gateway."""

from __future__ import annotations

import pytest

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.fields.asserted import ASSERTED
from tests.integration.http.fields import GET, lines, with_fields
from tests.support.http_stage import OK, Upstream, answering, stage


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
        b"X-Client-Version: 1",
        b"Cookie: c",
    ]


async def test_operators_add_to_the_list() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, bounds=Bounds(strip=("x-tenant", "X-Corp-*", "x-auth-token"))) as gate:
        said = [b"X-Tenant: 1", b"x_tenant: 2", b"X-Corp-User: 3", b"x_corp_user: 4", b"X-Auth-Token: 5"]
        await gate.ask(with_fields(GET, *said, b"X-Tenants: 6", b"X-Corp: 7"))
    assert lines(upstream.heads[0])[2:4] == [b"X-Tenants: 6", b"X-Corp: 7"]
