"""TLS to instances: always verified, by the name and authority of the service, with our own certificate if asked."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import pytest

from dataplane.config.table import ResourceSet, UnlinkedRoute, build
from dataplane.gateway.policy.resources import (
    HealthCheck,
    Instance,
    Retries,
    Route,
    Service,
    Timeouts,
    UpstreamTls,
)
from dataplane.health.endpoint import EndpointChecker
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.tls import Chain
from tests.support.certificates import Authority
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ONCE = Retries(attempts=0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def serving(authority: Authority, *hosts: str, clients: Authority | None = None) -> ssl.SSLContext:
    """A server with a certificate for `hosts`, that asks for one of `clients`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("server", hosts=hosts))
    if clients is not None:
        context.load_verify_locations(clients.certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def by(authority: Authority, server_name: str = "") -> UpstreamTls:
    return UpstreamTls(server_name, authority.certificate.read_text())


@pytest.mark.parametrize(
    ("host", "server_name"), [("127.0.0.1", ""), ("orders.internal", "orders.internal")], ids=["host", "name"]
)
async def test_requests_go_through_and_connections_are_kept(
    authority: Authority, host: str, server_name: str
) -> None:
    upstream = Upstream(answering(OK), serving(authority, host))
    async with stage(upstream, tls=by(authority, server_name)) as gate:
        for _ in range(3):
            head, body = await gate.ask(ASK)
            assert head.startswith(b"HTTP/1.1 200 ") and body == b"ok"
    assert upstream.connections == 1


async def test_the_name_is_asked_for(authority: Authority) -> None:
    asked: list[str | None] = []
    context = serving(authority, "orders.internal")
    context.sni_callback = lambda _, name, __: asked.append(name)
    async with stage(Upstream(answering(OK), context), tls=by(authority, "orders.internal")) as gate:
        await gate.ask(ASK)
    assert asked == ["orders.internal"]


@pytest.mark.parametrize("wrong", ["authority", "name", "system", "plain", "other protocol"])
async def test_an_instance_that_does_not_prove_itself_gets_nothing(
    authority: Authority, stranger: Authority, wrong: str
) -> None:
    context: ssl.SSLContext | None = serving(
        stranger if wrong == "authority" else authority, "orders.internal"
    )
    if wrong == "plain":
        context = None
    elif wrong == "other protocol":
        assert context is not None
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-GCM-SHA256")
    tls = by(authority, "" if wrong == "name" else "orders.internal")
    if wrong == "system":
        tls = UpstreamTls("orders.internal")
    upstream = Upstream(answering(OK), context)
    async with stage(upstream, tls=tls, retries=ONCE, timeouts=Timeouts(connect=1.0)) as gate:
        head, _ = await gate.ask(ASK)
        assert head.split()[1] in (b"503", b"504")
        assert gate.observer.decisions[0][0] in ("unavailable", "timed_out")
    assert upstream.heads == []


async def test_a_silent_instance_is_given_up_in_time(authority: Authority) -> None:
    async def silent(talk: Conversation) -> None:
        await talk.body(1_000_000)

    async with stage(
        Upstream(silent), tls=by(authority), retries=ONCE, timeouts=Timeouts(connect=0.3)
    ) as gate:
        assert (await gate.ask(ASK))[0].startswith(b"HTTP/1.1 504 ")


async def test_our_certificate_is_shown_to_who_asks(authority: Authority, stranger: Authority) -> None:
    upstream = Upstream(answering(OK), serving(authority, "127.0.0.1", clients=stranger))
    async with stage(upstream, tls=by(authority), retries=ONCE) as gate:
        # TLS 1.3 tells the client only after its handshake: that is a connection that ends without an answer.
        assert (await gate.ask(ASK))[0].split()[1] in (b"502", b"503")
        cert, key = stranger.issue("gateway")
        gate.proxy.dialer.contexts.adopt(Chain(cert.read_bytes(), key.read_bytes()))
        assert (await gate.ask(ASK))[0].startswith(b"HTTP/1.1 200 ")


async def test_a_change_of_trust_ends_kept_connections(authority: Authority, stranger: Authority) -> None:
    upstream = Upstream(answering(OK), serving(authority, "127.0.0.1"))
    async with stage(upstream, tls=by(authority), retries=ONCE) as gate:
        service, instance = gate.gateway.table.services["s"], gate.gateway.table.instances["s"][0]

        def change(tls: UpstreamTls | None) -> None:
            route = UnlinkedRoute(Route("all", "s", prefix="/", public=True))
            resources = ResourceSet.of(replace(service, tls=tls), instance, route)
            gate.gateway.swap(build(resources, 8), monotonic())

        assert (await gate.ask(ASK))[1] == b"ok"
        change(by(authority))
        assert (await gate.ask(ASK))[1] == b"ok" and upstream.connections == 1
        change(by(stranger))
        assert (await gate.ask(ASK))[0].startswith(b"HTTP/1.1 503 ")
        change(None)
        assert (await gate.ask(ASK))[0].split()[1] in (b"502", b"503")
        change(by(authority))
        assert (await gate.ask(ASK))[1] == b"ok"


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", False),
    ],
)
async def test_bodies_that_end_with_the_connection(authority: Authority, answer: bytes, whole: bool) -> None:
    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(answer)

    async with stage(Upstream(script, serving(authority, "127.0.0.1")), tls=by(authority)) as gate:
        got = await gate.until_closed(ASK.replace(b"1.1", b"1.0"))
        assert got.startswith(b"HTTP/1.1 200 ")
        assert got.endswith(b"all of it") is whole
        assert gate.observer.decisions == [("forwarded" if whole else "bad_response", 200)]


async def test_a_body_cut_off_below_tls_is_not_taken_for_whole(authority: Authority) -> None:
    """Without TLS's own farewell an end of stream proves nothing: anybody on the way can make one."""

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of")
        await talk.body(1)

    upstream = Upstream(script, serving(authority, "127.0.0.1"))
    async with stage(upstream, tls=by(authority), bounds=Bounds(body_timeout=5)) as gate:
        client = await gate.client()
        await client.say(ASK)
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        await client.reader.readuntil(b"half of")
        upstream.cut()
        assert b"0\r\n\r\n" not in await client.rest()
        assert gate.observer.decisions == [("bad_response", 200)]


# --- probes


@pytest.mark.parametrize(
    ("hosts", "tls", "healthy"),
    [
        (["orders.internal"], lambda ca: UpstreamTls("orders.internal", ca), True),
        (["127.0.0.1"], lambda ca: UpstreamTls("", ca), True),
        (["orders.internal"], lambda ca: UpstreamTls("", ca), False),
        (["orders.internal"], lambda _: UpstreamTls("orders.internal"), False),
        (["orders.internal"], lambda _: None, False),
    ],
    ids=["name", "host", "wrong name", "system's authorities", "plain"],
)
async def test_probes_ask_as_requests_do(
    authority: Authority, hosts: list[str], tls: Callable[[str], UpstreamTls | None], healthy: bool
) -> None:
    upstream = Upstream(answering(OK), serving(authority, *hosts))
    await upstream.start()
    checker = EndpointChecker()
    check = HealthCheck(timeout=5.0, tls=tls(authority.certificate.read_text()))
    probe = await checker(Instance("s", "0", "127.0.0.1", upstream.port), check)
    assert probe.passed is healthy, probe
    assert healthy or probe.reason
    await upstream.stop()


async def test_probes_show_our_certificate(authority: Authority, stranger: Authority) -> None:
    upstream = Upstream(answering(OK), serving(authority, "127.0.0.1", clients=stranger))
    await upstream.start()
    checker = EndpointChecker()
    instance, check = Instance("s", "0", "127.0.0.1", upstream.port), HealthCheck(tls=by(authority))
    assert not (await checker(instance, check)).passed
    cert, key = stranger.issue("gateway")
    checker.set_client_certificate(Chain(cert.read_bytes(), key.read_bytes()))
    assert (await checker(instance, check)).passed
    await upstream.stop()


def test_a_service_is_in_the_clear_unless_it_says_otherwise() -> None:
    assert Service("s").tls is None
