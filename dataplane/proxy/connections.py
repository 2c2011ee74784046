"""The client connections of one worker: counted from the moment they are accepted, listed once they speak."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.trust import Peer, address_block


class ClientConnection(Protocol):
    """A client's connection, in any protocol."""

    deadline: float
    """Monotonic time at which `expire` is called."""
    transport: asyncio.Transport
    peer: Peer
    entrance: Entrance

    def expire(self, now: float) -> None:
        """The deadline has passed: set another one, or end."""

    def drain(self) -> None:
        """End when nothing is under way, and take at most one more request."""


class Connections:
    """Counts connections against the bounds, and knows those that have begun.

    A connection is admitted when it is accepted, so it counts during its TLS handshake, too. When it ends, `gone` is
    called if it had begun, else `left`.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.refused = 0
        """Connections beyond a bound since the start."""
        self.draining = False
        """Connections that begin from now on drain at once."""
        self._bounds = bounds
        self._admitted = 0
        self._open: set[ClientConnection] = set()
        self._by_block: dict[str, int] = {}
        """Connections of each address block outside the trusted proxies; kept only if they are bounded."""
        self._none = asyncio.Event()

    def __len__(self) -> int:
        return self._admitted

    def __iter__(self) -> Iterator[ClientConnection]:
        return iter(self._open)

    def admit(self, peer: Peer) -> bool:
        """Count a new connection; False if there are too many, of all or of its address."""
        if not self.admit_unnamed():
            return False
        if self.name(peer):
            return True
        self._admitted -= 1
        return False

    def admit_unnamed(self) -> bool:
        """Count a connection whose client is not known yet; False if there are too many."""
        if self._admitted >= self._bounds.connections:
            self.refused += 1
            return False
        self._admitted += 1
        return True

    def name(self, peer: Peer) -> bool:
        """Count a connection that has been admitted as one of this peer; False if it has too many."""
        most = self._bounds.connections_per_address
        if most and not peer.trusted:
            block = address_block(peer.address)
            count = self._by_block.get(block, 0)
            if count >= most:
                self.refused += 1
                return False
            self._by_block[block] = count + 1
        return True

    def begin(self, connection: ClientConnection) -> None:
        """An admitted connection can speak from now on."""
        self._open.add(connection)
        if self.draining or connection.entrance.draining:
            connection.drain()

    def hand_over(self, connection: ClientConnection) -> None:
        """The TLS handshake is complete: the application protocol's connection replaces this one."""
        self._open.discard(connection)

    def gone(self, connection: ClientConnection) -> None:
        """A connection has ended; may be called twice."""
        if connection in self._open:
            self._open.remove(connection)
            self.left(connection.peer)

    def left(self, peer: Peer | None) -> None:
        """An admitted connection is closed; None for one that never named its client."""
        self._admitted -= 1
        if peer is not None and self._bounds.connections_per_address and not peer.trusted:
            block = address_block(peer.address)
            count = self._by_block[block] - 1
            if count:
                self._by_block[block] = count
            else:
                del self._by_block[block]
        if not self._admitted:
            self._none.set()

    def replace(self, before: ClientConnection, after: ClientConnection) -> None:
        """The connection uses another protocol from now on."""
        self._open.remove(before)
        self._open.add(after)

    async def all_gone(self) -> None:
        """Wait until none is left."""
        self._none.clear()
        if self._admitted:
            await self._none.wait()
