"""A tunnel: after a 101, bytes go both ways between a client and an instance, unread.

    client ⇄ End ─ Tunnel ─ End ⇄ instance

Each end takes the place of the HTTP protocol on its transport. A slow reader on one side pauses reading on the other.
An end of stream is passed on if the transport can half-close, and closes both sides if it cannot (TLS). Both sides
close when no byte moves for the service's idle time. The exchange ends when both sides are closed: then bytes and
duration are logged. Its breaker trial was settled when the tunnel began, because a tunnel may outlive any window.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Self

from dataplane.proxy.connections import Connections
from dataplane.proxy.exchange import Decider, Exchange, Result


class End(asyncio.Protocol):
    """One side of a tunnel."""

    __slots__ = ("_heard", "_other", "_over", "_tunnel", "moved", "transport")

    _other: End | None
    """None before they are joined and after both are closed, which breaks the reference cycle."""

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.moved = 0
        """Bytes received on this side."""
        self._tunnel: Tunnel | None = tunnel
        self._other = None
        self._heard = self._over = False

    def join(self, other: End) -> Self:
        """Relay what this side receives to the other side."""
        self._other = other
        self.transport.set_protocol(self)
        return self

    def part(self) -> None:
        """Both sides are closed."""
        self._other = self._tunnel = None

    def data_received(self, data: bytes) -> None:
        assert self._other is not None and self._tunnel is not None
        self.moved += len(data)
        self._tunnel.touch()
        if not self._other.transport.is_closing():
            self._other.transport.write(data)

    def eof_received(self) -> bool:
        """True when this side stays open for the other side's remaining bytes."""
        assert self._other is not None and self._tunnel is not None
        theirs = self._other.transport
        self._heard = True
        if self._other._heard or not (self.transport.can_write_eof() and theirs.can_write_eof()):
            return False
        if not theirs.is_closing():
            theirs.write_eof()
        return True

    def pause_writing(self) -> None:
        assert self._other is not None and self._tunnel is not None
        if not self._other.transport.is_closing():
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        assert self._other is not None and self._tunnel is not None
        self._tunnel.touch()
        if not self._other.transport.is_closing():
            self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over:
            assert self._other is not None and self._tunnel is not None
            self._over = True
            if exc is None:
                self._other.transport.close()
            else:
                self._other.transport.abort()
            self._tunnel.lost()


class Tunnel:
    """Both ends, and the exchange they belong to. It replaces the client's connection in `Connections`."""

    __slots__ = (
        "_client",
        "_connections",
        "_exchange",
        "_idle",
        "_instance",
        "_linger",
        "_open",
        "deadline",
        "entrance",
        "peer",
        "transport",
    )

    def __init__(
        self,
        exchange: Exchange,
        client: asyncio.Transport,
        instance: asyncio.Transport,
        linger: float,
        connections: Connections,
    ) -> None:
        """`linger` is how long an end may take to close."""
        assert exchange.plan is not None
        self.transport = client
        self.peer = exchange.client.peer
        self.entrance = exchange.client.entrance
        self.deadline = 0.0
        """Monotonic time at which `expire` is called."""
        self._linger = linger
        self._connections = connections
        self._exchange = exchange
        self._idle = exchange.plan.idle_timeout
        self._client = End(self, client)
        self._instance = End(self, instance)
        self._open = 2

    def begin(self, decider: Decider, head: bytes, early: bytes, first: bytes, now: float) -> None:
        """Forward the 101 and the bytes received after it: `early` from the client, `first` from the instance."""
        exchange, client, instance = self._exchange, self._client, self._instance
        exchange.status = 101
        exchange.keep_alive = False
        exchange.streamed_at = now
        # The lifetime of a tunnel is not a latency of the service.
        exchange.sent_at = 0.0
        exchange.result = Result.ANSWERED
        decider.tunnelled(exchange, now)
        self.deadline = now + self._idle
        instance.join(client)
        client.join(instance)
        client.moved, instance.moved = len(early), len(first)
        client.transport.write(head + first)
        if early:
            instance.transport.write(early)

    def touch(self) -> None:
        """Bytes were relayed: extend the deadline."""
        self.deadline = monotonic() + self._idle

    def expire(self, now: float) -> None:
        """No bytes for the idle time: close; or not closed within the linger time: abort."""
        closing = self._client.transport.is_closing() or self._instance.transport.is_closing()
        self.deadline = now + self._linger
        for end in (self._client, self._instance):
            if closing:
                end.transport.abort()
            else:
                end.transport.close()

    def drain(self) -> None:
        """A drain waits for the tunnel as for any exchange, and aborts it at the end."""

    def lost(self) -> None:
        """One end is closed. The other has `linger` seconds to read what was sent to it."""
        self._open -= 1
        now = monotonic()
        if self._open:
            self.deadline = now + self._linger
            return
        exchange = self._exchange
        exchange.received, exchange.sent = self._client.moved, self._instance.moved
        exchange.client.tunnel_ended(exchange, now)
        self._connections.gone(self)
        self._client.part()
        self._instance.part()
