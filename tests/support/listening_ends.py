"""The end of a test's server, without connections that stay open."""

from __future__ import annotations

import asyncio
from typing import Final

_TURNS: Final = 5
"""Turns of the event loop from an accepted socket to the call of the server's callback, and one more."""


async def stop_listening(server: asyncio.Server) -> None:
    """Stop accepting, wait until the callback has been called for all accepted connections, and close the listener.

    A socket that is accepted in the turn in which its `asyncio.Server` closes gets no transport, and stays open
    (CPython 3.11, `Server._attach`).
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.SelectorEventLoop):
        for listener in server.sockets:
            loop.remove_reader(listener)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    server.close()
