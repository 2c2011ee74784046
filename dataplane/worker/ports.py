"""The ports of listeners in a worker: opened when the table has them, closed when the supervisor says so.

The supervisor binds the sockets and passes them over a socket pair of their own, before it sends the change that needs
them. It has a port closed only when every worker serves a table without it, so that a change can be taken back.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

from dataplane.config.table import Table
from dataplane.gateway.decide import Gateway
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.listener import BACKLOG
from dataplane.proxy.proxy import Proxy


class Ports:
    """Follows the table in force."""

    def __init__(
        self, proxy: Proxy, gateway: Gateway, passed: socket.socket | None, drain_timeout: float
    ) -> None:
        """`passed`: the end of the socket pair over which sockets arrive."""
        self._proxy = proxy
        self._gateway = gateway
        self._passed = passed
        self._drain_timeout = drain_timeout
        self._serving = False
        self._sockets: dict[int, socket.socket] = {}
        """Bound, and not open yet."""

    def take(self, ports: list[int]) -> None:
        """Take sockets that the supervisor has passed: one message for these ports, in this order."""
        assert self._passed is not None
        _, descriptors, _, _ = socket.recv_fds(self._passed, 1, len(ports))
        for port, descriptor in zip(ports, descriptors, strict=True):
            bound = socket.socket(fileno=descriptor)
            if port in self._sockets or port in self._gateway.entrances:
                bound.close()
            else:
                self._sockets[port] = bound

    def listen(self, table: Table) -> None:
        """Let the system queue connections for the table's new ports. Raises OSError."""
        for port in table.sites:
            if (bound := self._sockets.get(port)) is not None:
                bound.listen(BACKLOG)

    def serve(self) -> None:
        """Accept connections from now on."""
        self._serving = True
        self.follow(self._gateway.table)

    def follow(self, table: Table) -> None:
        """Accept connections on the table's new ports."""
        if not self._serving:
            return
        for port, sites in table.sites.items():
            if (bound := self._sockets.pop(port, None)) is not None:
                entrance = self._gateway.entrances[port] = Entrance(sites)
                self._proxy.open(bound, entrance)

    def close(self, ports: Iterable[int]) -> None:
        """Close these ports: connections end after their current response, within the time to drain."""
        for port in ports:
            if (bound := self._sockets.pop(port, None)) is not None:
                bound.close()
            if (entrance := self._gateway.entrances.pop(port, None)) is not None:
                self._proxy.close(entrance, self._drain_timeout)
