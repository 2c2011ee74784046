"""A watch that runs beside a test and keeps its events."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from types import TracebackType
from typing import Self

from controlplane.store import Batch, Store
from tests.support.waiting import eventually


class Watching:
    """Watches during the context; `until` raises the error that ended the watch early."""

    def __init__(self, store: Store, prefix: str, after: int) -> None:
        self._store, self._prefix, self._after = store, prefix, after
        self._task: asyncio.Task[None] | None = None
        self.batches: list[Batch] = []
        """Every batch with changes, in order of arrival."""

    @property
    def values(self) -> list[str]:
        """The values put, in order of arrival."""
        return [entry.value.decode() for batch in self.batches for entry in batch.puts]

    async def until(self, count: int, within: float = 30.0) -> None:
        """Wait for `count` batches."""
        await eventually(lambda: len(self.batches) >= count or self._ended(), within)
        if self._ended():
            assert self._task is not None
            await self._task

    async def ended(self, within: float = 30.0) -> None:
        """Wait until the watch ends, and raise its error."""
        assert self._task is not None
        async with asyncio.timeout(within):
            await self._task

    def _ended(self) -> bool:
        return self._task is not None and self._task.done()

    async def _watch(self) -> None:
        async with aclosing(self._store.watch(self._prefix, self._after)) as watch:
            async for batch in watch:
                if batch.puts or batch.deletes:
                    self.batches.append(batch)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
