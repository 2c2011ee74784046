"""Waits for a condition with a deadline, so that no test sleeps for an estimated time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast, overload

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a condition counts as failed. Only a failing test waits for so long, so this is generous for a
busy machine. A test about a time-out gives a shorter time."""


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], within: float = PATIENCE, every: float = 0.01
) -> T: ...
@overload
async def eventually(condition: Callable[[], T], within: float = PATIENCE, every: float = 0.01) -> T: ...
async def eventually(
    condition: Callable[[], T | Awaitable[T]], within: float = PATIENCE, every: float = 0.01
) -> T:
    """Return the first truthy value of `condition`; fail after `within` seconds with the last value or error.

    An exception of the condition counts as "not yet": servers that are starting refuse connections.
    """
    attempt = _Attempt(within)
    while not attempt.over():
        with attempt:
            found = condition()
            attempt.value = await found if inspect.isawaitable(found) else found
        await asyncio.sleep(0 if attempt.over() else every)
    return cast(T, attempt.value)


def eventually_now(condition: Callable[[], T], within: float = PATIENCE, every: float = 0.02) -> T:
    """`eventually` for code that may block."""
    attempt = _Attempt(within)
    while not attempt.over():
        with attempt:
            attempt.value = condition()
        time.sleep(0 if attempt.over() else every)
    return cast(T, attempt.value)


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE) -> T:
    """Await; TimeoutError after this number of seconds."""
    async with asyncio.timeout(seconds):
        return await awaitable


class _Attempt:
    """Common parts of both: the deadline, and the last seen value."""

    def __init__(self, within: float) -> None:
        self.within = within
        self.deadline = time.monotonic() + within
        self.value: object = None
        self._met = False

    def over(self) -> bool:
        return self._met

    def __enter__(self) -> None:
        self.value = None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is not None and not isinstance(error, Exception):
            return False
        self.value = error or self.value
        # Evaluated now, because a list that is empty at this moment may be filled later.
        self._met = error is None and bool(self.value)
        if not self.over() and time.monotonic() > self.deadline:
            raise AssertionError(f"not within {self.within} s; last seen: {self.value!r}") from error
        return True
