"""PROXY headers on real sockets: believed from configured peers alone, asked of them always, with and without TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct

import pytest

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.proxy_protocol import SIGNATURE
from dataplane.proxy.tls import Chain, Front
from tests.support.certificates import Authority
from tests.support.http_stage import OK, Client, Stage, Upstream, answering, stage
from tests.support.waiting import eventually

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
ADDRESSES = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack(">HH", 1, 2)
V2 = SIGNATURE + struct.pack(">BBH", 0x21, 0x11, 12) + ADDRESSES
LOCAL = SIGNATURE + struct.pack(">BBH", 0x20, 0, 0)
NEAR = ["127.0.0.0/8"]


async def refused(gate: Stage, data: bytes) -> bool:
    """Whether the connection ends without a word of HTTP."""
    return await gate.until_closed(data) == b""


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_the_client_is_who_the_header_names(header: bytes) -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, proxies=NEAR) as gate:
        client = await gate.client()
        for count in range(2):
            await client.say(
                (b"" if count else header) + ASK.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n")
            )
            assert (await client.answer())[1] == b"ok"
        assert [exchange.address for exchange in gate.observer.exchanges] == ["192.0.2.1"] * 2
    assert b"\r\nx-forwarded-for: 192.0.2.1\r\n" in upstream.heads[0]


async def test_a_header_that_names_nobody_is_about_the_proxy_itself() -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, proxies=NEAR) as gate:
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            assert (await gate.ask(header + ASK))[1] == b"ok"
        assert [exchange.address for exchange in gate.observer.exchanges] == ["127.0.0.1"] * 2


async def test_bounds_by_address_are_those_of_the_client() -> None:
    """Two clients behind one proxy have a bound each."""
    bounds = Bounds(connections_per_address=1)
    async with stage(Upstream(answering(OK)), proxies=NEAR, bounds=bounds) as gate:
        first = await gate.client()
        await first.say(V1 + ASK)
        assert (await first.answer())[1] == b"ok"
        assert (await gate.until_closed(V1 + ASK)).startswith(b"HTTP/1.1 503 ")
        second = await gate.client()
        await second.say(V1.replace(b"192.0.2.1", b"192.0.2.9") + ASK)
        assert (await second.answer())[1] == b"ok"


async def test_a_header_byte_by_byte() -> None:
    async with stage(Upstream(answering(OK)), proxies=NEAR) as gate:
        for header in (V1, V2):
            client = await gate.client()
            for position in range(len(header)):
                await client.say(header[position : position + 1])
                await asyncio.sleep(0)
            await client.say(ASK)
            assert (await client.answer())[1] == b"ok"


@pytest.mark.parametrize(
    "header", [V1, V2, V2 + V1, b"PROXY UNKNOWN\r\n"], ids=["v1", "v2", "both", "unknown"]
)
async def test_from_others_it_is_no_request(header: bytes) -> None:
    for proxies in ([], ["10.0.0.0/8"]):
        upstream = Upstream(answering(OK))
        async with stage(upstream, proxies=proxies) as gate:
            got = await gate.until_closed(header + ASK)
            assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1 ") == 1
            assert (await gate.ask(ASK))[1] == b"ok"
        assert not any(b"192.0.2.1" in head for head in upstream.heads)


@pytest.mark.parametrize(
    "said",
    [
        ASK,
        b"PROXY TCP4 192.0.2.1\r\n" + ASK,
        V1.replace(b"\r\n", b"\n") + ASK,
        b"PROXY " + b"x" * 200,
        V2[:12] + b"\x31" + V2[13:] + ASK,
    ],
    ids=["none", "cut", "bare LF", "endless", "version 3"],
)
async def test_configured_peers_must_send_one(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "dataplane.proxy.acceptor")
    upstream = Upstream(answering(OK))
    async with stage(upstream, proxies=NEAR) as gate:
        assert await refused(gate, said)
        assert await refused(gate, said)
        assert (await gate.ask(V1 + ASK))[1] == b"ok"
    assert upstream.connections == 1
    assert len(caplog.records) == 1 and "PROXY_PROTOCOL_FROM" in caplog.records[0].getMessage()


async def test_a_second_header_is_no_request() -> None:
    async with stage(Upstream(answering(OK)), proxies=NEAR) as gate:
        got = await gate.until_closed(V1 + V1 + ASK)
        assert got.startswith(b"HTTP/1.1 400 ")


async def test_one_that_does_not_come_in_time_or_at_all() -> None:
    async with stage(Upstream(answering(OK)), proxies=NEAR, bounds=Bounds(handshake_timeout=0.2)) as gate:
        assert await refused(gate, b"")
        assert await refused(gate, V1[:20])
        leaving = await gate.client()
        await leaving.say(V1[:20])
        leaving.close()
        assert (await gate.ask(V1 + ASK))[1] == b"ok"


async def test_only_so_many_are_waited_for() -> None:
    async with stage(Upstream(answering(OK)), proxies=NEAR, bounds=Bounds(connections=3)) as gate:
        waiting = [await gate.client() for _ in range(3)]
        assert await refused(gate, V1 + ASK)
        await waiting[0].say(V1 + ASK)
        assert (await waiting[0].answer())[1] == b"ok"


async def test_draining_turns_those_away_that_have_not_said_who_they_are() -> None:
    async with stage(Upstream(answering(OK)), proxies=NEAR) as gate:
        waiting, served = await gate.client(), await gate.client()
        await served.say(V1 + ASK)
        assert (await served.answer())[1] == b"ok"
        await gate.proxy.drain(5.0)
        assert await waiting.rest() == b"" and await served.rest() == b""
        with pytest.raises(OSError):
            await gate.client()


# --- below TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def front(authority: Authority) -> Front:
    cert, key = authority.issue("front")
    return Front([Chain(cert.read_bytes(), key.read_bytes())])


async def encrypted(gate: Stage, authority: Authority, header: bytes) -> Client:
    """A connection that says the header in the clear and then begins TLS, without a pause in between."""
    raw = socket.create_connection(("127.0.0.1", gate.port))
    raw.sendall(header)
    raw.setblocking(False)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    return Client(*await asyncio.open_connection(sock=raw, ssl=context, server_hostname="localhost"))


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_the_header_comes_before_the_handshake(
    authority: Authority, front: Front, header: bytes
) -> None:
    upstream = Upstream(answering(OK))
    async with stage(upstream, proxies=NEAR, front=front) as gate:
        client = await encrypted(gate, authority, header)
        await client.say(ASK)
        assert (await client.answer())[1] == b"ok"
        assert gate.observer.exchanges[0].address == "192.0.2.1"
        client.close()
        await eventually(lambda: not gate.proxy.connections)
    assert b"\r\nx-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\n" in upstream.heads[0]


async def test_a_header_inside_tls_is_no_request(authority: Authority, front: Front) -> None:
    async with stage(Upstream(answering(OK)), proxies=NEAR, front=front) as gate:
        client = await encrypted(gate, authority, V1)
        await client.say(V1 + ASK)
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        client.close()


async def test_a_handshake_that_fails_after_the_header(front: Front) -> None:
    async with stage(
        Upstream(answering(OK)), proxies=NEAR, front=front, bounds=Bounds(handshake_timeout=0.3)
    ) as gate:
        for said in (ASK, b"", b"\x16\x03\x01"):
            with contextlib.suppress(ConnectionError):
                assert b"HTTP/" not in await gate.until_closed(V1 + said)
        assert not gate.proxy.connections
