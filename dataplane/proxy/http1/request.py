"""Reading a request's head strictly: one reading of every message, or 400 and close (RFC 9112 section 11.2).

llhttp, as httptools drives it, already refuses bare CR, LF and NUL, obs-fold, space before a colon, malformed,
repeated or overflowing Content-Length, Content-Length beside Transfer-Encoding, and broken chunk framing
(tests/unit/dataplane/proxy/http1/test_llhttp.py holds it to that). This module refuses the rest: other versions, other
transfer codings, a missing or second Host, CONNECT, TRACE. None of the client's bytes is copied to an upstream unread:
`request_writer` writes a new head from the values found here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.fields.host import is_authority, read_host
from dataplane.proxy.fields.kinds import (
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    DROP,
    EXPECT,
    FORWARDED,
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    HOST,
    MAX_FORWARDS,
    PASS,
    REQUEST_ID,
    TRACEPARENT,
    TRACESTATE,
    TRANSFER_ENCODING,
    UPGRADE,
)
from dataplane.proxy.http1.names import (
    PERSISTENT,
    REQUEST_NAMES,
    Names,
    TooManyOptions,
    begin,
    nominated,
    removed,
    without,
    without_session,
)
from dataplane.proxy.http1.target import is_plain_target, read_other_form, read_path
from dataplane.proxy.http1.upgrade import offers
from dataplane.proxy.messages import CHUNKED, METHODS, BadRequest, Provenance, Request
from dataplane.proxy.trust import Peer

Fields = Sequence[tuple[bytes, bytes]]

_METHODS: Final[Mapping[bytes, str]] = {name.encode(): name for name in METHODS}
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_HOPS: Final = re.compile(rb"[0-9]{1,9}")
_BOUNDS: Final = Bounds()


def read_request(
    method: bytes,
    target: bytes,
    passing: list[bytes],
    special: Fields,
    peer: Peer,
    keep_alive: bool,
    version: Callable[[], str],
    bounds: Bounds = _BOUNDS,
    names: Names = REQUEST_NAMES,
) -> Request:
    """The head's one meaning. Raises BadRequest.

    `passing` are the fields known to be of kind PASS, already in two pieces each; `special` all others.
    `keep_alive` and `version` are the parser's; the version is asked for only where keep-alive does not tell it.
    """
    if len(target) > bounds.target:
        _refuse("target too long", 414)
    if len(passing) + 2 * len(special) > 2 * bounds.fields:
        _refuse("too many fields", 431)
    if method not in _METHODS:
        _refuse(f"method {method.decode('latin-1')} is not supported", 501)
    request = Request()
    request.method = _METHODS[method]
    request.authorization = request.provenance = None
    request.expects_continue = False
    request.sent_path = None
    request.upgrade = ()
    request.length = 0
    request.joined = b""
    request.values = None
    request.fields = fields = passing.copy()
    request.own_fields = list(special)
    authority: bytes | None = None
    connection: list[bytes] | None = None
    known, learn = names.known, names.kind
    for name, value in special:
        kind = known[name] if name in known else learn(name)
        if kind == HOST:
            if authority is not None:
                _refuse("more than one Host")
            authority = value
        elif kind == AUTHORIZATION:
            if request.authorization is not None:
                _refuse("more than one Authorization")
            request.authorization = value.decode("latin-1")
            fields += (b"\r\nauthorization: ", value)
        elif kind == PASS:
            fields += (begin(name), value)
        elif kind == CONNECTION:
            connection = [value] if connection is None else [*connection, value]
        elif kind == CONTENT_LENGTH:
            request.length = _length(value)
        elif kind == COOKIE:
            request.own_fields.remove((name, value))
            if sent := without_session(value):
                fields += (begin(name), sent)
        elif kind != DROP:
            _read_rare(request, kind, value, peer)
    # Without a Connection field only HTTP/1.1 keeps a connection alive (RFC 9112 section 9.3).
    request.http11 = (keep_alive and connection is None) or _is_http11(version())
    request.keep_alive = keep_alive
    if connection is not None:
        _read_connection(request, connection)
    if target.startswith(b"/"):
        read_path(request, target, is_plain_target(target))
    else:
        authority = read_other_form(request, target, authority)
    read_host(request, authority)
    if not request.http11:
        _check_http10(request)
    if not request.length:
        request.expects_continue = False
    return request


def _refuse(reason: str, status: int = 400) -> NoReturn:
    raise BadRequest(status, reason)


def _read_rare(request: Request, kind: int, value: bytes, peer: Peer) -> None:
    if kind == TRANSFER_ENCODING:
        if value.strip().lower() != b"chunked":
            _refuse("transfer coding other than chunked", 501)
        request.length = CHUNKED
    elif kind == UPGRADE:
        request.upgrade += offers(value)
    elif kind == EXPECT:
        _read_expectation(request, value)
    elif kind == MAX_FORWARDS:
        _read_max_forwards(request, value)
    elif kind in (TRACEPARENT, TRACESTATE):
        _read_trace(request, kind, value)
    elif peer.trusted:
        _read_trusted(request, kind, value)


def _read_expectation(request: Request, value: bytes) -> None:
    """RFC 9110 section 10.1.1. Empty members of a list are no members (section 5.6.1.2)."""
    for member in value.split(b",", 8):
        expectation = member.strip().lower()
        if expectation == b"100-continue":
            request.expects_continue = True
        elif expectation:
            _refuse("unknown expectation", 417)


def _read_max_forwards(request: Request, value: bytes) -> None:
    """RFC 9110 section 7.6.2: how many more times an OPTIONS request may be forwarded. Other methods ignore it."""
    # Its meaning depends on the method: such a head is never taken from the cache (`is_cacheable`).
    provenance = request.provenance = request.provenance or Provenance()
    if request.method == "OPTIONS":
        if not _HOPS.fullmatch(value):
            _refuse("malformed Max-Forwards")
        if provenance.max_forwards >= 0:
            _refuse("more than one Max-Forwards")
        provenance.max_forwards = int(value)
        value = b"%d" % (provenance.max_forwards - 1)
    request.fields += (b"\r\nmax-forwards: ", value)


def _read_trusted(request: Request, kind: int, value: bytes) -> None:
    """A trusted proxy's statements about the client; malformed ones are ignored."""
    provenance = request.provenance = request.provenance or Provenance()
    if kind == FORWARDED:
        provenance.forwarded = _listed(provenance.forwarded, value)
    elif kind == REQUEST_ID:
        provenance.request_id = value if _REQUEST_ID.fullmatch(value) else None
    elif kind == FORWARDED_FOR:
        provenance.forwarded_for = _listed(provenance.forwarded_for, value)
    elif kind == FORWARDED_PROTO:
        # Schemes ignore case (RFC 9110 section 4.2.3).
        scheme = value.lower()
        provenance.forwarded_proto = scheme if scheme in (b"http", b"https") else None
    elif kind == FORWARDED_HOST:
        provenance.forwarded_host = value if is_authority(value) else None


def _read_trace(request: Request, kind: int, value: bytes) -> None:
    """Two traceparents count as none: joined, they are not valid."""
    provenance = request.provenance = request.provenance or Provenance()
    if kind == TRACEPARENT:
        provenance.traceparent = _listed(provenance.traceparent, value)
    else:
        provenance.tracestate = _listed(provenance.tracestate, value)


def _listed(earlier: bytes | None, value: bytes) -> bytes:
    """RFC 9110 section 5.3: several fields of one name are one list."""
    return value if earlier is None else b"%b, %b" % (earlier, value)


def _read_connection(request: Request, values: list[bytes]) -> None:
    """RFC 9110 section 7.6.1: fields that the client declares hop-by-hop are not forwarded. Our own fields follow
    these."""
    if len(values) == 1 and values[0] in PERSISTENT:
        return
    try:
        names = nominated(values)
    except TooManyOptions as many:
        raise BadRequest(400, str(many)) from None
    if names:
        before, request.fields = request.fields, without(request.fields, names)
        request.own_fields += removed(before, names)


def _length(value: bytes) -> int:
    """RFC 9112 section 6.2: digits and nothing else. Python's int() alone would take "+1" and "1_0"."""
    if not _LENGTH.fullmatch(value.rstrip(b" \t")):
        _refuse("malformed Content-Length")
    return int(value)


def _is_http11(version: str) -> bool:
    if version not in ("1.1", "1.0"):
        _refuse(f"HTTP version {version}", 505)
    return version == "1.1"


def _check_http10(request: Request) -> None:
    """HTTP/1.0 knows neither chunks nor expectations (RFC 9112 section 6.1, RFC 9110 section 10.1.1)."""
    if request.length == CHUNKED:
        _refuse("transfer coding in HTTP/1.0")
    request.expects_continue = False


def is_cacheable(request: Request) -> bool:
    """Whether its head means the same after any other request line that `is_plain`.

    Fields of trusted peers and trace contexts belong to one request: such heads are not cached.
    """
    return request.http11 and not request.length and not request.upgrade and request.provenance is None


def is_plain(method: bytes, target: bytes, bounds: Bounds = _BOUNDS) -> bool:
    """Whether every parser reads these two in a request line in the same way: a supported method, and a path."""
    return (
        method in _METHODS
        and target.startswith(b"/")
        and len(target) <= bounds.target
        and is_plain_target(target)
    )


def from_cache(known: Request, method: bytes, target: bytes) -> Request:
    """A request whose head is that of `known`, but for its request line, which `is_plain`. Raises BadRequest."""
    request = copy_head(known)
    request.method = _METHODS[method]
    read_path(request, target, True)
    return request


def copy_head(known: Request) -> Request:
    """A request that shares all of a cacheable head but its request line, which is left out."""
    if known.values is None:
        known.joined = b"".join(known.fields)
        known.values = {}
    request = Request()
    request.authorization = known.authorization
    request.provenance = None
    request.expects_continue = False
    request.sent_path = None
    request.upgrade = ()
    request.length = 0
    request.joined = known.joined
    request.values = known.values
    request.fields = known.fields
    request.own_fields = known.own_fields
    request.http11 = True
    request.keep_alive = known.keep_alive
    request.authority = known.authority
    request.host = known.host
    return request
