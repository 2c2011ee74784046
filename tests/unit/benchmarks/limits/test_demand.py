"""Load on several ports at once, and its record."""

from __future__ import annotations

import asyncio
import contextlib

from tests.benchmarks.limits import demand
from tests.support.instance import Instance


async def test_every_request_has_a_number_and_its_answer() -> None:
    async with Instance("one") as one, Instance("two") as two:
        record = await asyncio.to_thread(demand.run, {one.port: 200.0, two.port: 200.0}, "/even", 0.5)
        targets = [head.split()[1] for head in (*one.heads, *two.heads)]
    assert sorted(targets) == sorted(b"/even/%d" % number for number in range(len(record.sent)))
    assert one.heads and two.heads
    assert set(record.statuses) == {200} and record.failures == 0


async def test_a_request_without_an_answer_has_failed() -> None:
    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(end, "127.0.0.1", 0) as server:
        port = int(server.sockets[0].getsockname()[1])
        record = await asyncio.to_thread(demand.run, {port: 100.0}, "/even", 0.2)
    assert len(record.sent) == len(record.statuses) == record.failures > 0
