"""Long work beside the event loop: plans of large changes, histories, documents and answers of thousands of resources.

A thread alone is not enough. Python switches threads only between bytecode instructions, so work done here must not
stay long within one C call, and neither may the garbage collector. Freeing an object that holds ten thousand resources
is such a call, too, at whatever place the last reference is dropped: see `retire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

FEW = 16
"""Resources up to which work is done on the event loop: that is faster than waking a thread."""
MOST_READS = 8
"""Reads that may run or wait at once. Each may take a second and many megabytes, and needs only gateway:read."""
SWITCH = 0.001
"""Seconds after which a thread gives way to the event loop."""
CALM = 30.0
"""Most seconds between two full collections."""
LOOK = 0.25
"""Seconds between two looks at how many objects are new."""
GROWN = 3
"""Collections of the middle generation after which a full one is due: some 20,000 new objects, which take a few
milliseconds. A thousand data planes that connect leave hundreds of thousands, which took half a second at once."""
LONG = 0.005
"""Seconds that a full collection may take. After a longer one, the objects that survived it are frozen."""
FREED = 100
"""Objects that are freed in one step: a fraction of a millisecond."""
RETIRED_FOR = 1.0
"""Seconds after which retired objects are no longer in use."""
_NEVER = 1 << 30

# One thread each: two that compute make the event loop wait for both. Reads do not hold up changes.
_changes = ThreadPoolExecutor(1, "changes")
_reads = ThreadPoolExecutor(1, "reads")
_under_way: set[Future[Any]] = set()
_retired: deque[tuple[float, list[object]]] = deque(maxlen=256)
"""Objects to free, and the times at which they were retired. Bounded: without `free` only so much is kept."""


class Busy(Exception):
    """Too many reads are waiting already."""

    def __init__(self) -> None:
        super().__init__(f"{MOST_READS} large responses are already being prepared")


async def change(work: Callable[[], T]) -> T:
    """Run the work of a change, one at a time."""
    return await _in(_changes, work)


def _in(pool: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
    """Work that has begun cannot be cancelled."""
    running = pool.submit(work)
    _under_way.add(running)
    running.add_done_callback(_under_way.discard)
    return asyncio.wrap_future(running)


class Reads:
    """Runs the work of read-only requests, one at a time. The queue is bounded."""

    def __init__(self) -> None:
        self._under_way = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Raises Busy."""
        if self._under_way >= MOST_READS:
            raise Busy
        self._under_way += 1
        # Counted until it is done: a caller that leaves makes no room for the next.
        running = _in(_reads, work)
        running.add_done_callback(self._done)
        return await asyncio.shield(running)

    def _done(self, running: asyncio.Future[T]) -> None:
        self._under_way -= 1
        if not running.cancelled():
            running.exception()  # retrieved here, because the caller may have gone


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """Shorten the interval at which threads switch, and leave full garbage collections to `collect`."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(interval)


def retire(*lots: Collection[object]) -> None:
    """Have the objects in these collections freed in small steps, once those who use them now are done.

    The collections themselves may be freed at any time. Call it from any thread, when the work is done.
    """
    held: list[object] = []
    for lot in lots:
        if len(lot) > FREED:
            held.extend(lot)
    if held:
        _retired.append((time.monotonic(), held))


async def free(sleep: float = RETIRED_FOR / 4) -> None:
    """Free what was retired, until cancelled."""
    while True:
        await asyncio.sleep(sleep)
        while _retired and _retired[0][0] <= time.monotonic() - RETIRED_FOR:
            _, held = _retired.popleft()
            while held:
                del held[-FREED:]
                await asyncio.sleep(0)


async def collect(look: float = LOOK, calm: float = CALM) -> None:
    """Run a full collection whenever many objects are new, and every `calm` seconds, until cancelled.

    When one takes long, the objects that survived it are long-lived; they are frozen, so that later collections skip
    them.
    """
    last = time.monotonic()
    while True:
        await asyncio.sleep(look)
        if _under_way:
            continue  # most of the new objects are freed without it
        if gc.get_count()[2] < GROWN and time.monotonic() - last < calm:
            continue
        began = time.perf_counter()
        gc.collect()
        if time.perf_counter() - began > LONG:
            gc.freeze()
        last = time.monotonic()
