"""The engine's server without sockets, tasks and timers: whoever drives it says when connections are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from dataplane.gateway.decide import Gateway
from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http1.head_cache import Remembered
from dataplane.proxy.http1.request import Request
from dataplane.proxy.http1.response import Answer
from dataplane.proxy.pool import Pool
from dataplane.proxy.server import ClientConnection, Server

T = TypeVar("T")


class Attentive(Remembered[T]):
    """Learns whatever may be learnt, at once."""

    def learns(self) -> bool:
        return True


class InOrder(set[ClientConnection]):
    """A set that is walked through in the order of joining: addresses in memory must not matter."""

    def __init__(self) -> None:
        super().__init__()
        self._order: list[ClientConnection] = []

    def add(self, element: ClientConnection) -> None:
        super().add(element)
        self._order.append(element)

    def __iter__(self) -> Iterator[ClientConnection]:
        return (each for each in self._order if each in self)


class InProcess(Server):
    """A server that neither connects nor waits: the machine does."""

    def __init__(
        self, gateway: Gateway, pool: Pool, bounds: Bounds, later: Callable[[Callable[[], None]], None]
    ) -> None:
        """`later` keeps what the event loop would call at the end of a turn."""
        super().__init__(gateway, pool, bounds)
        self._later = later
        self.connections = InOrder()
        self.heads: Remembered[Request] = Attentive()
        self.answers: Remembered[Answer] = Attentive()
        self.dials: list[Exchange] = []
        self.waits: list[Exchange] = []
        self.date = b"\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT"

    def soon(self, callback: Callable[[], None]) -> None:
        self._later(callback)

    def dial(self, exchange: Exchange) -> None:
        self.dials.append(exchange)

    def back_off(self, exchange: Exchange, seconds: float) -> None:
        assert 0 < seconds < 1
        self.waits.append(exchange)
