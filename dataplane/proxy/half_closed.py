"""Clients that have half-closed the connection before their response is complete.

An end of stream means "no more to send" (RFC 9293 section 3.6). A client that waits for its response and one that is
gone both send it. Only the response distinguishes them: a client that is gone resets the connection when it receives
bytes. So such a client gets its response, but only if that begins soon: otherwise the instance would work for a client
that may be gone.
"""

from __future__ import annotations

from dataplane.proxy.exchange import Exchange


class HalfClosed:
    """The exchanges of such clients, until it is known whether the client is still there. Times are monotonic
    seconds."""

    __slots__ = ("_patience", "_watched")

    def __init__(self, patience: float) -> None:
        """`patience`: how long nothing may be sent to such a client before it counts as gone."""
        self._patience = patience
        self._watched: dict[Exchange, tuple[float, int]] = {}
        """Time of the next check, and bytes sent by the last one; -1: check for a reset alone."""

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, exchange: Exchange, now: float) -> None:
        """Its client has ended its side; may be called several times."""
        if exchange not in self._watched:
            self._watched[exchange] = (now + self._patience, _progress(exchange))

    def gone(self, now: float) -> list[Exchange]:
        """Exchanges whose clients are gone, or have waited too long."""
        found = []
        for exchange, (due, before) in list(self._watched.items()):
            client = exchange.client
            if exchange.ended:
                del self._watched[exchange]
                if client.current is not None:
                    # A pipelined request follows: the client waits for its response.
                    self.watch(client.current, now)
            elif due <= now:
                del self._watched[exchange]
                if client.is_reset() or (before == _progress(exchange) and not client.write_paused):
                    found.append(exchange)
                elif before >= 0:
                    # Bytes were sent: by the next check, a client that is gone has reset the connection.
                    self._watched[exchange] = (now + self._patience, -1)
        return found


def _progress(exchange: Exchange) -> int:
    """A number that grows with every byte sent of the response."""
    return exchange.sent + exchange.status
