"""A response counts as sent when the client has it all: slow clients get everything, and what was cut is logged so."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time

import pytest

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.downstream import Downstream
from dataplane.proxy.exchange import Result
from dataplane.proxy.phases import FLUSHING, READING
from dataplane.proxy.tls import Chain, Front
from tests.support.certificates import Authority
from tests.support.http_stage import OK, Client, Conversation, Stage, Upstream, answering, stage
from tests.support.waiting import eventually, within

BIG = 12_000_000
"""More than the kernel takes for a client that does not read."""
CLOSING = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
QUICK = Bounds(body_timeout=1.5, linger_timeout=0.2, keep_alive_timeout=0.2)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def front(authority: Authority) -> Front:
    cert, key = authority.issue("default", hosts=["localhost"])
    return Front([Chain(cert.read_bytes(), key.read_bytes())])


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.certificate))


async def big(talk: Conversation) -> None:
    while True:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG))


async def narrow(gate: Stage) -> Client:
    """A client whose kernel takes little ahead of it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", gate.port))
    return Client(*await asyncio.open_connection(sock=raw, limit=65_536))


def phases(gate: Stage) -> list[int]:
    return [client.phase for client in gate.proxy.connections if isinstance(client, Downstream)]


async def slowly(client: Client, steps: int) -> int:
    """Read a little at a time, for much longer than any deadline, then the rest."""
    got = 0
    for _ in range(steps):
        got += len(await client.reader.read(300_000))
        await asyncio.sleep(0.1)
    return got + len(await client.rest())


@pytest.mark.parametrize("request_", [CLOSING, OLD, GET])
async def test_a_slow_client_gets_all(request_: bytes) -> None:
    async with stage(Upstream(big), bounds=QUICK) as gate:
        client = await narrow(gate)
        await client.say(request_)
        assert await slowly(client, 20) > BIG
        await eventually(lambda: gate.observer.decisions == [("forwarded", 200)])
        client.close()


async def test_a_slow_client_over_tls_gets_all(front: Front, trusting: ssl.SSLContext) -> None:
    bounds = Bounds(body_timeout=3.0, linger_timeout=0.2, linger_total=1.0, keep_alive_timeout=0.2)
    async with stage(Upstream(big), front=front, bounds=bounds) as gate:
        assert await asyncio.to_thread(read_slowly, gate.port, trusting) > BIG
        await eventually(lambda: gate.observer.decisions == [("forwarded", 200)])


def read_slowly(port: int, trusting: ssl.SSLContext) -> int:
    """Blocking: the event loop's own TLS loses what it holds when the end comes while it is paused."""
    got = 0
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        raw.connect(("127.0.0.1", port))
        with trusting.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(CLOSING)
            while piece := client.recv(16_384):
                got += len(piece)
                time.sleep(0.005)
    return got


async def test_a_slow_client_gets_all_while_the_worker_drains() -> None:
    async with stage(Upstream(big), bounds=QUICK) as gate:
        client = await narrow(gate)
        await client.say(GET)
        await client.reader.read(1000)
        draining = asyncio.create_task(gate.proxy.drain(30.0))
        assert await slowly(client, 20) > BIG - 1000
        await draining
        assert gate.observer.decisions == [("forwarded", 200)]
        client.close()


@pytest.mark.parametrize("request_", [CLOSING, OLD, GET])
async def test_a_client_that_takes_no_more_is_cut_off_and_logged_so(request_: bytes) -> None:
    async with stage(Upstream(big), bounds=Bounds(body_timeout=0.4, write_buffer=2 * BIG)) as gate:
        client = await narrow(gate)
        await client.say(request_)
        await client.reader.read(1000)
        await eventually(lambda: gate.observer.decisions == [("client_stalled", 200)])
        assert gate.observer.exchanges[0].result is Result.ANSWERED
        assert len(await client.rest()) < BIG
        assert not gate.proxy.connections
        client.close()


async def test_a_client_that_leaves_before_the_end_is_logged_so() -> None:
    async with stage(Upstream(big), bounds=Bounds(write_buffer=2 * BIG)) as gate:
        client = await narrow(gate)
        await client.say(CLOSING)
        await client.reader.read(1000)
        await eventually(lambda: phases(gate) == [FLUSHING])
        client.writer.transport.abort()
        await eventually(lambda: gate.observer.decisions == [("client_left", 200)])


async def test_silence_after_a_head_in_two_reads_is_not_answered() -> None:
    bounds = Bounds(head_timeout=1.0, keep_alive_timeout=0.3)
    async with stage(Upstream(answering(OK)), bounds=bounds) as gate:
        client = await gate.client()
        await client.say(GET[:10])
        await eventually(lambda: phases(gate) == [READING])
        await client.say(GET[10:])
        assert (await client.answer())[1] == b"ok"
        assert await client.rest() == b""
        assert gate.observer.decisions == [("forwarded", 200)]


async def test_the_head_after_one_in_two_reads_has_the_time_of_a_head() -> None:
    bounds = Bounds(head_timeout=1.0, keep_alive_timeout=75.0)
    async with stage(Upstream(answering(OK)), bounds=bounds) as gate:
        client = await gate.client()
        await client.say(GET[:10])
        await eventually(lambda: phases(gate) == [READING])
        await client.say(GET[10:])
        await client.answer()
        await client.say(GET[:10])
        assert (await within(client.head())).startswith(b"HTTP/1.1 408 ")
