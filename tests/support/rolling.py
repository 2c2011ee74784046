"""Tools to check that a service is restarted without a failed request: busy instances, and requests without pause."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx

from tests.support.instance import Instance
from tests.support.waiting import eventually

WORK = 0.05
"""Seconds for each request, so that some are always under way."""


class Working(Instance):
    """Answers every request slowly, and records interrupted ones."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.busy = 0

    async def _answer(self, head: bytes) -> bytes:
        if head.startswith(b"GET /health "):
            return await super()._answer(head)
        self.busy += 1
        try:
            await asyncio.sleep(WORK)
            return await super()._answer(head)
        finally:
            self.busy -= 1


class Callers:
    """Requests without pause, and their results."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self.answers: Counter[str] = Counter()
        self._ending = False

    async def run(self, clients: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._ask(self.urls[number % len(self.urls)]))

    def end(self) -> None:
        self._ending = True

    async def _ask(self, url: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            while not self._ending:
                try:
                    answer = await client.get(url)
                    self.answers[answer.text if answer.status_code == 200 else str(answer)] += 1
                except httpx.HTTPError as error:
                    self.answers[repr(error)] += 1

    async def more(self, name: str, count: int = 30) -> None:
        """Wait for this number of further answers of one instance."""
        wanted = self.answers[name] + count
        await eventually(lambda: self.answers[name] >= wanted, within=30)
