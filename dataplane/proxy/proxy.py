"""The engine of one worker, put together; none of its parts knows this module.

Listener → Downstream (client) → Decider (gateway) → Dialer → Upstream (instance)
                 └─ Deadlines look after all of them
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.client import Downstream
from dataplane.proxy.deadlines import Deadlines
from dataplane.proxy.dialer import Dialer
from dataplane.proxy.exchange import Decider
from dataplane.proxy.listener import Connections, Listener
from dataplane.proxy.pool import Pool
from dataplane.proxy.shared import Shared
from dataplane.proxy.trust import TrustedProxies


class Proxy:
    """Serves client connections until it is drained. Belongs to one event loop."""

    def __init__(
        self,
        decider: Decider,
        pool: Pool,
        bounds: Bounds | None = None,
        trusted: TrustedProxies | None = None,
    ) -> None:
        self.shared = Shared(decider, bounds, trusted)
        self.connections = Connections(self.shared.bounds)
        self.dialer = Dialer(self.shared, pool)
        self.deadlines = Deadlines(self.shared, self.connections, pool)
        self._pool = pool
        self._listener = Listener(self.connection, self.connections, self.shared.bounds)

    def connection(self, scheme: str = "http", source: str | None = None) -> asyncio.Protocol:
        """The protocol of a new client connection."""
        return Downstream(self.shared, self.connections, self.dialer, self.deadlines, scheme, source)

    async def start(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        """Accept connections on a bound socket; see `Listener.start`."""
        self.deadlines.start()
        await self._listener.start(listener, tls, proxies)

    async def drain(self, timeout: float) -> None:
        """Accept nothing more, finish what is under way for at most `timeout` seconds, then close everything."""
        self.shared.draining = True
        await self._listener.drain(timeout)
        self._pool.close()
        self.deadlines.stop()
        await self.dialer.stop()
