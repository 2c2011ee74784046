"""Clients that have half-closed the connection before their response is complete.

An end of stream means "no more to send" (RFC 9293 section 3.6). A client that waits for its response and one that is
gone both send it. Only the response distinguishes them: a client that is gone resets the connection when it receives
bytes. So such a client gets its response, but only if that begins soon: otherwise the work would be done for nobody.
"""

from __future__ import annotations

from dataplane.proxy.exchange import Exchange


class HalfClosed:
    """The exchanges of such clients, while it is not known whether anybody is there. Times are monotonic seconds."""

    __slots__ = ("_patience", "_watched")

    def __init__(self, patience: float) -> None:
        """`patience`: how long nothing may be sent to such a client before it counts as gone."""
        self._patience = patience
        self._watched: dict[Exchange, tuple[float, int]] = {}
        """When to look, and what had been sent by the time of the look before; -1: look for a reset alone."""

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, exchange: Exchange, now: float) -> None:
        """Its client has ended its side; may be told several times."""
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
                    # Requests were sent without waiting: the next one's answer is waited for.
                    self.watch(client.current, now)
            elif due <= now:
                del self._watched[exchange]
                if client.is_reset() or (before == _progress(exchange) and not client.write_paused):
                    found.append(exchange)
                elif before >= 0:
                    # Something was sent: by the next look the client has had the time to object.
                    self._watched[exchange] = (now + self._patience, -1)
        return found


def _progress(exchange: Exchange) -> int:
    """Grows with whatever is sent of the response."""
    return exchange.sent + exchange.status
