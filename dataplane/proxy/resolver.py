"""Addresses of instances whose host is a name: looked up again every few seconds, so that a change is followed.

The system's resolver reports no time to live, so the interval is fixed here. Connections to an address that the name
has lost are not used again: idle ones are closed, busy ones after their exchange. While a name cannot be looked up its
last addresses stay. Nothing here is on the path of a request that finds a pooled connection.

All processes of a node try the addresses of a name in one order (`lookups`), so that probes and requests reach the same
addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from dataplane.proxy.lookups import is_address
from dataplane.proxy.pool import Endpoint, close_all

REFRESH: Final = 5.0
"""Seconds between two look-ups of a name in use."""

Lookup = Callable[[str], Awaitable[tuple[str, ...]]]
"""The addresses of a name, in the order in which they are tried. Raises OSError."""


class Resolver:
    """The names in use."""

    def __init__(self, lookup: Lookup, every: float = REFRESH) -> None:
        self._lookup = lookup
        self._every = every
        self._users: dict[str, set[Endpoint]] = {}
        """Endpoints with connections, by the name of their host."""
        self._running: dict[str, asyncio.Task[tuple[str, ...]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def addresses(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Addresses to connect to, in order. Raises OSError."""
        host = endpoint.instance.host
        if is_address(host):
            return (host,)
        if endpoint in self._users.get(host, ()) and endpoint.addresses:
            return endpoint.addresses
        self._users.setdefault(host, set()).add(endpoint)
        # A cancelled caller must not cancel the look-up for the others.
        found = await asyncio.shield(self._look(host))
        if self._timer is None:
            self._start_timer()
        return found

    def doubt(self, endpoint: Endpoint) -> None:
        """None of its addresses could be connected to: the next connection waits for a new look-up."""
        self._users.get(endpoint.instance.host, set()).discard(endpoint)

    def stop(self) -> None:
        """Stop all look-ups."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._running.values():
            task.cancel()

    # --- inside

    def _look(self, host: str) -> asyncio.Task[tuple[str, ...]]:
        task = self._running.get(host)
        if task is None:
            task = self._running[host] = asyncio.get_running_loop().create_task(self._ask(host))
        return task

    async def _ask(self, host: str) -> tuple[str, ...]:
        try:
            found = await self._lookup(host)
        finally:
            del self._running[host]
        for endpoint in self._users.get(host, ()):
            close_all(endpoint.move(found))
        return found

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._refresh)

    def _refresh(self) -> None:
        self._timer = None
        for host, users in list(self._users.items()):
            self._users[host] = used = {each for each in users if each.idle or each.in_flight}
            if used:
                self._look(host).add_done_callback(_forget)
            else:
                del self._users[host]
        if self._users:
            self._start_timer()


def _forget(task: asyncio.Task[tuple[str, ...]]) -> None:
    """A failure changes nothing: the addresses stay as they are."""
    if not task.cancelled():
        task.exception()
