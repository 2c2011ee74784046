"""Deadlines of connections: one periodic tick checks all of them, so that nothing on the request path starts a timer.

Every client connection has one deadline, that of its current phase. The tick also checks clients that are not being
read, and half-closed ones.
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
"""Seconds between two ticks: time-outs are up to this much late."""


class Expiring(Protocol):
    """Something with a deadline."""

    deadline: float
    """Monotonic time at which `expire` is called."""

    def expire(self, now: float) -> None:
        """The deadline has passed: set another one, or end."""


class Deadlines:
    """The deadlines of one worker."""

    def __init__(self, shared: Shared, connections: Iterable[Expiring], pool: Pool) -> None:
        """`connections` iterates over the open connections at each tick."""
        self.half_closed = HalfClosed(shared.bounds.half_close)
        self.unread: set[ClientSide] = set()
        """Clients that are not being read while their bytes wait: the event loop would not see them leave."""
        self.copies: set[ClientSide] = set()
        """The clients of copies of requests: they have no connection."""
        self._shared = shared
        self._connections = connections
        self._pool = pool
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start ticking; may be called repeatedly."""
        if self._timer is None:
            self._tick()

    def stop(self) -> None:
        """Stop ticking."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self, now: float) -> None:
        """Expire the connections whose deadlines have passed."""
        for connection in [c for c in self._connections if c.deadline <= now]:
            connection.expire(now)
        if self.copies:
            for copy in [copy for copy in self.copies if copy.deadline <= now]:
                copy.expire(now)
        if self.unread:
            for client in list(self.unread):
                client.look_at_peer(now)
        if self.half_closed:
            for exchange in self.half_closed.gone(now):
                exchange.client.client_left()

    def _tick(self) -> None:
        now = monotonic()
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        self.look(now)
        if self._shared.second_passed():
            self._pool.sweep(now)
