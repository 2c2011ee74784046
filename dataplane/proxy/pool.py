"""Upstream connections kept for reuse, by instance.

A connection comes here only when its last exchange left it clean (`Upstream` judges that) and reading; one that
hears anything while idle, even its end, takes itself out. The latest used is reused first, so that surplus ones
grow old and are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

from dataplane.proxy.bounds import Bounds


class Tls(Protocol):
    """How an instance is spoken to over TLS."""

    @property
    def ca(self) -> str:
        """Certificates that its own is checked against, PEM; "": the system's."""

    @property
    def server_name(self) -> str:
        """The name that its certificate must have; "": its host."""


class Instance(Protocol):
    """Where an instance is, and what of it matters here; any object that has this."""

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
    """What the pool needs of a connection to an instance."""

    __slots__ = ("address", "expires", "idle_since")

    address: str
    """Where it leads to; "" where that does not matter."""
    expires: float
    """Monotonic seconds; it is not used again from then on."""
    idle_since: float
    """The same."""

    def close(self) -> None:
        """End it; nothing is under way."""
        raise NotImplementedError


class Endpoint:
    """An instance as the data path sees it: its idle connections, and how many requests are under way."""

    __slots__ = (
        "addresses",
        "authority",
        "bounds",
        "heard_at",
        "id",
        "idle",
        "in_flight",
        "instance",
        "leaving",
        "retired",
        "tls",
    )

    def __init__(self, instance: Instance, bounds: Bounds, tls: Tls | None = None) -> None:
        self.instance = instance
        self.id = instance.id
        """Unique within the service."""
        self.tls = tls
        """None: spoken to in the clear."""
        self.bounds = bounds
        self.in_flight = 0
        self.heard_at = 0.0
        """When it last answered a request, monotonic seconds."""
        self.idle: list[Connection] = []
        """In order of last use; whoever pops one has it to himself."""
        self.leaving = False
        """It takes no new requests, and the end of those under way is waited for."""
        self.retired = False
        self.addresses: tuple[str, ...] = ()
        """Those of its host, where that is a name that has been looked up."""
        host = f"[{instance.host}]" if ":" in instance.host else instance.host
        self.authority = f"{host}:{instance.port}".encode("ascii", "replace")

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
        """Keep a clean connection; False if there is no room or use for it."""
        if self.retired or len(self.idle) >= self.bounds.pool_idle or now >= connection.expires:
            return False
        if self.addresses and connection.address not in self.addresses:
            return False
        connection.idle_since = now
        self.idle.append(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """An idle connection has ended by itself."""
        if connection in self.idle:
            self.idle.remove(connection)

    def expired(self, now: float) -> list[Connection]:
        """Take out the connections that are idle for too long or too old, or all of a retired endpoint.

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
        """Its host has these addresses now. Take out the connections to others; the caller closes them."""
        self.addresses = addresses
        lost = [each for each in self.idle if each.address not in addresses]
        self.idle = [each for each in self.idle if each.address in addresses]
        return lost


_Place = tuple[str, str, int]
"""Id, host and port of an instance."""
_NO_ENDPOINTS: Final[Mapping[_Place, Endpoint]] = {}


class Pool:
    """The endpoints of the present table, carried over from the one before."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._endpoints: dict[str, dict[_Place, Endpoint]] = {}
        """By service."""
        self._leaving: list[Endpoint] = []
        self.left: Callable[[], None] = _nothing
        """Called when an endpoint that is leaving has answered its last request."""

    def change(self, service: str, instances: Iterable[Instance], tls: Tls | None = None) -> list[Endpoint]:
        """From now on these are the instances of `service`; returns their endpoints.

        Endpoints that are reached as before keep their connections. Costs as much as the service has instances.
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

    def endpoint(self, instance: Instance) -> Endpoint:
        """The endpoint of an instance that is there. KeyError for any other."""
        return self._endpoints[instance.service][instance.id, instance.host, instance.port]

    def leaving(self) -> dict[str, int]:
        """Requests under way, by "<service>/<id>", at instances that take no new ones; those with none are left out."""
        found: dict[str, int] = {}
        for endpoint in self._leaving:
            name = f"{endpoint.instance.service}/{endpoint.instance.id}"
            found[name] = found.get(name, 0) + endpoint.in_flight
        return found

    def settle(self, endpoint: Endpoint) -> None:
        """An endpoint that is leaving has one request less."""
        if not endpoint.in_flight and endpoint in self._leaving:
            self._leaving.remove(endpoint)
            self.left()

    def _follow_leaving(self, service: str, endpoints: list[Endpoint]) -> None:
        """Those among `endpoints`, all of one service, that are busy and take nothing new."""
        for endpoint in endpoints:
            endpoint.leaving = endpoint.retired or endpoint.instance.draining
        # Those that retired at an earlier change may still be busy.
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
        """Close the idle connections: their file descriptors are needed for something else."""
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
