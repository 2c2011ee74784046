"""Looks at the fleet while somebody follows, once for all followers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from controlplane.api.board.board import Board
from controlplane.api.streams import ALIVE, COMMENT
from controlplane.api.traffic_feed import TrafficFeed
from controlplane.distribute.watcher import Watcher
from controlplane.fleet.nodes import Fleet

GAP = 0.5
"""Seconds between two looks: data planes report all the time, and people do not read faster."""
LONGEST = 5.0
"""Seconds after which is looked without a report: some troubles come with time."""
AGAIN = 10.0
"""Seconds after which the rights of a follower are checked again."""


class Broadcast:
    """The followers of a board. Without any, nothing is looked at."""

    def __init__(self, board: Board, watcher: Watcher, fleet: Fleet, traffic: TrafficFeed) -> None:
        self._board, self._watcher, self._fleet, self._traffic = board, watcher, fleet, traffic
        self._wakes: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    def state(self) -> dict[str, object]:
        """Everything, up to date."""
        if not self._wakes:
            self._board.look()
        return self._board.state

    async def follow(
        self, allowed: Callable[[], Awaitable[bool]], *, traffic: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Events, as long as the follower is `allowed` to read them; with `traffic`, the live traffic among them."""
        wake, seen, renewed, checked = asyncio.Event(), -1, 0, _now()
        feed = self._traffic
        with ExitStack() as stack:
            stack.enter_context(feed.renewed.wakes(wake) if traffic else nullcontext())
            stack.enter_context(feed.watched() if traffic else nullcontext())
            stack.enter_context(self._following(wake))
            while True:
                wake.clear()
                if seen != self._board.number:
                    name, data = self._board.since(seen)
                    seen = self._board.number
                    yield _event(name, data)
                if traffic and feed.latest and feed.number != renewed:
                    renewed = feed.number
                    yield _event("traffic", feed.latest)
                if _now() - checked > AGAIN:
                    checked = _now()
                    if not await allowed():
                        return
                if not await _woken(wake):
                    yield COMMENT

    @contextmanager
    def _following(self, wake: asyncio.Event) -> Iterator[None]:
        self._wakes.add(wake)
        if self._task is None:
            self._board.follow()
            self._board.look()
            self._task = asyncio.create_task(self._run(), name="board")
        try:
            yield
        finally:
            self._wakes.discard(wake)
            if not self._wakes:
                self._task.cancel()
                self._task = None
                self._board.unfollow()

    async def _run(self) -> None:
        changed = asyncio.Event()
        with self._watcher.changed.wakes(changed), self._fleet.signals.changed.wakes(changed):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST):
                        await changed.wait()
                changed.clear()
                self._board.look()
                for wake in self._wakes:
                    wake.set()
                await asyncio.sleep(GAP)


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)


async def _woken(wake: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ALIVE):
            await wake.wait()
            return True
    return False


def _now() -> float:
    return asyncio.get_running_loop().time()
