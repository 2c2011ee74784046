"""The services as the request path sees them: for each, a balancer over the endpoints that take requests.

An endpoint takes requests unless it drains, its probes fail, or it is ejected (`policy.ejection`). A change costs as
much as the services it concerns, not as much as the configuration.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Final

from dataplane.config.table import Table
from dataplane.gateway.policy.balancer import Balancer, make_balancer
from dataplane.gateway.policy.ejection import Ejector
from dataplane.gateway.policy.resources import Circuit, LoadBalancer
from dataplane.proxy.pool import Endpoint, Pool

_log = logging.getLogger(__name__)

_DEFAULT: Final = Circuit()


class Backend:
    """One service. The same object as long as the service exists."""

    __slots__ = ("balancer", "ejector", "endpoints", "in_flight", "kind", "name", "taking")

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = LoadBalancer.ROUND_ROBIN
        self.endpoints: list[Endpoint] = []
        """Of all its instances, healthy or not."""
        self.taking = 0
        """How many of them take requests."""
        self.in_flight = 0
        """Requests under way, if they are bounded (`Service.max_in_flight`); otherwise they are not counted."""
        self.balancer: Balancer[Endpoint] = make_balancer(LoadBalancer.ROUND_ROBIN, ())
        self.ejector = Ejector(_DEFAULT)


class Backends:
    """The services of the table in force."""

    def __init__(self, pool: Pool, start: int = 0) -> None:
        """`start` keeps the balancers of several workers out of step."""
        self.next_return = math.inf
        """Time at which the next ejected instance returns: `reinstate` must be called then."""
        self._pool = pool
        self._start = start
        self._backends: dict[str, Backend] = {}
        self._unhealthy: frozenset[str] = frozenset()
        self._ejecting: dict[str, Backend] = {}
        """Services with ejected instances."""

    def get(self, service: str) -> Backend:
        """The service; one without instances if there is none of this name."""
        return self._backends.get(service) or Backend(service)

    def ejected(self) -> list[str]:
        """The instances ("<service>/<id>") that are ejected at present."""
        return [
            f"{name}/{instance}" for name, each in self._ejecting.items() for instance in each.ejector.ejected
        ]

    def change(self, table: Table, services: Iterable[str]) -> None:
        """Update `services` to their state in `table`. Ejections, and the balancers of all other services, are carried
        over."""
        for name in services:
            service = table.services.get(name)
            if service is None:
                self._pool.change(name, ())
                self._backends.pop(name, None)
                self._ejecting.pop(name, None)
                continue
            backend = self._backends.get(name)
            if backend is None:
                backend = self._backends[name] = Backend(name)
            backend.kind = service.load_balancer
            backend.endpoints = self._pool.change(name, table.instances[name], service.tls)
            backend.ejector.adopt(service.circuit)
            backend.ejector.keep(endpoint.id for endpoint in backend.endpoints)
            self._balance(backend)
        self._note_next_return()

    def set_health(self, unhealthy: frozenset[str]) -> None:
        """Instances ("<service>/<id>") that take no requests: their probes fail, or there was none yet."""
        changed, self._unhealthy = unhealthy ^ self._unhealthy, unhealthy
        for name in {instance.partition("/")[0] for instance in changed}:
            if name in self._backends:
                self._balance(self._backends[name])
        self._note_next_return()

    def failed(self, backend: Backend, endpoint: Endpoint, now: float) -> int:
        """Count a failure of an endpoint. Returns the number of failures in a row if they ejected it just now, or 0."""
        if endpoint.retired or self._backends.get(backend.name) is not backend:
            # The endpoint has left meanwhile; another one may have its name.
            return 0
        failures = backend.ejector.failed(endpoint.id, backend.taking, now)
        if failures:
            self._balance(backend)
            self._note_next_return()
            extra = {"service": backend.name, "instance": endpoint.id}
            _log.warning("Instance ejected after %d failures in a row", failures, extra=extra)
        return failures

    def reinstate(self, now: float) -> None:
        """Let ejected instances whose time is up take requests again."""
        for backend in list(self._ejecting.values()):
            if backend.ejector.reinstate(now):
                self._balance(backend)
        self._note_next_return()

    def _balance(self, backend: Backend) -> None:
        fit = {
            endpoint.id: endpoint
            for endpoint in backend.endpoints
            if not endpoint.instance.draining and f"{backend.name}/{endpoint.id}" not in self._unhealthy
        }
        takers = [fit[instance] for instance in backend.ejector.available(fit)]
        backend.taking = len(takers)
        if backend.ejector.ejected:
            self._ejecting[backend.name] = backend
        else:
            self._ejecting.pop(backend.name, None)
        backend.balancer = make_balancer(backend.kind, takers, self._start, backend.balancer.leave())

    def _note_next_return(self) -> None:
        self.next_return = min(
            (each.ejector.next_return for each in self._ejecting.values()), default=math.inf
        )
