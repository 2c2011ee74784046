"""Checks whether the service listens: before that, data planes would find it unhealthy."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
UNIX = "unix:"
"""A host that begins with it is a Unix socket: its path follows."""
_CONNECT = 1.0
"""Seconds that one attempt may take."""


async def listens(hosts: Iterable[str], port: int) -> bool:
    """Whether a connection to the port is accepted at one of the hosts; it is closed at once.

    A host may be a Unix socket (unix:/path), which has no port.
    """
    for host in hosts:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_CONNECT):
                writer = await _connected(host, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True
    return False


async def _connected(host: str, port: int) -> asyncio.StreamWriter:
    if host.startswith(UNIX):
        return (await asyncio.open_unix_connection(host.removeprefix(UNIX)))[1]
    return (await asyncio.open_connection(host, port))[1]


async def await_listening(
    hosts: Iterable[str], port: int, within: float, clock: Callable[[], float] = time.monotonic
) -> bool:
    """Wait until the port accepts connections; False if it does not `within` these seconds."""
    hosts = tuple(hosts)
    deadline, pause = clock() + within, _FIRST_PAUSE
    while not await listens(hosts, port):
        if clock() + pause > deadline:
            return False
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True
