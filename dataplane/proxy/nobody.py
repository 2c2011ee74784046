"""The client of a request that did not come over a connection."""

from __future__ import annotations

from dataplane.proxy.entrance import Entrance
from dataplane.proxy.exchange import ClientSide, Exchange
from dataplane.proxy.trust import Peer


class Nobody(ClientSide):
    """`outcome` is the decision on its exchange, once `known`."""

    __slots__ = ("known", "outcome")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.address = peer.address
        self.entrance = Entrance()
        self.server_name = ""
        self.known = False
        self.outcome: object | None = None

    def decided(self, exchange: Exchange, refusal: object | None, now: float) -> None:
        """A decision that had to wait."""
        self.known, self.outcome = True, refusal
