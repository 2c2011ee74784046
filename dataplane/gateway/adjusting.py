"""Bounds and changes of the requests to one service. A route without any of them has no such action."""

from __future__ import annotations

from dataplane.gateway.actions import Action
from dataplane.gateway.backends import Backend, Backends
from dataplane.gateway.in_flight import enter
from dataplane.gateway.policy.cors import Cors
from dataplane.gateway.policy.resources import Route
from dataplane.gateway.readable import Readable
from dataplane.gateway.rewriting import rewritten, substitute
from dataplane.proxy.errors import NotRegistered, Saturated, TooLarge
from dataplane.proxy.exchange import Exchange


class Adjusting(Action):
    """Those of one route and one service."""

    __slots__ = (
        "_backend",
        "_max_body",
        "_max_in_flight",
        "_readable",
        "_rewrites",
        "_route",
        "_substitutes",
    )

    def __init__(
        self, route: Route, backend: Backend, max_in_flight: int, cors: Cors | None, *, rewrites: bool
    ) -> None:
        """`max_in_flight` 0: any number."""
        self._route = route
        self._backend = backend
        self._max_body = route.max_body_bytes
        self._max_in_flight = max_in_flight
        self._readable = None if cors is None else Readable(cors)
        self._rewrites = rewrites
        """The route changes the path."""
        self._substitutes = route.forwarding is not None and route.forwarding.substitution is not None
        """The new path has to be checked."""

    @property
    def needed(self) -> bool:
        """Whether it does anything at all."""
        bounded = self._max_body is not None or self._max_in_flight > 0
        return bounded or self._rewrites or self._substitutes or self._readable is not None

    def take(self, exchange: Exchange) -> object | None:
        request, backend, most = exchange.request, self._backend, self._max_body
        assert request is not None
        if most is not None and (request.length > most or exchange.received > most):
            return TooLarge(most)
        if not backend.endpoints:
            return NotRegistered(backend.name)
        if self._max_in_flight and not enter(exchange, backend, self._max_in_flight):
            return Saturated(backend.name)
        if self._substitutes:
            refused = substitute(self._route, request)
            if refused is not None:
                return refused
        elif self._rewrites:
            request.target = rewritten(self._route, request)
        if self._readable is not None:
            fields = self._readable.fields(request)
            if fields:
                exchange.response_fields = (*exchange.response_fields, *fields)
        return None

    def refresh(self, backends: Backends) -> None:
        self._backend = backends.get(self._backend.name)
