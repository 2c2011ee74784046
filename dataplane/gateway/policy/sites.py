"""The listeners of one port, and the router of each: the host of a request decides which of them gets it.

Precedence as among the hosts of routes: an exact hostname over a wildcard, a longer wildcard over a shorter one, any
hostname over "every host" (Gateway API, Listener.hostname). Listeners are isolated: what the routes of the chosen one
do not match is not found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dataplane.gateway.policy.resources import Listener
from dataplane.gateway.policy.router import Router

NO_ROUTES: Final = Router()


@dataclass(frozen=True, slots=True)
class Misdirected:
    """The connection was made to another listener: its certificate, and what it asked of the client, are those of
    another host (RFC 9110, section 15.5.20)."""


MISDIRECTED: Final = Misdirected()


class Sites:
    """Immutable. The table builder refuses two listeners with the same port and hostname."""

    __slots__ = ("_any", "_exact", "_wildcards", "protocol", "proxies")

    def __init__(self, sites: Iterable[tuple[Listener, Router]]) -> None:
        self._any = NO_ROUTES
        self._exact: dict[str, Router] = {}
        self._wildcards: dict[str, Router] = {}
        """Keyed by the part after the "*": ".example.org"."""
        self.protocol = "http"
        self.proxies: tuple[str, ...] = ()
        """Networks whose connections begin with a PROXY header; like the protocol, of all listeners of the port."""
        for listener, router in sites:
            self.protocol, self.proxies = listener.protocol, listener.proxies
            for host in listener.hostnames or ("",):
                if not host:
                    self._any = router
                elif host.startswith("*."):
                    self._wildcards[host[1:]] = router
                else:
                    self._exact[host] = router

    def misdirected(self, found: Router, server_name: str) -> bool:
        """Whether `found` belongs to another listener than the one that the server name of the connection selected.

        What no listener serves is not found, on every connection (Gateway API, Listener.hostname).
        """
        return self.protocol == "https" and found is not NO_ROUTES and self.find(server_name) is not found

    def find(self, host: str) -> Router:
        """The router of the listener for this host, which is without port and in any case."""
        host = host.lower()
        found = self._exact.get(host)
        if found is None and self._wildcards:
            # At least one character is left for the "*".
            dot = host.find(".", 1)
            while found is None and dot > 0:
                found = self._wildcards.get(host[dot:])
                dot = host.find(".", dot + 1)
        return self._any if found is None else found
