"""The engine of one worker, put together; none of its parts knows this module.

Listener → Downstream (client) → Decider (gateway) → Dialer → Upstream (instance)
                 └─ Deadlines look after all of them
"""

from __future__ import annotations

import asyncio
import socket

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import Connections
from dataplane.proxy.connector import Connector
from dataplane.proxy.copies import Copier
from dataplane.proxy.deadlines import Deadlines
from dataplane.proxy.dialer import Dialer
from dataplane.proxy.downstream import Downstream
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.errors import TooManyConnections
from dataplane.proxy.exchange import Decider
from dataplane.proxy.fields.trace import Parents
from dataplane.proxy.http1.reply_writer import whole_reply
from dataplane.proxy.listener import Listener
from dataplane.proxy.lookups import Lookups
from dataplane.proxy.pool import Pool
from dataplane.proxy.shared import Shared
from dataplane.proxy.tls import Front
from dataplane.proxy.tls_port import PortFront
from dataplane.proxy.trust import Peer, TrustedProxies


class Proxy:
    """Serves client connections until it is drained. Belongs to one event loop."""

    def __init__(
        self,
        decider: Decider,
        pool: Pool,
        bounds: Bounds | None = None,
        trusted: TrustedProxies | None = None,
        lookups: Lookups | None = None,
        connector: Connector | None = None,
        *,
        trace_sampling: float = 1.0,
        send_via: bool = True,
        parents: Parents | None = None,
    ) -> None:
        """`lookups` are of names of instances, which `connector` connects to; the others are as for `Shared`."""
        self.shared = Shared(
            decider, bounds, trusted, trace_sampling=trace_sampling, send_via=send_via, parents=parents
        )
        self.connections = Connections(self.shared.bounds)
        self.dialer = Dialer(self.shared, pool, lookups, connector)
        decider.use_sender(self.dialer)
        self.deadlines = Deadlines(self.shared, self.connections, pool)
        self.copier = Copier(self.dialer, self.deadlines, self.shared.bounds.replay)
        decider.equip(self.copier)
        self._pool = pool
        shared = self.shared
        self._listener = Listener(
            self._connection, self.connections, shared.bounds, shared.trusted, self._refusal
        )

    async def start(
        self,
        listener: socket.socket,
        front: Front | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        """Accept connections on a socket that is bound to a port of the settings; see `Listener.start`."""
        self.open(listener, self.shared.entrance, front, proxies)

    def open(
        self,
        listener: socket.socket,
        entrance: Entrance,
        front: Front | PortFront | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        """Accept connections that come through this entrance."""
        self.deadlines.start()
        self._listener.start(listener, entrance, front, proxies)

    def close(self, entrance: Entrance, timeout: float) -> None:
        """Close the entrance; see `Listener.close`."""
        self._listener.close(entrance, timeout)

    async def drain(self, timeout: float) -> None:
        """Stop accepting, let exchanges finish for at most `timeout` seconds, then close everything."""
        self.shared.draining = True
        await self._listener.drain(timeout)
        self.copier.stop()
        self._pool.close()
        self.deadlines.stop()
        await self.dialer.stop()

    def _connection(self, peer: Peer, entrance: Entrance) -> asyncio.Protocol:
        return Downstream(self.shared, self.connections, self.dialer, self.deadlines, peer, entrance)

    def _refusal(self) -> bytes:
        """The response to a connection beyond the bound, sent without waiting for a request."""
        shared = self.shared
        reply = shared.decider.refuse(None, TooManyConnections())
        return whole_reply(reply, shared.date, shared.request_id(), True, False, False)
