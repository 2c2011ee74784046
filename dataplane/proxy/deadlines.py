"""Who is due: one tick looks for deadlines that have passed, so that nothing on the request path starts a timer.

Every client connection has one deadline, of the phase that it is in. Beside it, clients are looked at that nothing is
read from, and those that have ended their side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic
from typing import Final, Protocol

from dataplane.proxy.exchange import ClientSide
from dataplane.proxy.half_closed import HalfClosed
from dataplane.proxy.pool import Pool
from dataplane.proxy.shared import Shared

TICK: Final = 0.1
"""Seconds between looks at the deadlines: time-outs come up to this much late."""


class Expiring(Protocol):
    """Something with a deadline."""

    deadline: float
    """Monotonic time at which `expire` is called."""

    def expire(self, now: float) -> None:
        """The deadline has passed: set another one, or end."""


class Deadlines:
    """The deadlines of one worker."""

    def __init__(self, shared: Shared, connections: Iterable[Expiring], pool: Pool) -> None:
        """`connections` are all that there are at the time of each look."""
        self.half_closed = HalfClosed(shared.bounds.half_close)
        self.unread: set[ClientSide] = set()
        """Clients that nothing is read from while what they sent waits: not even that they leave."""
        self._shared = shared
        self._connections = connections
        self._pool = pool
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Tick from now on; may be called again."""
        if self._timer is None:
            self._tick()

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self, now: float) -> None:
        """Expire the connections whose deadlines have passed."""
        for connection in [c for c in self._connections if c.deadline <= now]:
            connection.expire(now)
        if self.unread:
            for client in list(self.unread):
                client.look_at_peer(now)
        if self.half_closed:
            for exchange in self.half_closed.gone(now):
                exchange.client.left()

    def _tick(self) -> None:
        now = monotonic()
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        self.look(now)
        if self._shared.second_passed():
            self._pool.sweep(now)
