"""Trailers of responses: those that were announced and are allowed are forwarded (RFC 9110 section 6.5).

A field that is read before the body must not follow it: a recipient that merges trailers into the head would see
another framing, client, caller or lifetime than the other recipients on the path. So the head's Trailer field (section
6.6.2) allows a name, `NEVER` forbids it, and trailers are not merged into a head here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from dataplane.proxy.fields.kinds import REQUEST, RESPONSE, folded
from dataplane.proxy.http1.names import begin

Announced = Mapping[bytes, None]
"""Lower-case names that may come as trailers, in the order of their announcement."""

NEVER: Final = frozenset((*REQUEST, *RESPONSE)) | frozenset(
    b"""
    via alt-svc x-auth-subject x-auth-scopes x-real-ip
    cache-control pragma range te prefer if-match if-none-match if-modified-since if-unmodified-since if-range
    accept accept-charset accept-encoding accept-language
    cookie cookie2 set-cookie set-cookie2 www-authenticate authentication-info proxy-authentication-info
    age expires location retry-after vary warning allow refresh cdn-cache-control surrogate-control clear-site-data
    content-type content-encoding content-range content-language content-location content-disposition
    strict-transport-security content-security-policy content-security-policy-report-only x-frame-options
    x-content-type-options referrer-policy permissions-policy cross-origin-embedder-policy
    cross-origin-opener-policy cross-origin-resource-policy access-control-allow-origin
    access-control-allow-credentials access-control-allow-headers access-control-allow-methods
    access-control-expose-headers access-control-max-age
    """.split()
)
"""Not allowed as trailers: framing, routing, request modifiers, authentication, response control, content format (RFC
9110 section 6.5.1), hop-by-hop fields, and the gateway's own fields."""

_MOST: Final = 128
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def announced(values: Sequence[bytes], hop_by_hop: frozenset[bytes]) -> Announced:
    """Names announced in Trailer fields, without hop-by-hop fields and fields that are never forwarded in any
    spelling.

    A list with more than `_MOST` names announces nothing: the time for it must not grow with the head.
    """
    if sum(value.count(b",") for value in values) >= _MOST:
        return {}
    tokens = (token.strip(b" \t").lower() for value in values for token in value.split(b","))
    return {
        token: None
        for token in tokens
        if _TOKEN.fullmatch(token) and token not in hop_by_hop and folded(token) not in NEVER
    }


def excessive(passing: list[bytes], special: Sequence[tuple[bytes, bytes]], fields: int, size: int) -> bool:
    """Whether a trailer section has more fields or bytes than a head may have (fields as for `read_response`)."""
    if len(passing) // 2 + len(special) > fields:
        return True
    return sum(map(len, passing)) + sum(len(name) + len(value) + 4 for name, value in special) > size


def kept(names: Announced, passing: list[bytes], special: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """The forwarded trailers, two pieces to a field (`names.begin`)."""
    found: list[bytes] = []
    for i in range(0, len(passing), 2):
        if passing[i][2:-2].lower() in names:
            found += passing[i : i + 2]
    for name, value in special:
        if name.lower() in names:
            found += (begin(name), value)
    return found


def last_chunk(trailers: list[bytes]) -> list[bytes]:
    """The end of a chunked body, in pieces (RFC 9112 section 7.1.2)."""
    return [b"0", *trailers, b"\r\n\r\n"]
