"""Long work in short steps."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from dataplane.config.table import Steps

T = TypeVar("T")


async def in_steps(steps: Steps[T]) -> T:
    """Run the steps one by one, with traffic in between."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found
        await asyncio.sleep(0)
