"""Turns are dealt out by caller, not by request."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from controlplane.identity import TooManyAttempts, Turns


class Counter:
    """Serves a number of callers at once, each until the test releases it."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.served: list[str] = []
        self._go = asyncio.Semaphore(0)

    async def ask(self, caller: str | None) -> None:
        async with self.turns.take(caller):
            self.served.append(caller or "self")
            await self._go.acquire()

    async def queue(self, *callers: str | None) -> list[asyncio.Task[None]]:
        tasks = []
        for caller in callers:
            tasks.append(asyncio.create_task(self.ask(caller)))
            await asyncio.sleep(0)
        return tasks

    async def serve(self, count: int) -> None:
        for _ in range(count):
            self._go.release()
        for _ in range(10 * count):
            await asyncio.sleep(0)


async def test_each_caller_has_a_turn_before_any_has_a_second() -> None:
    counter = Counter(Turns(1))
    await counter.queue("a", "a", "a", "a", "b", "c", "b")
    await counter.serve(7)
    assert counter.served == ["a", "a", "b", "c", "a", "b", "a"]


async def test_one_caller_has_only_so_many_places() -> None:
    counter = Counter(Turns(1, most_each=2))
    *_, last = await counter.queue("a", "a", "a", "a")
    with pytest.raises(TooManyAttempts):
        await last
    await counter.queue("b")


async def test_the_longest_queue_gives_way() -> None:
    counter = Counter(Turns(1, most=4))
    tasks = await counter.queue("x", "a", "a", "a", "b", "c")
    with pytest.raises(TooManyAttempts):
        await tasks[3]
    (fair,) = await counter.queue("d")
    with pytest.raises(TooManyAttempts):
        await tasks[2]
    (late,) = await counter.queue("e")
    with pytest.raises(TooManyAttempts):
        await late
    await counter.serve(6)
    assert counter.served == ["x", "a", "b", "c", "d"] and fair.done()


async def test_the_control_plane_itself_is_never_refused() -> None:
    counter = Counter(Turns(1, most=2, most_each=1))
    await counter.queue("a", "b", "c", *[None] * 20)
    await counter.serve(23)
    assert counter.served.count("self") == 20


async def test_nobody_waits_for_ever() -> None:
    counter = Counter(Turns(1, patience=0.01))
    _, waiting = await counter.queue("a", "b")
    with pytest.raises(TooManyAttempts):
        await waiting
    await counter.queue("c")
    await counter.serve(2)
    assert counter.served == ["a", "c"]


async def test_a_caller_that_goes_away_leaves_its_turn_to_the_next() -> None:
    counter = Counter(Turns(1))
    first, second, third = await counter.queue("a", "b", "c")
    second.cancel()
    await counter.serve(1)
    first.cancel()
    third.cancel()
    for task in (first, second, third):
        with suppress(asyncio.CancelledError):
            await task
    await counter.queue("d", "e")
    await counter.serve(2)
    assert counter.served == ["a", "c", "d", "e"]
