"""The ports of listeners in a worker: opened when the table has them, closed when the supervisor says so.

The supervisor binds the sockets and passes them over a socket pair of their own, before it sends the change that needs
them. It has a port closed only when every worker serves a table without it, so that a change can be taken back.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from dataplane.config.table import Table
from dataplane.gateway.decide import Gateway
from dataplane.gateway.policy.sites import Sites
from dataplane.proxy.entrance import Entrance
from dataplane.proxy.listener import BACKLOG
from dataplane.proxy.proxy import Proxy
from dataplane.proxy.tls_port import PortFront
from dataplane.proxy.trust import TrustedProxies

Terms: TypeAlias = tuple[str, tuple[str, ...], tuple[str, bool] | None]
"""What a port asks of every connection when it begins: the protocol, the PROXY header, and the client's certificate."""


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
        self._open: dict[int, _Open] = {}
        self._fronts: dict[int, PortFront] = {}

    def take(self, ports: list[int]) -> None:
        """Take sockets that the supervisor has passed: one message for these ports, in this order."""
        assert self._passed is not None
        _, descriptors, _, _ = socket.recv_fds(self._passed, 1, len(ports))
        for port, descriptor in zip(ports, descriptors, strict=True):
            bound = socket.socket(fileno=descriptor)
            if port in self._sockets or port in self._open:
                bound.close()
            else:
                self._sockets[port] = bound

    def prepare(self, table: Table) -> None:
        """Get ready for the table before it is in force: let the system queue connections for its new ports, and use
        its certificates. Raises OSError and BadChain."""
        for port in table.sites:
            if (bound := self._sockets.get(port)) is not None:
                bound.listen(BACKLOG)
        for port, tls in table.tls.items():
            front = self._fronts.get(port)
            if front is None:
                self._fronts[port] = PortFront(tls)
            elif front.port is not tls:
                front.adopt(tls)

    def serve(self) -> None:
        """Accept connections from now on."""
        self._serving = True
        self.follow(self._gateway.table)

    def follow(self, table: Table) -> None:
        """Accept connections on the table's new ports, and on those with other terms from now on.

        Connections that were made on the earlier terms end: they may have shown no certificate, or one of an authority
        that is not trusted any more.
        """
        if not self._serving:
            return
        for port, sites in table.sites.items():
            opened = self._open.get(port)
            if opened is None:
                if (bound := self._sockets.pop(port, None)) is not None:
                    self._start(port, bound, sites, _terms(table, port))
            elif opened.terms != (terms := _terms(table, port)):
                # The queue of connections is that of the socket, which stays open.
                self._proxy.close(opened.entrance, self._drain_timeout)
                self._start(port, opened.bound, sites, terms)

    def close(self, ports: Iterable[int]) -> None:
        """Close these ports: connections end after their current response, within the time to drain."""
        for port in ports:
            if (bound := self._sockets.pop(port, None)) is not None:
                bound.close()
            if (opened := self._open.pop(port, None)) is not None:
                del self._gateway.entrances[port]
                self._proxy.close(opened.entrance, self._drain_timeout)
                opened.bound.close()
            self._fronts.pop(port, None)

    def end(self) -> None:
        """The worker drains: it keeps no socket on which the system would go on to queue connections."""
        for bound in (*self._sockets.values(), *(opened.bound for opened in self._open.values())):
            bound.close()
        self._serving = False

    def _start(self, port: int, bound: socket.socket, sites: Sites, terms: Terms) -> None:
        front = self._fronts[port] if sites.protocol == "https" else None
        entrance = self._gateway.entrances[port] = Entrance(sites)
        proxies = TrustedProxies(sites.proxies) if sites.proxies else None
        self._proxy.open(bound.dup(), entrance, front, proxies)
        self._open[port] = _Open(entrance, bound, terms)


@dataclass(frozen=True, slots=True)
class _Open:
    """An open port."""

    entrance: Entrance
    bound: socket.socket
    """Kept, so that the port can change its protocol without losing connections that wait."""
    terms: Terms


def _terms(table: Table, port: int) -> Terms:
    sites, tls = table.sites[port], table.tls.get(port)
    asked = (tls.options.client_ca, tls.options.client_required) if tls is not None else None
    return sites.protocol, sites.proxies, asked
