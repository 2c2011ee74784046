"""Listeners: ports of the data planes, and the hosts that they serve there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from controlplane.model.base import Added, Later, Narrows, Resource
from controlplane.model.fields import AsList, Host, Name, Unique
from controlplane.model.problems import Problem, join

DEFAULT: Final = "default"
"""The listener of the data planes' settings, LISTEN and TLS_LISTEN. It is not a resource."""
LISTENERS: Final = "listeners"
"""Capability of data planes that open the ports of listeners, and keep the routes of each apart."""


class Listener(Resource):
    """A port that data planes open, for some hosts or for all. Routes attach to it by name."""

    KIND: ClassVar[str] = "listener"
    PLURAL: ClassVar[str] = "listeners"
    GIVEN: ClassVar[frozenset[str]] = frozenset({DEFAULT})
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "name": "shop",
        "port": 8080,
        "hostnames": ["shop.example.org"],
    }
    # A data plane that ignores a listener would serve its routes on the wrong port.
    ADDED: ClassVar[Mapping[str, Added]] = {"port": Narrows(LISTENERS)}
    LATER: ClassVar[Mapping[str, Later]] = {
        "protocol": lambda value: "protocol https" if value == "https" else None,
    }

    name: Name
    port: Annotated[
        int, Field(ge=1, le=65_535, description="TCP port on the host of the data planes' setting LISTEN.")
    ]
    protocol: Annotated[Literal["http"], Field(description="Protocol that clients speak there.")] = "http"
    hostnames: Annotated[
        tuple[Host, ...],
        AsList,
        Field(
            max_length=64,
            description="Hosts that it serves; '*.example.org' is all names below it; empty: every host. Of several "
            "listeners on a port, the one with the most specific hostname gets a request.",
        ),
        Unique,
    ] = ()

    @classmethod
    def rules(cls, fields: Mapping[str, object]) -> Iterable[Problem]:
        """The name of the settings' listener is taken."""
        if fields.get("name") == DEFAULT:
            yield Problem("name", "'default' is the listener of the data planes' settings (LISTEN)")


def clashing(where: str, listener: Listener, others: Iterable[Listener]) -> Iterator[Problem]:
    """Listeners on the same port that this one cannot share it with."""
    for other in sorted(others, key=lambda one: one.name):
        if other.name == listener.name or other.port != listener.port:
            continue
        protocols: set[str] = {other.protocol, listener.protocol}
        if len(protocols) > 1:
            detail = f"listener {other.name!r} serves {other.protocol} on port {other.port}"
            yield Problem(join(where, "protocol"), detail)
        for host in _shared(listener, other):
            detail = f"listener {other.name!r} serves {host or 'every host'} on port {other.port}"
            yield Problem(join(where, "hostnames"), detail)


def _shared(one: Listener, other: Listener) -> Iterator[str]:
    """Hostnames of both; empty for every host."""
    theirs = set(other.hostnames or ("",))
    return (host for host in one.hostnames or ("",) if host in theirs)
