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


async def test_nobody_listens_and_no_name_is_known() -> None:
    assert "127.0.0.1:1: " in await reason_of(make_store(RedisOptions((("127.0.0.1", 1),)), lambda: None))
    unknown = RedisOptions((("redis.invalid", 6379),))
    assert await reason_of(make_store(unknown, lambda: None))


async def test_no_sentinel_knows() -> None:
    options = RedisOptions((("127.0.0.1", 1), ("127.0.0.1", 2)), sentinel="limits")
    assert "no Sentinel answers with a server for 'limits'" in await reason_of(
        make_store(options, lambda: None)
    )
