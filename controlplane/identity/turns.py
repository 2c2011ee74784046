"""Fair queueing for something slow: each caller in the queue gets one turn before any gets a second."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from controlplane.identity.errors import TooManyAttempts

Turn = asyncio.Future[None]


class Turns:
    """At most `at_once` hold a turn. The others wait, at most `most_each` a caller and `most` in all.

    If all places are taken, the newest entry of the caller with the longest queue is removed in favour of a caller
    with a shorter one. No caller waits longer than `patience` seconds.
    """

    def __init__(self, at_once: int, *, most: int = 256, most_each: int = 8, patience: float = 10.0) -> None:
        self._free = at_once
        self._most = most
        self._most_each = most_each
        self._patience = patience
        self._queues: dict[str, deque[Turn]] = {}
        """In the order in which callers have their next turn."""
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def take(self, caller: str | None) -> AsyncIterator[None]:
        """A turn, for as long as the block runs. Raises TooManyAttempts; never for None, the control plane itself."""
        if self._free:
            self._free -= 1
        else:
            await self._queue(caller)
        try:
            yield
        finally:
            self._pass_on()

    async def _queue(self, caller: str | None) -> None:
        name = caller or ""
        if caller is not None:
            self._make_room(name)
        turn: Turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(name, deque()).append(turn)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience if caller is not None else None):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on()  # it got the turn at the same moment
            self._remove(name, turn)
            raise TooManyAttempts(1.0) if isinstance(error, TimeoutError) else error from None

    def _make_room(self, name: str) -> None:
        mine = len(self._queues.get(name, ()))
        if mine >= self._most_each:
            raise TooManyAttempts(1.0)
        if self._waiting < self._most:
            return
        longest = max((other for other in self._queues if other), key=lambda other: len(self._queues[other]))
        if len(self._queues[longest]) <= mine + 1:
            raise TooManyAttempts(1.0)
        newest = self._queues[longest][-1]
        self._remove(longest, newest)
        newest.set_exception(TooManyAttempts(1.0))

    def _pass_on(self) -> None:
        """Give the turn to the first in the queue; its caller moves to the end."""
        while self._queues:
            name = next(iter(self._queues))
            queue = self._queues.pop(name)
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[name] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _remove(self, name: str, turn: Turn) -> None:
        queue = self._queues.get(name)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        self._waiting -= 1
        if not queue:
            del self._queues[name]
