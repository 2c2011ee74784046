"""Upstream connections kept for reuse, by instance.

A connection is pooled only when its last exchange left it clean (`Upstream` decides that) and reading; a connection
that receives anything while idle, even its end, removes itself. The most recently used is reused first, so that surplus
connections expire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

from dataplane.proxy.address import authority
from dataplane.proxy.bounds import Bounds


class Tls(Protocol):
    """The TLS settings of an instance."""

    @property
    def ca(self) -> str:
        """Authorities that its certificate is verified against, PEM; "": the system's."""

    @property
    def server_name(self) -> str:
        """The name that its certificate is verified for; "": its host."""


class InstanceSpec(Protocol):
    """The properties of an instance that the engine uses."""

    @property
    def service(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def weight(self) -> int: ...
    @property
    def draining(self) -> bool: ...


class Connection(asyncio.Protocol):
    """A connection to an instance, as the pool uses it."""

    __slots__ = ("address", "expires", "idle_since")

    address: str
    """IP address of the peer; "" when it is not tracked."""
    expires: float
    """Monotonic time from which it is not reused."""
    idle_since: float
    """Monotonic time at which it became idle."""

    def close(self) -> None:
        """Close it. It has no exchange."""
        raise NotImplementedError


class Endpoint:
    """An instance on the request path: its idle connections, and the number of requests in flight."""

    __slots__ = (
        "addresses",
        "authority",
        "bounds",
        "faults",
        "heard_at",
        "id",
        "idle",
        "in_flight",
        "instance",
        "leaving",
        "retired",
        "served",
        "tls",
    )

    def __init__(self, instance: InstanceSpec, bounds: Bounds, tls: Tls | None = None) -> None:
        self.instance = instance
        self.id = instance.id
        """Unique within the service."""
        self.tls = tls
        """None: without TLS."""
        self.bounds = bounds
        self.in_flight = 0
        self.served = self.faults = 0
        """Exchanges that ended at it since the last report, and those with a status from 500."""
        self.heard_at = 0.0
        """Time of its last answer to a request, monotonic seconds."""
        self.idle: list[Connection] = []
        """In order of last use. Popping one takes exclusive use of it."""
        self.leaving = False
        """It takes no new requests; those in flight are counted until they end."""
        self.retired = False
        self.addresses: tuple[str, ...] = ()
        """The addresses of its host, if that is a name and has been resolved."""
        self.authority = authority(instance.host, instance.port).encode("ascii", "replace")

    @property
    def weight(self) -> int:
        """Relative share of the traffic."""
        return self.instance.weight

    def __repr__(self) -> str:
        state = " retired" if self.retired else ""
        return (
            f"<Endpoint {self.instance.service}/{self.id}{state} busy={self.in_flight} idle={len(self.idle)}>"
        )

    def give(self, connection: Connection, now: float) -> bool:
        """Keep a clean connection. False when the pool is full, or the connection is expired or leads to an old
        address."""
        if self.retired or len(self.idle) >= self.bounds.pool_idle or now >= connection.expires:
            return False
        if self.addresses and connection.address not in self.addresses:
            return False
        connection.idle_since = now
        self.idle.append(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """Remove an idle connection that has ended."""
        if connection in self.idle:
            self.idle.remove(connection)

    def expired(self, now: float) -> list[Connection]:
        """Remove the connections that are idle for too long or expired; all of them if the endpoint is retired.

        The caller closes them.
        """
        limit = float("inf") if self.retired else now - self.bounds.pool_timeout
        old: list[Connection] = []
        kept: list[Connection] = []
        for each in self.idle:
            (old if each.idle_since < limit or each.expires <= now else kept).append(each)
        self.idle = kept
        return old

    def move(self, addresses: tuple[str, ...]) -> list[Connection]:
        """Set the addresses of its host. Removes the connections to other addresses; the caller closes them."""
        self.addresses = addresses
        lost = [each for each in self.idle if each.address not in addresses]
        self.idle = [each for each in self.idle if each.address in addresses]
        return lost


_Place = tuple[str, str, int]
"""Id, host and port of an instance."""
_NO_ENDPOINTS: Final[Mapping[_Place, Endpoint]] = {}


class Pool:
    """The endpoints of the current table. Unchanged ones are carried over from the previous table."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._endpoints: dict[str, dict[_Place, Endpoint]] = {}
        """By service."""
        self._leaving: list[Endpoint] = []
        self.left: Callable[[], None] = _nothing
        """Called when an endpoint that is leaving has answered its last request."""

    def change(
        self, service: str, instances: Iterable[InstanceSpec], tls: Tls | None = None
    ) -> list[Endpoint]:
        """Replace the instances of `service`. Returns their endpoints.

        Endpoints with the same address and TLS settings keep their connections. The cost grows with the instances of
        the service.
        """
        before = self._endpoints.pop(service, _NO_ENDPOINTS)
        endpoints: dict[_Place, Endpoint] = {}
        for instance in instances:
            place = (instance.id, instance.host, instance.port)
            endpoint = before.get(place)
            if endpoint is None or endpoint.tls != tls:
                endpoint = Endpoint(instance, self._bounds, tls)
            endpoint.instance = instance
            endpoints[place] = endpoint
        gone = [endpoint for place, endpoint in before.items() if endpoints.get(place) is not endpoint]
        for endpoint in gone:
            endpoint.retired = True
            close_all(endpoint.expired(0.0))
        if endpoints:
            self._endpoints[service] = endpoints
        self._follow_leaving(service, [*gone, *endpoints.values()])
        return list(endpoints.values())

    def endpoint(self, instance: InstanceSpec) -> Endpoint:
        """The endpoint of an instance. KeyError for an unknown one."""
        return self._endpoints[instance.service][instance.id, instance.host, instance.port]

    def in_flight(self) -> int:
        """Requests in flight at all instances, including those that are gone already."""
        gone = sum(endpoint.in_flight for endpoint in self._leaving if endpoint.retired)
        return gone + sum(endpoint.in_flight for endpoint in self._all())

    def leaving(self) -> dict[str, int]:
        """Requests in flight, by "<service>/<id>", at instances that take no new ones; instances without any are left
        out."""
        found: dict[str, int] = {}
        for endpoint in self._leaving:
            name = f"{endpoint.instance.service}/{endpoint.instance.id}"
            found[name] = found.get(name, 0) + endpoint.in_flight
        return found

    def settle(self, endpoint: Endpoint) -> None:
        """A request of a leaving endpoint has ended."""
        if not endpoint.in_flight and endpoint in self._leaving:
            self._leaving.remove(endpoint)
            self.left()

    def _follow_leaving(self, service: str, endpoints: list[Endpoint]) -> None:
        """Track those of `endpoints`, all of one service, that are busy and take no new requests."""
        for endpoint in endpoints:
            endpoint.leaving = endpoint.retired or endpoint.instance.draining
        # Endpoints that were retired by an earlier change may still be busy.
        candidates = [each for each in self._leaving if each.instance.service == service] + endpoints
        others = [each for each in self._leaving if each.instance.service != service]
        busy = [each for each in dict.fromkeys(candidates) if each.leaving and each.in_flight]
        self._leaving = others + busy

    def sweep(self, now: float) -> None:
        """Close the connections that were idle for too long."""
        for endpoint in self._all():
            if endpoint.idle:
                close_all(endpoint.expired(now))

    def shed(self) -> None:
        """Close all idle connections, to free their file descriptors."""
        for endpoint in self._all():
            close_all(endpoint.expired(float("inf")))

    def close(self) -> None:
        """Close every idle connection; busy ones close when they are done."""
        for service in list(self._endpoints):
            self.change(service, ())

    def _all(self) -> Iterator[Endpoint]:
        return (endpoint for group in self._endpoints.values() for endpoint in group.values())


def _nothing() -> None:
    return


def close_all(connections: Iterable[Connection]) -> None:
    """Close idle connections."""
    for connection in connections:
        connection.close()
