"""Open-loop load on several data planes at once, each at a rate of its own, and a record of every request."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.benchmarks.sink import HEAD_END, content_length

PATIENCE = 10.0
"""Seconds after which a request without an answer has failed."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Record:
    """Every request by its number: when it was sent (seconds since the epoch), and the status of its answer."""

    sent: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """0: there was no answer."""

    @property
    def failures(self) -> int:
        """Requests that were neither let through nor refused by a limit."""
        return sum(status not in (200, 429) for status in self.statuses)


def run(rates: Mapping[int, float], path: str, seconds: float, seed: int = 1) -> Record:
    """Ask for `path`/<number> for so long: so many requests a second at each port of this host, at random moments."""
    return asyncio.run(_run(rates, path, seconds, seed))


async def _run(rates: Mapping[int, float], path: str, seconds: float, seed: int) -> Record:
    record = Record()
    async with asyncio.TaskGroup() as group:
        for number, (port, rate) in enumerate(rates.items()):
            client = _Client(port, path, record)
            group.create_task(client.run(rate, seconds, random.Random(f"{seed} {number}")))
    return record


class _Client:
    """The load on one data plane: a Poisson process of requests, each on a connection that is free."""

    def __init__(self, port: int, path: str, record: Record) -> None:
        self._port = port
        self._path = path
        self._record = record
        self._free: list[Connection] = []

    async def run(self, rate: float, seconds: float, chance: random.Random) -> None:
        clock = asyncio.get_running_loop().time
        due, end = clock(), clock() + seconds
        async with asyncio.TaskGroup() as group:
            while (due := due + chance.expovariate(rate)) < end:
                await asyncio.sleep(due - clock())
                group.create_task(self._ask())
        for _, writer in self._free:
            writer.transport.abort()

    async def _ask(self) -> None:
        connection: Connection | None = None
        number = None
        try:
            async with asyncio.timeout(PATIENCE):
                connection = self._free.pop() if self._free else await self._connect()
                number = self._begin()
                self._record.statuses[number] = await _exchange(connection, f"{self._path}/{number}")
            self._free.append(connection)
        except (OSError, EOFError, ValueError):
            # As it stands in the record: without an answer.
            if number is None:
                self._begin()
            if connection is not None:
                connection[1].transport.abort()

    async def _connect(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self._port)

    def _begin(self) -> int:
        """The number of a request that is sent now."""
        self._record.sent.append(time.time())
        self._record.statuses.append(0)
        return len(self._record.sent) - 1


async def _exchange(connection: Connection, target: str) -> int:
    """The status of the answer, once all of it has come."""
    reader, writer = connection
    writer.write(f"GET {target} HTTP/1.1\r\nHost: load\r\n\r\n".encode())
    head = await reader.readuntil(HEAD_END)
    await reader.readexactly(content_length(head[: -len(HEAD_END)]))
    return int(head[9:12])
