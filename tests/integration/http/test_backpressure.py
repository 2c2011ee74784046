"""Whoever is slow slows its source down; what lies in between is bounded, however large the body."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource

import pytest

from dataplane.gateway.policy.resources import Timeouts
from dataplane.proxy.bounds import Bounds
from tests.support.http_stage import OK, Conversation, Upstream, stage
from tests.support.waiting import eventually, within

PIECE = os.urandom(2**20)
PIECES = 64
SIZE = len(PIECE) * PIECES
HELD = 3 * 2**20
"""Sockets' own buffers, the write buffer and one read, generously."""


async def flood(talk: Conversation, sent: list[int], chunked: bool) -> None:
    await talk.head()
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
    await talk.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
    for _ in range(PIECES):
        await talk.say(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
        sent.append(len(PIECE))
    if chunked:
        await talk.say(b"0\r\n\r\n")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_slow_reader_of_a_large_body(chunked: bool) -> None:
    sent: list[int] = []

    async def script(talk: Conversation) -> None:
        while True:
            await flood(talk, sent, chunked)

    upstream = Upstream(script)
    async with stage(upstream) as gate:
        client = await gate.client(limit=65536)
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.head()
        await settled(sent)
        assert sum(sent) < SIZE // 2
        (connection,) = gate.proxy.connections
        assert connection.transport.get_write_buffer_size() < HELD
        digest, got = hashlib.sha256(), 0
        while got < SIZE:
            piece = await client_body(client, chunked)
            digest.update(piece)
            got += len(piece)
        assert digest.digest() == hashlib.sha256(PIECE * PIECES).digest()
        if chunked:
            assert await client.reader.readexactly(5) == b"0\r\n\r\n"
        # The connections are as good as new: a paused one would never answer again.
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200")
        assert upstream.connections == 1


async def client_body(client: object, chunked: bool) -> bytes:
    reader: asyncio.StreamReader = client.reader  # type: ignore[attr-defined]
    if not chunked:
        return await reader.read(65536)
    size = int((await reader.readuntil(b"\r\n")).strip(), 16)
    data = await reader.readexactly(size)
    assert await reader.readexactly(2) == b"\r\n"
    return data


async def settled(counts: list[int]) -> None:
    """Wait until nothing more is sent."""
    before = -1
    while before != len(counts):
        before = len(counts)
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_slow_upstream_of_a_large_upload(chunked: bool) -> None:
    go = asyncio.Event()
    digest = hashlib.sha256()

    async def script(talk: Conversation) -> None:
        while True:
            await talk.head()
            await go.wait()
            got = 0
            while got < SIZE:
                piece = await talk_body(talk, chunked)
                digest.update(piece)
                got += len(piece)
            if chunked:
                await talk.body(5)
            await talk.say(OK)

    async with stage(Upstream(script)) as gate:
        client = await gate.client()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
        request = b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n"
        sent: list[int] = []

        async def upload() -> None:
            await client.say(request)
            for _ in range(PIECES):
                await client.say(b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
                sent.append(len(PIECE))
            await client.say(b"0\r\n\r\n" if chunked else b"")

        uploading = asyncio.create_task(upload())
        await settled(sent)
        assert sum(sent) < SIZE // 2
        go.set()
        assert (await client.answer())[1] == b"ok"
        await uploading
        assert digest.digest() == hashlib.sha256(PIECE * PIECES).digest()
        assert [exchange.received for exchange in gate.observer.exchanges] == [SIZE]
        await client.say(request)
        await client.say(PIECE)


async def talk_body(talk: Conversation, chunked: bool) -> bytes:
    return await client_body(talk, chunked)


async def test_memory_stays_flat_while_a_large_body_passes() -> None:
    async def script(talk: Conversation) -> None:
        await flood(talk, [], False)

    async with stage(Upstream(script)) as gate:
        client = await gate.client(limit=65536)
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.head()
        before, got = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
        while got < SIZE:
            got += len(await client.reader.read(2**18))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_gibibyte_to_a_slow_reader_holds_a_bounded_buffer(chunked: bool) -> None:
    """The reader takes less than comes at any time, to the end; at no time is more than the bound on its way."""
    size, sent = 2**30, 0
    bound = Bounds(write_buffer=65536)

    async def script(talk: Conversation) -> None:
        nonlocal sent
        await talk.head()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        await talk.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
        while sent < size:
            await talk.say(piece)
            sent += len(PIECE)
        await talk.say(b"0\r\n\r\n" if chunked else b"")

    async with stage(Upstream(script), bounds=bound) as gate:
        client = await gate.client(limit=65536)
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.head()
        (connection,) = gate.proxy.connections
        before, got, highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0
        while got < size:
            got += len(await client.reader.read(2**18))
            highest = max(highest, connection.transport.get_write_buffer_size())
            # Most of that is in the kernel's buffers, which grow with the speed.
            assert sent - got < 2**25
        # One read of the source beyond the mark.
        assert 0 < highest <= bound.write_buffer + 2**19
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


async def test_a_client_that_stops_reading_is_given_up() -> None:
    left = asyncio.Event()

    async def script(talk: Conversation) -> None:
        try:
            await flood(talk, [], False)
        finally:
            left.set()

    async with stage(Upstream(script), timeouts=Timeouts(idle=0.3), bounds=Bounds()) as gate:
        client = await gate.client(limit=1024)
        await client.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await within(left.wait(), 30)
        await eventually(lambda: gate.observer.decisions == [("client_stalled", 200)])
        await eventually(lambda: not gate.proxy.connections)
