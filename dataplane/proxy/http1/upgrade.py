"""Upgrades (RFC 9110 section 7.8): the client's offer, the request sent upstream, and the required 101.

An offer counts in a request of HTTP/1.1 without a body that has `Connection: upgrade`, for a protocol that the route
lists. Every other offer is ignored, as section 7.8 allows, and the request is forwarded without it. `h2c` never counts:
requests inside it would bypass the gateway. A request whose offer may count is the last one on its connection, whatever
the response, because the bytes after it may not be HTTP.

The request upstream names one protocol. Only a 101 that names it and nominates Upgrade in `Connection` begins a
tunnel; for `websocket` it must also accept the client's key (RFC 6455 section 4.2.2).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha1
from typing import Final, NamedTuple

from dataplane.proxy.fields.kinds import CONNECTION, PASS, UPGRADE
from dataplane.proxy.http1.names import RESPONSE_NAMES, TooManyOptions, begin, nominated, taken_out, without
from dataplane.proxy.messages import Request

_PROTOCOL: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}(/[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})?")
_MOST: Final = 8
_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPT: Final = begin(b"sec-websocket-accept")


class Switch(NamedTuple):
    """A 101 response."""

    protocol: str
    """The protocol it changes to, lower case."""
    accept: bytes
    """Its Sec-WebSocket-Accept, or empty."""
    fields: tuple[bytes, ...]
    """The forwarded fields, two pieces to a field (`names.begin`)."""
    withheld: tuple[tuple[bytes, bytes], ...] = ()
    """Names, lower case, and values of the fields for the gateway instead."""


def offers(value: bytes) -> tuple[str, ...]:
    """The protocols of one Upgrade field, lower case, by the client's preference, without h2c; none if malformed."""
    if value.count(b",") >= _MOST:
        return ()
    names = [name for name in (name.strip(b" \t") for name in value.split(b",")) if name]
    if not all(map(_PROTOCOL.fullmatch, names)):
        return ()
    found = (name.decode("ascii").lower() for name in names)
    return tuple(name for name in found if name != "h2c")


def agrees(switch: Switch, request: Request) -> bool:
    """Whether a 101 names the protocol that the request offered."""
    if request.upgrade != (switch.protocol,):
        return False
    return switch.protocol != "websocket" or switch.accept == _accept(request.field("sec-websocket-key"))


def _accept(key: str) -> bytes:
    """The Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2)."""
    return b64encode(sha1(key.encode("latin-1") + _WEBSOCKET_GUID, usedforsecurity=False).digest())


def upgrading(head: bytes, protocol: str) -> bytes:
    """A request's head, with the offer that goes upstream before its final empty line."""
    return b"%bconnection: upgrade\r\nupgrade: %b\r\n\r\n" % (head[:-2], protocol.encode())


def read_switch(
    passing: Sequence[bytes], special: Sequence[tuple[bytes, bytes]], withheld: frozenset[bytes] = frozenset()
) -> Switch | None:
    """The protocol named in a 101; None unless it names one protocol and nominates Upgrade. Fields are as for
    `read_response`.

    Those of the names `withheld`, lower case, are for the gateway.
    """
    fields, protocols, connection = list(passing), [], []
    for name, value in special:
        kind = RESPONSE_NAMES.kind(name)
        if kind == UPGRADE:
            protocols.append(value)
        elif kind == CONNECTION:
            connection.append(value)
        elif kind == PASS:
            fields += (begin(name), value)
    try:
        names = nominated(connection)
    except TooManyOptions:
        return None
    if len(protocols) != 1 or b"upgrade" not in names or not _PROTOCOL.fullmatch(protocols[0]):
        return None
    accepts = [fields[i + 1] for i in range(0, len(fields), 2) if fields[i].lower() == _ACCEPT]
    accept = accepts[0].strip(b" \t") if len(accepts) == 1 else b""
    kept, told = tuple(without(fields, names | withheld)), tuple(taken_out(fields, withheld))
    return Switch(protocols[0].decode("ascii").lower(), accept, kept, told)


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
