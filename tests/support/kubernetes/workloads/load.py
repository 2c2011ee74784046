"""Load at a fixed rate: python3 load.py HOST PORT PATH RATE CONNECTIONS. Once a second it prints the counts so far.

Every connection is replaced after a number of requests, so that new pods get some. A request has failed if its answer
is not 200, if its connection broke, or if it took too long: nothing is tried again.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

PATIENCE = 10.0
"""Seconds after which a request without an answer has failed."""
PER_CONNECTION = 200


class Load:
    """Connections that share the rate."""

    def __init__(self, host: str, port: int, path: str, rate: float, connections: int) -> None:
        self._address = host, port
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._gap = connections / rate
        self._connections = connections
        self.pods: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.slowest = 0.0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._connections):
                group.create_task(self._client(number))
            group.create_task(self._tell())

    async def _client(self, number: int) -> None:
        due = time.monotonic() + self._gap * number / self._connections
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection(*self._address)
            except OSError as error:
                self.errors[f"connect: {error!r}"] += 1
                await asyncio.sleep(0.1)
                continue
            try:
                for _ in range(PER_CONNECTION):
                    await asyncio.sleep(due - time.monotonic())
                    due += self._gap
                    if not await self._ask(reader, writer):
                        break
            finally:
                writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can be used again."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                body = await reader.readexactly(length(head))
        except (OSError, asyncio.IncompleteReadError) as error:
            self.errors[f"{type(error).__name__}: {error}"] += 1
            return False
        self.slowest = max(self.slowest, time.monotonic() - began)
        if head.split(" ", 2)[1] == "200":
            self.pods[body.decode()] += 1
        else:
            self.errors[f"{head.splitlines()[0]} {body[:200].decode('latin-1')}"] += 1
        return "connection: close" not in head

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(1)
            counts = {"answered": self.pods, "failed": self.errors, "slowest": round(self.slowest, 3)}
            sys.stdout.write(json.dumps(counts) + "\n")
            sys.stdout.flush()


def length(head: str) -> int:
    """The length of the body."""
    return next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))


if __name__ == "__main__":
    host, port, path, rate, connections = sys.argv[1:]
    asyncio.run(Load(host, int(port), path, float(rate), int(connections)).run())
