"""Numbers about registrations: what happened to them, for metrics, and how many processes hold each instance."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controlplane.commands.plans import holders
from controlplane.store import Store, StoreError

OLD = 2.0
"""Seconds for which a count that was read is used again."""


@dataclass(slots=True)
class Counts:
    """Since the start of this control plane."""

    registered: int = 0
    """Registrations under a new lease, including holders that joined others."""
    left: int = 0
    """Holders that deregistered, and instances that were removed."""
    renewed: int = 0
    """Leases that a keep-alive renewed."""
    ended: int = 0
    """Keep-alives of leases that had ended, or held another instance."""
    failed: int = 0
    """Keep-alives that the store did not carry out."""
    streams: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """Keep-alive streams that are open, and the leases that they hold."""


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
