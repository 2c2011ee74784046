"""Instances on Unix sockets of the data plane's node, for requests and probes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from dataplane.gateway.policy.resources import HealthCheck, Instance, Retries, UpstreamTls
from dataplane.health.endpoint import EndpointChecker
from dataplane.proxy.connector import Connector
from dataplane.proxy.unix_sockets import UnixSockets
from tests.support.certificates import Authority
from tests.support.http_stage import OK, Conversation, Upstream, answering, stage

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
ONCE = Retries(attempts=0)


@pytest.fixture
def connector(tmp_path: Path) -> Connector:
    return Connector(UnixSockets([str(tmp_path)]))


@pytest.fixture
def host(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/a.sock"


async def listening(host: str, upstream: Upstream) -> Upstream:
    await upstream.start_at(host.removeprefix("unix:"))
    return upstream


def remove(host: str) -> None:
    Path(host.removeprefix("unix:")).unlink()


async def test_requests_and_probes(host: str, connector: Connector) -> None:
    upstream = await listening(host, Upstream(answering(OK)))
    async with stage(upstream, host=host, connector=connector) as gate:
        for _ in range(3):
            assert (await gate.ask(ASK))[1] == b"ok"
        assert (await gate.ask(OLD))[1] == b"ok"
        assert upstream.connections == 1, "kept for reuse, as others are"
        assert b"\r\nhost: a\r\n" in upstream.heads[0].lower()
        assert b"\r\nhost: localhost\r\n" in upstream.heads[-1].lower()
        probe = await EndpointChecker(connector=connector)(Instance("s", "0", host, 0), HealthCheck())
        assert probe.passed, probe
        assert b"\r\nhost: localhost\r\n" in upstream.heads[-1].lower()


async def test_over_tls_its_name_is_localhost(host: str, connector: Connector, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("server", hosts=["localhost"]))
    tls = UpstreamTls("", authority.certificate.read_text())
    upstream = await listening(host, Upstream(answering(OK), context))
    async with stage(upstream, host=host, connector=connector, tls=tls) as gate:
        assert (await gate.ask(ASK))[1] == b"ok"
        check = HealthCheck(tls=tls)
        probe = await EndpointChecker(connector=connector)(Instance("s", "0", host, 0), check)
        assert probe.passed, probe


async def test_a_socket_in_no_allowed_folder_is_not_connected_to(host: str) -> None:
    upstream = await listening(host, Upstream(answering(OK)))
    async with stage(upstream, host=host, retries=ONCE) as gate:
        head, body = await gate.ask(ASK)
        assert head.startswith(b"HTTP/1.1 503 ") and b"unix" not in body
        assert "UNIX_SOCKETS of the data plane" in gate.observer.exchanges[0].reason
    probe = await EndpointChecker()(Instance("s", "0", host, 0), HealthCheck())
    assert not probe.passed and "UNIX_SOCKETS of the data plane" in probe.reason
    assert upstream.connections == 0


async def test_a_socket_that_is_missing(host: str, connector: Connector) -> None:
    upstream = await listening(host, Upstream(answering(OK)))
    async with stage(upstream, host=host, connector=connector, retries=ONCE) as gate:
        remove(host)
        assert (await gate.ask(ASK))[0].startswith(b"HTTP/1.1 503 ")
        assert gate.observer.exchanges[0].reason.endswith(f"{host}: there is no such socket")
        probe = await EndpointChecker(connector=connector)(Instance("s", "0", host, 0), HealthCheck())
        assert probe.reason == f"{host}: there is no such socket"


async def test_an_early_answer_is_read_before_the_end(host: str, connector: Connector) -> None:
    """RFC 9112 section 9.5: the instance answers and closes with bytes unread."""

    async def refuse(talk: Conversation) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")

    upstream = await listening(host, Upstream(refuse))
    async with stage(upstream, host=host, connector=connector, retries=ONCE) as gate:
        client = await gate.client()
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n" + 3_000_000 * b"x")
        head, body = await client.answer()
        assert (head[:13], body) == (b"HTTP/1.1 413 ", b"no")


async def test_a_full_backlog_is_waited_for(host: str, connector: Connector) -> None:
    """As over TCP: a burst of connections is no failure of the instance."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(host.removeprefix("unix:"))
    server.listen(0)
    await connector.connect(asyncio.Protocol, host, 0)
    waiting = asyncio.create_task(connector.streams(host, 0, None, None))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await connector.connect(asyncio.Protocol, host, 0)
    assert not waiting.done()
    accepted = [server.accept()[0]]
    _, writer = await waiting
    writer.transport.abort()
    for connection in (*accepted, server):
        connection.close()
