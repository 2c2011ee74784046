"""Changes from before this control plane noted events, for clients that missed them: read once in a while, for all.

Reading the history takes up to 8 MiB from the store, and any reader can ask for it by a made-up id of an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from controlplane.model.history import Record
from controlplane.store import StoreError

FRESH: Final = 60.0
"""Seconds for which what was read counts, also that it could not be read."""


@dataclass(frozen=True, slots=True)
class OlderChange:
    """A change on record, without its documents."""

    time: float
    """Unix seconds."""
    revision: int
    author: str
    summary: str


class Read(Protocol):
    """Reads the history, the newest change first. `Commands.changes` does."""

    def __call__(
        self, shown: Callable[[Sequence[Record]], list[OlderChange]], /
    ) -> Awaitable[list[OlderChange]]:
        """The changes, as `shown` converts them. Raises StoreError."""


class OlderChanges:
    """`clock` gives monotonic seconds."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._found: list[OlderChange] = []
        self._at: float | None = None

    async def between(self, after: float, before: float) -> list[OlderChange]:
        """Those between two Unix times, the oldest first; none if the store does not answer."""
        async with self._one_at_a_time:
            if self._at is None or self._clock() - self._at >= FRESH:
                await self._renew()
        return [one for one in self._found if after < one.time < before]

    async def _renew(self) -> None:
        with contextlib.suppress(StoreError):
            self._found = await self._read(_slim)
        self._at = self._clock()


def _slim(records: Sequence[Record]) -> list[OlderChange]:
    return [OlderChange(one.time, one.revision, one.author, one.summary) for one in reversed(records)]
