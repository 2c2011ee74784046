"""Connections count from the moment they are accepted: in the handshake, and before they have said a word."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any, cast

import pytest

from dataplane.proxy.acceptor import Acceptor
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import Connections
from dataplane.proxy.tls import Chain, Front
from dataplane.proxy.trust import Peer
from tests.support.certificates import Authority
from tests.support.http_stage import OK, Upstream, answering, stage
from tests.support.waiting import eventually

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def front(authority: Authority) -> Front:
    cert, key = authority.issue("front")
    return Front([Chain(cert.read_bytes(), key.read_bytes())])


@pytest.mark.parametrize(
    "bounds", [Bounds(connections=2), Bounds(connections_per_address=2)], ids=["all", "address"]
)
async def test_silent_handshakes_are_bounded(front: Front, authority: Authority, bounds: Bounds) -> None:
    async with stage(Upstream(answering(OK)), front=front, bounds=bounds) as gate:
        silent = [await gate.client() for _ in range(2)]
        await eventually(lambda: len(gate.proxy.connections) == 2)
        assert await gate.until_closed(b"") == b""
        assert gate.proxy.connections.refused == 1
        silent[0].close()
        await eventually(lambda: len(gate.proxy.connections) == 1)
        client = await gate.client(tls=authority.trusted())
        await client.say(ASK)
        assert (await client.answer())[1] == b"ok"


async def test_a_handshake_has_a_deadline(front: Front) -> None:
    bounds = Bounds(handshake_timeout=0.2)
    async with stage(Upstream(answering(OK)), front=front, bounds=bounds) as gate:
        for said in (b"", b"\x16\x03\x01\x02\x00"):
            assert await gate.until_closed(said) == b""
        await eventually(lambda: not gate.proxy.connections)


async def test_a_drain_does_not_wait_for_handshakes(front: Front) -> None:
    async with stage(Upstream(answering(OK)), front=front) as gate:
        silent = await gate.client()
        await eventually(lambda: len(gate.proxy.connections) == 1)
        async with asyncio.timeout(2.0):
            await gate.proxy.drain(60.0)
        assert await silent.rest() == b""


async def test_a_proxy_that_has_not_said_for_whom_counts() -> None:
    bounds = Bounds(connections=1)
    async with stage(Upstream(answering(OK)), proxies=["127.0.0.0/8"], bounds=bounds) as gate:
        silent = await gate.client()
        await eventually(lambda: len(gate.proxy.connections) == 1)
        assert await gate.until_closed(b"PROXY UNKNOWN\r\n" + ASK) == b""
        silent.close()
        await eventually(lambda: not gate.proxy.connections)
        assert (await gate.ask(b"PROXY UNKNOWN\r\n" + ASK))[1] == b"ok"


class Full(socket.socket):
    """A listening socket of a system without room for another connection, for so many calls."""

    def __init__(self, listening: socket.socket, failures: int) -> None:
        super().__init__(fileno=listening.detach())
        self.failures = failures

    def _accept(self) -> tuple[int, Any]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return cast(Any, super())._accept()  # type: ignore[no-any-return]


class Taking:
    """Keeps what was accepted."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def peer(self, address: str) -> Peer:
        return Peer(address)

    def take(self, descriptor: int, peer: Peer) -> None:
        self.taken.append(descriptor)

    def refusal(self) -> bytes:
        return b""


async def test_without_descriptors_clients_wait_in_the_backlog() -> None:
    taking = Taking()
    listener = Full(socket.create_server(("127.0.0.1", 0)), failures=2)
    acceptor = Acceptor(listener, taking, Connections(Bounds()))
    try:
        _, writer = await asyncio.open_connection(*listener.getsockname())
        await eventually(lambda: len(taking.taken) == 1)
        assert not listener.failures
        writer.close()
    finally:
        acceptor.close()
        for each in taking.taken:
            os.close(each)
