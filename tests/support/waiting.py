"""Waiting for a condition with a deadline, so that no test sleeps for a guess."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], within: float = 5.0, every: float = 0.01
) -> T: ...
@overload
async def eventually(condition: Callable[[], T], within: float = 5.0, every: float = 0.01) -> T: ...
async def eventually(
    condition: Callable[[], T | Awaitable[T]], within: float = 5.0, every: float = 0.01
) -> T:
    """Return the first truthy value of `condition`; fail after `within` seconds with the last value or error.

    An exception of the condition counts as "not yet": servers that are starting refuse connections.
    """
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            found = condition()
            value = await found if inspect.isawaitable(found) else found
            if value:
                return value
            last = value
        except Exception as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; last seen: {last!r}")
        await asyncio.sleep(every)


def eventually_now(condition: Callable[[], T], within: float = 10.0, every: float = 0.02) -> T:
    """`eventually` for code without an event loop."""
    return asyncio.run(eventually(condition, within, every))
