"""TLS on a client's connection.

The worker's tick checks the deadline of the handshake with all others. After close_notify, the connection reads and
discards until the peer has ended its side, too. The protocol above bounds that time, and the time to send, and then
aborts.
"""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic

from dataplane.proxy.connections import Connections
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.tls_transport import TlsTransport
from dataplane.proxy.trust import Peer


class TlsDownstream(TlsTransport):
    """One connection. Counts as a client connection until the handshake is complete; then the protocol above does."""

    __slots__ = ("_connections", "deadline", "entrance", "peer")

    def __init__(
        self,
        context: ssl.SSLContext,
        above: asyncio.Protocol,
        peer: Peer,
        connections: Connections,
        handshake_timeout: float,
        entrance: Entrance,
    ) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        super().__init__(incoming, outgoing, context.wrap_bio(incoming, outgoing, server_side=True), above)
        self.peer = peer
        self.entrance = entrance
        self.deadline = monotonic() + handshake_timeout
        """Monotonic time at which `expire` is called."""
        self._connections = connections

    # --- a client connection, during the handshake

    def expire(self, now: float) -> None:
        """Abort: the handshake takes too long."""
        self.transport.abort()

    def drain(self) -> None:
        """Abort: there is no exchange yet."""
        self.transport.abort()

    # --- of the base

    def _begin(self) -> None:
        self._connections.begin(self)

    def _established(self) -> None:
        if self._tls.version() == "TLSv1.3":
            # The remaining records are session tickets: they are sent with the first response.
            self._held = self._outgoing.pending > 0
        else:
            self._flush()
        self._connections.hand_over(self)
        self._above.connection_made(self)

    def _cut_off(self) -> None:
        # The protocol above does not support half-closed TLS connections.
        self._above.eof_received()

    def _lost_early(self, exc: Exception | None) -> None:
        self._connections.gone(self)

    def _leave(self) -> None:
        if self._ended:
            self.transport.close()
            return
        self.transport.resume_reading()
        self.transport.write_eof()
