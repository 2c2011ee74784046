"""The Forwarded field (RFC 7239), read if a trusted proxy sends it in place of X-Forwarded-For.

Upstreams get the X-Forwarded fields and never this one, so that two fields cannot contradict each other. A proxy that
writes X-Forwarded-For may pass on the Forwarded of its client: beside X-Forwarded-For it is ignored.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from dataplane.proxy.fields.host import is_authority
from dataplane.proxy.messages import Provenance
from dataplane.proxy.trust import MAX_HOPS, TrustedProxies, canonical_address

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR: Final = re.compile(
    rb"[ \t]*(?:(%b)=(?:(%b)|\"((?:[^\"\\]|\\.)*)\"))?[ \t]*([;,]|$)" % (_TOKEN, _TOKEN)
)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


class Hop(NamedTuple):
    """One proxy's statement about the request it received; empty where absent."""

    node: bytes = b""
    """Its origin: an IP address, perhaps with a port, "unknown", or an obfuscated identifier."""
    proto: bytes = b""
    host: bytes = b""


def read_forwarded(value: bytes) -> tuple[Hop, ...]:
    """The hops, nearest to us last; none where the field is malformed or longer than `MAX_HOPS`."""
    hops: list[Hop] = []
    said: dict[bytes, bytes] = {}
    position = 0
    while True:
        found = _PAIR.match(value, position)
        if found is None or len(hops) >= MAX_HOPS:
            return ()
        name, plain, quoted, end = found.groups()
        if name is not None:
            name = name.lower()
            if name in said:
                return ()
            said[name] = plain if plain is not None else _ESCAPED.sub(rb"\1", quoted)
        if end != b";":
            # Empty members of a list are no members (RFC 9110 section 5.6.1.2).
            if said:
                hops.append(
                    Hop(said.get(b"for", b""), said.get(b"proto", b"").lower(), said.get(b"host", b""))
                )
            said = {}
        if not end:
            return tuple(hops)
        position = found.end()


def adopt_forwarded(provenance: Provenance, value: bytes, trusted: TrustedProxies) -> None:
    """Apply a trusted peer's Forwarded field as if it were X-Forwarded fields.

    Scheme and host are those of the outermost hop that a trusted proxy vouches for: the client's own request.
    """
    hops = read_forwarded(value)
    if not hops:
        return
    provenance.forwarded_for = b", ".join(_address(hop.node) for hop in hops)
    place = len(hops) - 1
    while place and _address(hops[place].node).decode() in trusted:
        place -= 1
    client = hops[place]
    if provenance.forwarded_proto is None and client.proto in (b"http", b"https"):
        provenance.forwarded_proto = client.proto
    if provenance.forwarded_host is None and is_authority(client.host):
        provenance.forwarded_host = client.host


def _address(node: bytes) -> bytes:
    """In its shortest form; "unknown" if it is not an address (RFC 7239 section 6)."""
    return (canonical_address(node.decode("latin-1")) or "unknown").encode()
