"""Happy Eyeballs (RFC 8305 section 5): connects to the first of several addresses that accepts.

An address whose packets are dropped never answers. So the next address is tried in parallel after a moment, or at once
when one refuses; the first connection is used, and the other attempts end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from dataplane.proxy.descriptors import EXHAUSTED

T = TypeVar("T")

DELAY: Final = 0.25
"""Seconds before the next attempt starts; RFC 8305 section 8 recommends this value."""


async def connect_first(
    addresses: Sequence[str],
    connect: Callable[[str], Coroutine[Any, Any, T]],
    end: Callable[[T], None],
    delay: float = DELAY,
) -> T:
    """The first connection that `connect` makes; the addresses, at least one, are tried in order.

    `end` gets every further connection. Raises the OSError of an address that failed; an error of the instance takes
    precedence over one of this machine, such as a missing address family.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    loop = asyncio.get_running_loop()
    left = list(addresses)
    attempts: list[asyncio.Task[T]] = []
    failure: OSError | None = None
    try:
        while left or attempts:
            if left:
                attempts.append(loop.create_task(connect(left.pop(0))))
            wait = delay if left else None
            done, _ = await asyncio.wait(attempts, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for attempt in [each for each in attempts if each in done]:
                attempts.remove(attempt)
                try:
                    return attempt.result()
                except OSError as error:
                    if failure is None or failure.errno in EXHAUSTED:
                        failure = error
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_Leftover(end))
            attempt.cancel()
    raise failure or OSError("no address")


class _Leftover:
    """Ends the connection of an attempt that has succeeded too late."""

    def __init__(self, end: Callable[[Any], None]) -> None:
        self._end = end

    def __call__(self, attempt: asyncio.Task[Any]) -> None:
        if not attempt.cancelled() and attempt.exception() is None:
            self._end(attempt.result())
