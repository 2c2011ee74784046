"""A service that only listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    """Accept connections at 127.0.0.1, and close them at once."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
        yield


@asynccontextmanager
async def listening_at(path: Path) -> AsyncIterator[None]:
    """Accept connections at a Unix socket, and close them at once."""
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), path):
        yield
