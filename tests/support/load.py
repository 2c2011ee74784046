"""Load on data planes from real sockets, with a record of every answer, which shows the cost of a fault."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

PATIENCE = 5.0
"""Seconds after which a request without an answer has failed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one request. Times are monotonic seconds."""

    node: str
    path: str
    began: float
    took: float
    status: int
    """0 if there was no answer."""
    detail: str = ""
    """The error, or the beginning of the body."""


class Load:
    """Clients that keep sending requests, each on its own connection; `answers` has the answers in order of their
    ends."""

    def __init__(
        self, targets: Mapping[str, int], path: str, *, clients: int = 2, pause: float = 0.02
    ) -> None:
        """`targets` are ports on loopback by node; every client waits `pause` seconds between two requests."""
        self.answers: list[Answer] = []
        self.path = path
        self._targets = targets
        self._clients = clients
        self._pause = pause
        self._spared: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def failures(self) -> list[Answer]:
        """All failures."""
        return [answer for answer in self.answers if answer.status != 200]

    def since(self, moment: float) -> list[Answer]:
        """Answers to requests that began after a moment."""
        return [answer for answer in self.answers if answer.began >= moment]

    @contextlib.asynccontextmanager
    async def sparing(self, *nodes: str) -> AsyncIterator[None]:
        """No requests to these nodes within the block, because they are about to stop."""
        self._spared.update(nodes)
        # Those under way have their answer by then.
        await asyncio.sleep(0.2)
        try:
            yield
        finally:
            self._spared.difference_update(nodes)

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._client(node, port), name=f"load on {node}")
            for node, port in self._targets.items()
            for _ in range(self._clients)
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, node: str, port: int) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:
                await asyncio.sleep(self._pause)
                if node in self._spared:
                    _close(connection)
                    connection = None
                    continue
                began = time.monotonic()
                status, detail = 0, ""
                try:
                    async with asyncio.timeout(PATIENCE):
                        connection = connection or await asyncio.open_connection("127.0.0.1", port)
                        status, detail = await _ask(*connection, self.path)
                except (OSError, EOFError, ValueError) as error:
                    detail = f"{type(error).__name__}: {error}"
                    _close(connection)
                    connection = None
                if not status and node in self._spared:
                    continue
                took = time.monotonic() - began
                self.answers.append(Answer(node, self.path, began, took, status, detail))
        finally:
            _close(connection)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, str]:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: load\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = next(
        int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:")
    )
    body = await reader.readexactly(length)
    return status, "" if status == 200 else f"{head[:200]} {body[:200].decode('latin-1')}"


def _close(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if connection is not None:
        connection[1].transport.abort()
