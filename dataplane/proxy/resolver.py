"""Addresses of instances whose host is a name: looked up again every few seconds, so that a change is followed.

The system's resolver tells no time to live, so that the interval is ours. Connections to an address that the name has
lost are not used again: idle ones are closed, busy ones after their exchange. While a name cannot be looked up its last
addresses stay. Nothing here is on the path of a request that finds a pooled connection.

All processes of a node try the addresses of a name in one order, so that probes judge what requests meet.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Final

from dataplane.proxy.pool import Endpoint, close_all

REFRESH: Final = 5.0
"""Seconds between two look-ups of a name in use."""

Lookup = Callable[[str], Awaitable[tuple[str, ...]]]
"""The addresses of a name, in the order in which they are tried. Raises OSError."""


async def look_up(host: str) -> tuple[str, ...]:
    """The addresses of a host, by the system's resolver; of an address itself without any. Raises OSError."""
    if is_address(host):
        return (host,)
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return in_order(str(entry[4][0]) for entry in found)


def is_address(host: str) -> bool:
    """Whether it is an IP address, and nothing has to be looked up."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def in_order(addresses: Iterable[str]) -> tuple[str, ...]:
    """The family that comes first comes first; within one sorted, because name servers rotate what they answer."""
    unique = list(dict.fromkeys(addresses))
    families = list(dict.fromkeys(":" in address for address in unique))
    return tuple(sorted(unique, key=lambda each: (families.index(":" in each), _number(each))))


def _number(address: str) -> int:
    return int(ip_address(address.partition("%")[0]))


class Resolver:
    """The names in use."""

    def __init__(self, lookup: Lookup = look_up, every: float = REFRESH) -> None:
        self._lookup = lookup
        self._every = every
        self._users: dict[str, set[Endpoint]] = {}
        """Endpoints with connections, by the name of their host."""
        self._running: dict[str, asyncio.Task[tuple[str, ...]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def addresses(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Where to connect to, one after the other. Raises OSError."""
        host = endpoint.instance.host
        if is_address(host):
            return (host,)
        if endpoint in self._users.get(host, ()) and endpoint.addresses:
            return endpoint.addresses
        self._users.setdefault(host, set()).add(endpoint)
        # One that waits no longer must not take the answer from the others.
        found = await asyncio.shield(self._look(host))
        if self._timer is None:
            self._start_timer()
        return found

    def doubt(self, endpoint: Endpoint) -> None:
        """None of its addresses could be connected to: the next connection waits for a new look-up."""
        self._users.get(endpoint.instance.host, set()).discard(endpoint)

    def stop(self) -> None:
        """Look up nothing more."""
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
    """A failure is nobody's: the addresses stay as they are."""
    if not task.cancelled():
        task.exception()
