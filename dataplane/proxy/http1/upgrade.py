"""Upgrades (RFC 9110 section 7.8): what a client wishes for, what goes upstream, and what a 101 must say.

The rule. `Upgrade` counts only beside `Connection: upgrade` in HTTP/1.1. A wish that the route does not list is
ignored: the request goes on without it, as section 7.8 allows. `h2c` is refused wherever it stands (501), because
requests inside it would pass the gateway unread; so is an upgrade of a request with a body (501). Whatever is answered,
a request that asks for an upgrade is the last one on its connection, for what follows it may be no HTTP.

Upstream is told of one protocol, and only a 101 that names that one and nominates it in `Connection` begins a tunnel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from dataplane.proxy.http1.names import CONNECTION, PASS, RESPONSE_NAMES, UPGRADE, begin, nominated, without

_PROTOCOL: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}(/[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})?")
_MOST: Final = 8


class BadUpgrade(ValueError):
    """The field is no list of protocols, or names one that is never changed to."""


class Switch(NamedTuple):
    """A 101 response."""

    protocol: str
    """The one it changes to, lower case."""
    fields: tuple[bytes, ...]
    """Those that travel on, two pieces to a field (`names.begin`)."""


def wishes(value: bytes) -> tuple[str, ...]:
    """The protocols of one Upgrade field, lower case, by the client's preference. Raises BadUpgrade."""
    names = [name.strip(b" \t") for name in value.split(b",")]
    if len(names) > _MOST or not all(map(_PROTOCOL.fullmatch, names)):
        raise BadUpgrade("malformed Upgrade")
    found = tuple(name.decode("ascii").lower() for name in names)
    if "h2c" in found:
        raise BadUpgrade("upgrade to h2c")
    return found


def upgrading(head: bytes, protocol: str) -> bytes:
    """A request's head, with the wish that goes upstream before its final empty line."""
    return b"%bconnection: upgrade\r\nupgrade: %b\r\n\r\n" % (head[:-2], protocol.encode())


def read_switch(passing: Sequence[bytes], special: Sequence[tuple[bytes, bytes]]) -> Switch | None:
    """What a 101 says; None unless it names one protocol and nominates Upgrade. The fields are as for `read_answer`."""
    fields, protocols, connection = list(passing), [], []
    for name, value in special:
        kind = RESPONSE_NAMES.kind(name)
        if kind == UPGRADE:
            protocols.append(value)
        elif kind == CONNECTION:
            connection.append(value)
        elif kind == PASS:
            fields += (begin(name), value)
    names = nominated(connection)
    if len(protocols) != 1 or b"upgrade" not in names or not _PROTOCOL.fullmatch(protocols[0]):
        return None
    return Switch(protocols[0].decode("ascii").lower(), tuple(without(fields, names)))


def switch_head(switch: Switch, request_id: bytes) -> bytes:
    """The 101 for the client, with its final empty line."""
    return b"".join(
        (
            b"HTTP/1.1 101 Switching Protocols",
            *switch.fields,
            b"\r\nx-request-id: ",
            request_id,
            b"\r\nconnection: upgrade\r\nupgrade: ",
            switch.protocol.encode(),
            b"\r\n\r\n",
        )
    )
