"""The requests under way at a service that bounds them."""

from __future__ import annotations

from dataplane.gateway.backends import Backend
from dataplane.gateway.checks import Held, keep
from dataplane.proxy.exchange import Exchange


class _InFlight(Held):
    """One of them."""

    __slots__ = ("_backend",)

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def release(self) -> None:
        self._backend.in_flight -= 1


def enter(exchange: Exchange, backend: Backend, most: int) -> bool:
    """One more is under way until the exchange has ended; False if the bound is reached."""
    if backend.in_flight >= most:
        return False
    backend.in_flight += 1
    keep(exchange, _InFlight(backend))
    return True
