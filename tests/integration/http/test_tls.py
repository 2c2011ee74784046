"""TLS towards clients: certificates by name, changed without losing anybody, and nothing older than TLS 1.2."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import time
from collections.abc import Sequence

import pytest
from cryptography import x509

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.tls import BadChain, Chain, Front, names_of
from tests.support.certificates import Authority
from tests.support.http_stage import OK, Client, Conversation, Upstream, answering, stage
from tests.support.waiting import eventually

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def chain(authority: Authority, name: str, hosts: Sequence[str]) -> Chain:
    cert, key = authority.issue(name, hosts=hosts)
    return Chain(cert.read_bytes(), key.read_bytes())


@pytest.fixture(scope="module")
def chains(authority: Authority) -> list[Chain]:
    return [
        chain(authority, "default", ["localhost"]),
        chain(authority, "one", ["one.example.org", "both.example.org"]),
        chain(authority, "wild", ["*.example.org", "both.example.org"]),
    ]


@pytest.fixture(scope="module")
def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.certificate))


def lenient() -> ssl.SSLContext:
    """A client that takes whatever it is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shown(client: Client) -> str:
    """Common name of the certificate that the client was shown."""
    der = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    (name,) = x509.load_der_x509_certificate(der).subject
    return str(name.value)


async def test_requests_and_bodies_both_ways(chains: list[Chain], trusting: ssl.SSLContext) -> None:
    size = 3_000_000
    seen = 0

    async def take(talk: Conversation) -> None:
        nonlocal seen
        await talk.head()
        seen = len(await talk.body(size))
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"y" * size)

    upstream = Upstream(take)
    async with stage(upstream, front=Front(chains)) as gate:
        client = await gate.client(tls=trusting)
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 200 ") and body == b"y" * size and seen == size
        assert b"\r\nx-forwarded-proto: https\r\n" in upstream.heads[0]
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one.example.org", "one"),
        ("ONE.example.org", "one"),
        ("two.example.org", "wild"),
        ("both.example.org", "one"),
        ("a.b.example.org", "default"),
        ("example.org", "default"),
        ("elsewhere.test", "default"),
        ("localhost", "default"),
    ],
)
async def test_the_certificate_is_chosen_by_name(chains: list[Chain], name: str, expected: str) -> None:
    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        client = await gate.client(tls=lenient(), name=name)
        assert shown(client) == expected


async def test_without_a_name_it_is_the_first(chains: list[Chain]) -> None:
    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        streams = await asyncio.open_connection("127.0.0.1", gate.port, ssl=lenient(), server_hostname="")
        assert shown(Client(*streams)) == "default"
        streams[1].close()


async def test_certificates_change_under_open_connections(
    authority: Authority, chains: list[Chain], trusting: ssl.SSLContext
) -> None:
    front = Front(chains)
    async with stage(Upstream(answering(OK)), front=front) as gate:
        early = await gate.client(tls=trusting)
        front.adopt([chain(authority, "renewed", ["localhost"])])
        late = await gate.client(tls=trusting)
        assert (shown(early), shown(late)) == ("default", "renewed")
        for client in (early, late):
            await client.say(ASK)
            assert (await client.answer())[1] == b"ok"
        with pytest.raises(BadChain):
            front.adopt([chains[0], Chain(chains[0].certificate, chains[1].key)])
        assert shown(await gate.client(tls=trusting)) == "renewed"
        with pytest.raises(ssl.SSLCertVerificationError):
            await gate.client(tls=trusting, name="one.example.org")


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"]])
async def test_alpn_says_http11(chains: list[Chain], authority: Authority, offered: list[str]) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_alpn_protocols(offered)
    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        client = await gate.client(tls=context)
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("maximum", "ciphers"),
    [(ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256")],
    ids=["TLS 1.1", "no forward secrecy"],
)
async def test_weak_handshakes_fail(
    chains: list[Chain], authority: Authority, maximum: ssl.TLSVersion, ciphers: str
) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = maximum
    context.set_ciphers(ciphers)
    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await gate.client(tls=context)
        assert not gate.proxy.connections


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_versions(chains: list[Chain], authority: Authority, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.minimum_version = context.maximum_version = version
    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        client = await gate.client(tls=context)
        await client.say(ASK)
        assert (await client.answer())[1] == b"ok"


@pytest.mark.parametrize("said", [b"", ASK, b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "HTTP", "half"])
async def test_what_is_no_handshake_is_closed_in_time(chains: list[Chain], said: bytes) -> None:
    bounds = Bounds(handshake_timeout=0.3)
    upstream = Upstream(answering(OK))
    async with stage(upstream, front=Front(chains), bounds=bounds) as gate:
        client = await gate.client()
        await client.say(said)
        assert b"HTTP/" not in await client.rest()
        assert not gate.proxy.connections and not upstream.connections


async def test_refusals_can_be_read_to_their_end(chains: list[Chain], trusting: ssl.SSLContext) -> None:
    """Also where the client goes on sending: TLS knows no half-closed connection to tell it on."""
    async with stage(Upstream(answering(OK)), front=Front(chains), bounds=Bounds(linger_timeout=0.3)) as gate:
        client = await gate.client(tls=trusting)
        await client.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\nExpect: no\r\n\r\n")
        head, body = await client.answer()
        assert head.startswith(b"HTTP/1.1 417 ") and b"\r\nconnection: close\r\n" in head and body
        assert await client.rest() == b""
        await eventually(lambda: not gate.proxy.connections)


async def test_a_response_that_breaks_off_is_not_taken_for_whole(
    chains: list[Chain], trusting: ssl.SSLContext
) -> None:
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"

    async def script(talk: Conversation) -> None:
        await talk.head()
        await talk.say(short)

    async with stage(Upstream(script), front=Front(chains)) as gate:
        client = await gate.client(tls=trusting)
        await client.say(ASK)
        head = await client.head()
        assert b"content-length: 10\r\n" in head
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.reader.readexactly(10)


def test_names_come_from_the_certificate(chains: list[Chain]) -> None:
    assert names_of(chains[1]) == ("one.example.org", "both.example.org")
    assert "key" not in repr(chains[0]).lower()


@pytest.mark.parametrize("broken", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
def test_what_is_no_certificate_is_refused(chains: list[Chain], broken: bytes) -> None:
    with pytest.raises(ValueError):
        Front([Chain(broken, chains[0].key)])
    with pytest.raises(BadChain):
        Front([Chain(chains[0].certificate, broken)])


async def test_a_response_that_closes_arrives_whole_however_slow_the_client(
    chains: list[Chain], authority: Authority
) -> None:
    """Also where reading it takes much longer than the time that a peer has to end its side."""
    size = 4_000_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"y" * size

    def ask(port: int) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), 5.0) as raw,
            authority.trusted().wrap_socket(raw, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            got = b""
            while piece := secured.recv(65_536):
                got += piece
                # The pace of a slow line, for as long as it takes the timers of the other side to run out.
                time.sleep(0.02 if len(got) < 1_000_000 else 0)
            return got

    async with stage(
        Upstream(answering(answer)), front=Front(chains), bounds=Bounds(linger_timeout=0.1)
    ) as gate:
        got = await asyncio.to_thread(ask, gate.port)
        assert len(got.partition(b"\r\n\r\n")[2]) == size
        await eventually(lambda: not gate.proxy.connections)


async def test_a_closed_connection_is_ended_in_tls(chains: list[Chain], authority: Authority) -> None:
    """With close_notify, and at once when the client agrees."""

    def ask(port: int) -> bytes:
        context = authority.trusted()
        with (
            socket.create_connection(("127.0.0.1", port), 5.0) as raw,
            context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as secured,
        ):
            secured.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            got = b""
            while piece := secured.recv(65_536):
                got += piece
            secured.unwrap()
            return got

    async with stage(
        Upstream(answering(OK)), front=Front(chains), bounds=Bounds(linger_timeout=60.0)
    ) as gate:
        assert (await asyncio.to_thread(ask, gate.port)).endswith(b"ok")
        await eventually(lambda: not gate.proxy.connections)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed(
    chains: list[Chain], authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.trusted()
    context.minimum_version = context.maximum_version = version

    def ask(port: int, session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        with (
            socket.create_connection(("127.0.0.1", port), 5.0) as raw,
            context.wrap_socket(raw, server_hostname="localhost", session=session) as secured,
        ):
            secured.sendall(ASK)
            assert secured.recv(65_536).startswith(b"HTTP/1.1 200 ")
            return bool(secured.session_reused), secured.session

    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        resumed, session = await asyncio.to_thread(ask, gate.port, None)
        assert not resumed
        resumed, _ = await asyncio.to_thread(ask, gate.port, session)
        assert resumed


async def test_a_client_that_is_no_tls(chains: list[Chain]) -> None:
    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        assert b"HTTP" not in await gate.until_closed(ASK)
        await eventually(lambda: not gate.proxy.connections)


async def test_a_record_that_was_tampered_with(chains: list[Chain], trusting: ssl.SSLContext) -> None:
    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        client = await gate.client(tls=trusting)
        await client.say(ASK)
        assert (await client.answer())[1] == b"ok"
        with socket.socket(fileno=os.dup(client.writer.get_extra_info("socket").fileno())) as raw:
            raw.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        assert await client.rest() == b""
        await eventually(lambda: not gate.proxy.connections)


async def test_nothing_is_left_of_a_closed_connection(chains: list[Chain], authority: Authority) -> None:
    """Neither in a cycle, for the collector to find, nor in a timer."""

    def ask(port: int) -> None:
        with (
            socket.create_connection(("127.0.0.1", port), 5.0) as raw,
            authority.trusted().wrap_socket(raw, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while secured.recv(65_536):
                pass

    def kept() -> int:
        return sum(type(each) is ssl.SSLObject for each in gc.get_objects())

    async with stage(Upstream(answering(OK)), front=Front(chains)) as gate:
        gc.collect()
        before = kept()
        gc.disable()
        try:
            await asyncio.to_thread(ask, gate.port)
            await eventually(lambda: not gate.proxy.connections)
            gate.observer.exchanges.clear()
            await eventually(lambda: kept() == before)
        finally:
            gc.enable()
