"""Writing the head that goes upstream: from parsed values, with exactly one framing and one Host.

What we say of the client (X-Forwarded-*, X-Request-Id, X-Auth-*) is written last, after the Connection field had
its way with the client's own fields, so that nothing of ours can be removed by it.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from dataplane.http.headers import CHUNKED, Request
from dataplane.http.trust import Peer

_VISIBLE: Final = "!#$&'()*+,/:;=?@[]^`{|}\"<>\\"


def request_head(
    request: Request,
    path: str,
    forwarded: bytes,
    identity: bytes,
    request_id: bytes,
    default_authority: bytes,
) -> bytes:
    """The whole head, with its final empty line.

    `forwarded` and `identity` are whole lines (`forwarded_lines`, `identity_lines`); `default_authority` is the
    Host of an HTTP/1.0 request without one.
    """
    authority = request.authority or default_authority
    start = f"{request.method} {path}".encode("latin-1")
    pieces = [start, request.query, b" HTTP/1.1\r\nhost: ", authority, b"\r\n"]
    pieces += request.fields
    pieces += (forwarded, b"x-forwarded-host: ", request.forwarded_host or authority)
    pieces += (b"\r\nx-request-id: ", request_id, b"\r\n", identity, _framing(request))
    return b"".join(pieces)


def _framing(request: Request) -> bytes:
    """The framing, the expectation, and the empty line after the head."""
    length = request.length
    if not length:
        # A length of 0 says "no body" where the method makes one likely (RFC 9110 section 8.6).
        return b"content-length: 0\r\n\r\n" if request.method in ("POST", "PUT", "PATCH") else b"\r\n"
    expectation = b"expect: 100-continue\r\n" if request.expects_continue else b""
    if length == CHUNKED:
        return b"transfer-encoding: chunked\r\n%b\r\n" % expectation
    return b"content-length: %d\r\n%b\r\n" % (length, expectation)


def forwarded_lines(peer: Peer, request: Request | None = None) -> bytes:
    """X-Forwarded-For and X-Forwarded-Proto; with what a trusted peer said in `request`."""
    hops, scheme = peer.address.encode(), peer.scheme.encode()
    if request is not None:
        if request.forwarded_for is not None:
            hops = b"%b, %b" % (request.forwarded_for, hops)
        scheme = request.forwarded_proto or scheme
    return b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\n" % (hops, scheme)


def identity_lines(subject: str, scopes: frozenset[str]) -> bytes:
    """X-Auth-Subject and X-Auth-Scopes; visible ASCII as it is, everything else percent-encoded."""
    said = quote(subject, safe=_VISIBLE)
    held = quote(" ".join(sorted(scopes)), safe=_VISIBLE + " ")
    return f"x-auth-subject: {said}\r\nx-auth-scopes: {held}\r\n".encode("ascii")
