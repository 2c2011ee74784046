"""How many processes hold each registered instance, for people: looked up when somebody asks, at most once a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from controlplane.commands.plans import holders
from controlplane.store import Store, StoreError

OLD = 2.0
"""Seconds for which what was read is good enough."""


class Workers:
    """Reads the holders of all instances. Few instances have several."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._store = store
        self._clock = clock
        self._read_at = float("-inf")
        self._counts: Mapping[str, int] = {}
        self._turn = asyncio.Lock()

    async def counts(self) -> Mapping[str, int]:
        """By name; empty while the store does not answer."""
        async with self._turn:
            if self._clock() - self._read_at >= OLD:
                self._read_at, self._counts = self._clock(), {}
                with contextlib.suppress(StoreError):
                    self._counts = holders.count_by_instance((await self._store.list(holders.PREFIX)).entries)
            return self._counts
