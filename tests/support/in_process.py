"""The engine without sockets, tasks and timers: the test makes the connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dataplane.gateway.decide import Gateway
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.connections import ClientConnection, Connections
from dataplane.proxy.deadlines import Deadlines
from dataplane.proxy.dialer import Dialer
from dataplane.proxy.downstream import Downstream
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http1.head_cache import HeadCache
from dataplane.proxy.pool import Endpoint, Pool
from dataplane.proxy.shared import Shared
from dataplane.proxy.upstream import Upstream

CLIENT = "192.0.2.7"


class InOrder(set[ClientConnection]):
    """A set that is iterated in the order of insertion, because addresses in memory must not matter."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[ClientConnection] = []

    def add(self, element: ClientConnection) -> None:
        super().add(element)
        self._order.append(element)

    def __iter__(self) -> Iterator[ClientConnection]:
        return (each for each in self._order if each in self)


class Scripted(Dialer):
    """Does not connect or wait: the test does."""

    def __init__(self, shared: Shared, pool: Pool) -> None:
        super().__init__(shared, pool)
        self.dials: list[Exchange] = []
        self.waits: list[Exchange] = []

    def dial(self, exchange: Exchange) -> None:
        self.dials.append(exchange)

    def back_off(self, exchange: Exchange, seconds: float) -> None:
        assert 0 < seconds < 1
        self.waits.append(exchange)


class InProcess:
    """The parts of a proxy except its listener."""

    def __init__(
        self, gateway: Gateway, pool: Pool, bounds: Bounds, later: Callable[[Callable[[], None]], None]
    ) -> None:
        """`later` keeps the callbacks that the event loop would call at the end of a turn."""
        self.shared = Shared(gateway, bounds, soon=later)
        self.shared.request_cache = HeadCache(sample=1)
        self.shared.response_cache = HeadCache(sample=1)
        self.shared.date = b"\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT"
        self.connections = Connections(bounds)
        self.connections._open = InOrder()
        self.dialer = Scripted(self.shared, pool)
        self.deadlines = Deadlines(self.shared, self.connections, pool)

    def client(self) -> Downstream:
        """A new client connection."""
        peer = self.shared.trusted.peer(CLIENT)
        self.connections.admit(peer)
        return Downstream(self.shared, self.connections, self.dialer, self.deadlines, peer)

    def upstream(self, endpoint: Endpoint) -> Upstream:
        """A new connection to an instance."""
        return Upstream(endpoint, self.shared, self.dialer)
