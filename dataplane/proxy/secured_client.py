"""TLS on a client's connection.

The deadline of the handshake is one of those that the worker's tick looks at. Closing reads on after close_notify,
throwing away what comes, until the peer has ended its side too. How long it may take for that, and to take what was
sent to it, is for the protocol above to say, which aborts in the end.
"""

from __future__ import annotations

import asyncio
import ssl
from time import monotonic

from dataplane.proxy.connections import Connections
from dataplane.proxy.secured import Secured
from dataplane.proxy.trust import Peer


class SecuredClient(Secured):
    """One connection. Counts among the client connections until the handshake is done; then what is above does."""

    __slots__ = ("_connections", "deadline", "peer")

    def __init__(
        self,
        context: ssl.SSLContext,
        above: asyncio.Protocol,
        peer: Peer,
        connections: Connections,
        handshake_timeout: float,
    ) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        super().__init__(incoming, outgoing, context.wrap_bio(incoming, outgoing, server_side=True), above)
        self.peer = peer
        self.deadline = monotonic() + handshake_timeout
        """Monotonic time at which `expire` is called."""
        self._connections = connections

    # --- a client connection, during the handshake

    def expire(self, now: float) -> None:
        """The handshake takes too long."""
        self.transport.abort()

    def drain(self) -> None:
        """Nothing is under way."""
        self.transport.abort()

    # --- of the base

    def _begin(self) -> None:
        self._connections.begin(self)

    def _established(self) -> None:
        if self._tls.version() == "TLSv1.3":
            # What is left are session tickets: they travel with the first response.
            self._held = self._outgoing.pending > 0
        else:
            self._flush()
        self._connections.hand_over(self)
        self._above.connection_made(self)

    def _cut_off(self) -> None:
        # What is above has no use for half a connection of TLS.
        self._above.eof_received()

    def _lost_early(self, exc: Exception | None) -> None:
        self._connections.gone(self)

    def _leave(self) -> None:
        if self._ended:
            self.transport.close()
            return
        self.transport.resume_reading()
        self.transport.write_eof()
