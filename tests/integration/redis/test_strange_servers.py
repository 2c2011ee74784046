"""Whatever listens where Redis should be: nobody waits for it, and the reason is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from dataplane.gateway.store import Order
from dataplane.redis.options import RedisOptions
from dataplane.redis.store import RedisStore, make_store
from tests.support.scripted_redis import TAKEN, Words, scripted, usual
from tests.support.waiting import eventually


@asynccontextmanager
async def listening(first: bytes, *, then_close: bool = False) -> AsyncIterator[int]:
    """A port that says this to everyone who asks something."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await reader.read(1)
        writer.write(first)
        if then_close:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


async def reason_of(store: RedisStore) -> str:
    store.want(["l"])
    try:
        outage = await eventually(store.outage)
        assert outage is not None
        assert not store.ask(Order(b"x", b"x"), monotonic())
        return outage.reason
    finally:
        store.close()


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize(
    ("said", "then_close"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"+OK\r\n" * 50, False),
        (b"-ERR max number of clients reached\r\n", True),
        (b"", True),
    ],
)
async def test_what_is_no_redis(said: bytes, then_close: bool, cluster: bool) -> None:
    async with listening(said, then_close=then_close) as port:
        options = RedisOptions((("127.0.0.1", port),), cluster=cluster, timeout=0.2)
        assert await reason_of(make_store(options, lambda: None))


async def test_the_reason_for_which_a_connection_is_closed_at_once_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR max number of clients reached\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reason = await reason_of(make_store(RedisOptions((("127.0.0.1", port),), timeout=5.0), lambda: None))
    assert reason.endswith(": ERR max number of clients reached")
    server.close()
    await server.wait_closed()


async def test_a_server_that_says_more_than_it_is_asked_is_none() -> None:
    def script(words: Words) -> bytes | None:
        return TAKEN + b"+OK\r\n" if words[0] == b"EVALSHA" else usual(words)

    async with scripted(script) as redis:
        options = RedisOptions((("127.0.0.1", redis.port),), timeout=5.0)
        assert "a reply without a question" in await reason_of(make_store(options, lambda: None))


async def test_no_room_is_made_for_what_does_not_come() -> None:
    """hiredis has a pointer for each reply of a list before the first of them is there: eight million bytes here."""
    async with scripted(lambda words: b"*1000000\r\n") as redis:
        options = RedisOptions((("127.0.0.1", redis.port),), timeout=5.0)
        assert "a reply without a question" in await reason_of(make_store(options, lambda: None))


async def test_a_reply_without_an_end_is_given_up() -> None:
    async with scripted(lambda words: b"+" + b"a" * 100_000) as redis:
        options = RedisOptions((("127.0.0.1", redis.port),), timeout=5.0)
        assert "a reply without a question" in await reason_of(make_store(options, lambda: None))


async def test_a_server_that_quotes_the_password_has_it_in_no_log() -> None:
    """Redis does where AUTH has another name."""
    said = b"-ERR unknown command `AUTH`, with args beginning with: `hidden`, `hidden` %b\r\n" % (b"x" * 999)
    async with scripted(lambda words: said) as redis:
        options = RedisOptions((("127.0.0.1", redis.port),), user="gate", password="hidden", timeout=5.0)
        reason = await reason_of(make_store(options, lambda: None))
        assert "unknown command `AUTH`" in reason
        assert "hidden" not in reason
        assert len(reason) < 300


async def test_nobody_listens_and_no_name_is_known() -> None:
    assert "127.0.0.1:1: " in await reason_of(make_store(RedisOptions((("127.0.0.1", 1),)), lambda: None))
    unknown = RedisOptions((("redis.invalid", 6379),))
    assert await reason_of(make_store(unknown, lambda: None))


async def test_no_sentinel_knows() -> None:
    options = RedisOptions((("127.0.0.1", 1), ("127.0.0.1", 2)), sentinel="limits")
    assert "no Sentinel answers with a server for 'limits'" in await reason_of(
        make_store(options, lambda: None)
    )
