"""An instance answers early and resets the connection just before the gateway writes to it.

The event loop tells of the failed write first, and reads nothing more. The order is made here, not waited for: the
instance acts in a callback of the very turn in which the gateway then sends a piece of the body.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from asyncio.subprocess import DEVNULL
from pathlib import Path

import pytest

from dataplane.gateway.policy.resources import Retries, UpstreamTls
from dataplane.proxy.exchange import ClientSide, Result
from demo.ports import free_port
from tests.support.certificates import Authority
from tests.support.http_stage import Stage, stage
from tests.support.waiting import eventually

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n"
REFUSED = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def accept(listening: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection of the gateway that has brought the head of a request."""
    instance, _ = listening.accept()
    # Nothing of its answer is left to send when it resets the connection.
    instance.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        instance = tls.wrap_socket(instance, server_side=True)
    assert instance.recv(1_000).startswith(b"POST ")
    return instance


def received(gate: Stage) -> list[int]:
    """How much of each request under way has come."""
    clients = [each for each in gate.proxy.connections if isinstance(each, ClientSide)]
    return [each.current.received for each in clients if each.current is not None]


async def upload(gate: Stage, listening: socket.socket, tls: ssl.SSLContext | None, last: int) -> bytes:
    """What a client gets whose next `last` bytes the gateway sends on when the reset has just come."""
    loop = asyncio.get_running_loop()
    client = await gate.client()
    client.writer.write(UPLOAD + bytes(20_000))
    instance = await loop.run_in_executor(None, accept, listening, tls)
    ours, theirs = socket.socketpair()

    def act() -> None:
        loop.remove_reader(ours)
        instance.sendall(REFUSED)
        instance.close()

    with ours, theirs:
        loop.add_reader(ours, act)
        await eventually(lambda: 20_000 in received(gate))
        # Now the event loop has waited for the reader too, and the kernel reports it before what the client sends.
        await asyncio.sleep(0)
        theirs.send(b"x")
        os.write(client.writer.get_extra_info("socket").fileno(), bytes(last))
        answer, _ = await client.answer()
    client.close()
    return answer


@pytest.mark.parametrize("last", [10, 20_000], ids=["at the end of the turn", "at once"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_the_answer_reaches_the_client(authority: Authority, secure: bool, last: int) -> None:
    server, tls = None, None
    if secure:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(*authority.issue("server", hosts=["127.0.0.1"]))
        tls = UpstreamTls("", authority.certificate.read_text())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with stage(port, tls=tls, retries=Retries(attempts=0)) as gate:
            for number in range(10):
                answer = await upload(gate, listening, server, last)
                assert answer.startswith(b"HTTP/1.1 413 "), number
            await eventually(lambda: len(gate.observer.exchanges) == 10)
            assert {exchange.result for exchange in gate.observer.exchanges} == {Result.ANSWERED}


def accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)):
        return True


async def test_the_standard_library_s_server(tmp_path: Path) -> None:
    """It refuses every POST unread, and closes."""
    port = free_port()
    command = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", tmp_path)
    server = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
    try:
        await eventually(lambda: accepts(port))
        async with stage(port, retries=Retries(attempts=0)) as gate:
            for size in (1_000, 20_000, 300_000, 3_000_000) * 15:
                client = await gate.client()
                client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
                client.writer.write(bytes(size))
                answer, _ = await client.answer()
                client.close()
                assert answer.startswith(b"HTTP/1.1 501 "), size
            await eventually(lambda: len(gate.observer.exchanges) == 60)
            assert {exchange.result for exchange in gate.observer.exchanges} == {Result.ANSWERED}
    finally:
        server.terminate()
        await server.wait()
