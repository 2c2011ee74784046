"""Reading an upstream's response head as strictly as a client's, and writing the one the client gets.

The status line is ours, with the standard phrase. Hop-by-hop fields are removed. The framing is rewritten for the
client's version (RFC 9112 section 6): a body of known length keeps its Content-Length; any other is sent in chunks to
HTTP/1.1 and ended by closing to HTTP/1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from dataplane.proxy.fields.kinds import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    PASS,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
)
from dataplane.proxy.http1.names import (
    PERSISTENT,
    RESPONSE_NAMES,
    TooManyOptions,
    begin,
    nominated,
    taken_out,
    without,
)
from dataplane.proxy.http1.request import Fields
from dataplane.proxy.http1.trailers import Announced, announced

NO_BODY: Final = 0
LENGTH: Final = 1
UNTIL_CLOSE: Final = 2
CHUNKS: Final = 3
TRAILED: Final = 4
"""Chunks, with announced trailers that are forwarded."""

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b" % (status, status.phrase.encode()) for status in HTTPStatus
}
_BODILESS: Final = (204, 304)


class MalformedResponse(Exception):
    """The upstream's response cannot be read in one way only: 502, and its connection closes."""


class Response:
    """A response head."""

    __slots__ = ("announced", "dated", "digits", "framing", "head", "length", "status")

    status: int
    framing: int
    """The upstream's framing of the body: NO_BODY, LENGTH, UNTIL_CLOSE, CHUNKS or TRAILED."""
    length: int
    """Content-Length, also where no body follows (HEAD, 304); -1 without."""
    digits: bytes
    dated: bool
    announced: Announced
    """Names of trailers; set only if the framing is TRAILED."""
    head: list[bytes]
    """The head sent to the client: the status line, then two pieces (`names.begin`) for each forwarded field."""


def read_response(
    status: int,
    passing: list[bytes],
    special: Fields,
    to_head: bool,
    keep_alive: bool,
    version: Callable[[], str],
) -> Response:
    """The head's one meaning. Raises MalformedResponse.

    `passing` and `special` are as for requests. `to_head`: it answers a HEAD request. `keep_alive` and `version` are
    the parser's; the version is asked for only where nothing else tells it.
    """
    if not 200 <= status <= 599:
        raise MalformedResponse(f"status {status}")
    head = [_STATUS_LINES[status] if status in _STATUS_LINES else status_line(status)]
    head += passing
    response = Response()
    response.status = status
    response.dated = chunked = False
    length = -1
    connection: list[bytes] | None = None
    trailer: list[bytes] | None = None
    upgrade: list[bytes] | None = None
    known = RESPONSE_NAMES.known
    for name, value in special:
        kind = known[name] if name in known else RESPONSE_NAMES.kind(name)
        if kind == CONTENT_LENGTH:
            response.digits = value = value.rstrip(b" \t")
            if not value.isdigit():
                raise MalformedResponse("malformed Content-Length")
            length = int(value)
        elif kind == DATE:
            response.dated = True
            head += (b"\r\ndate: ", value)
        elif kind == CONNECTION:
            connection = [value] if connection is None else [*connection, value]
        elif kind == PASS:
            head += (begin(name), value)
        elif kind == TRANSFER_ENCODING:
            if chunked or value.strip().lower() != b"chunked":
                raise MalformedResponse("transfer coding other than chunked, once")
            chunked = True
        elif kind == TRAILER:
            trailer = [value] if trailer is None else [*trailer, value]
        elif kind == UPGRADE:
            upgrade = [value] if upgrade is None else [*upgrade, value]
    # Without a Connection field only HTTP/1.1 keeps a connection alive (RFC 9112 section 9.3).
    if not keep_alive or connection is not None:
        if not _is_http11(version()) and chunked:
            raise MalformedResponse("chunks in HTTP/1.0")
        if connection is not None and (len(connection) > 1 or connection[0] not in PERSISTENT):
            head[1:] = without(head[1:], _nominated(connection))
    if upgrade is not None and status == 426:
        # The protocol that the client must change to (RFC 9110 section 15.5.22); in other responses Upgrade is only an
        # advertisement.
        head += (b"\r\nconnection: upgrade\r\nupgrade: ", b", ".join(upgrade))
    response.head = head
    response.length = length
    if to_head or status in _BODILESS:
        response.framing = NO_BODY
    elif chunked:
        response.framing = CHUNKS if trailer is None else _announce(response, trailer, connection or [])
    else:
        response.framing = LENGTH if length >= 0 else UNTIL_CLOSE
    return response


def to_cache(response: Response) -> Response:
    """A cache entry for a head whose body has a known length. Make it before `response_head` extends the head."""
    entry = _copy(response)
    entry.head = [b"".join(response.head)]
    return entry


def cached_response(entry: Response) -> Response:
    """A new head from a cache entry."""
    response = _copy(entry)
    response.head = entry.head.copy()
    return response


def _copy(other: Response) -> Response:
    response = Response()
    response.status = other.status
    response.framing = LENGTH
    response.length = other.length
    response.digits = other.digits
    response.dated = other.dated
    return response


def _announce(response: Response, trailer: list[bytes], connection: list[bytes]) -> int:
    """Keep the names that the Trailer fields announce. Returns the framing: CHUNKS if none of them may be forwarded."""
    response.announced = announced(trailer, _nominated(connection))
    return TRAILED if response.announced else CHUNKS


def _is_http11(version: str) -> bool:
    if version not in ("1.1", "1.0"):
        raise MalformedResponse(f"HTTP version {version}")
    return version == "1.1"


def _nominated(connection: list[bytes]) -> frozenset[bytes]:
    try:
        return nominated(connection)
    except TooManyOptions as many:
        raise MalformedResponse(str(many)) from None


def response_head(
    response: Response, http11: bool, keep_alive: bool, request_id: bytes, date: bytes
) -> list[bytes]:
    """The head for the client, in pieces, with its final empty line; call it once.

    `keep_alive` is whether the client's connection stays open; a body of unknown length to HTTP/1.0 needs it to
    be False. `date` is a whole Date field, used where the upstream sent none (RFC 9110 section 6.6.1).
    """
    pieces = response.head
    if response.framing > LENGTH:
        if http11:
            pieces.append(b"\r\ntransfer-encoding: chunked")
            if response.framing == TRAILED:
                pieces += (b"\r\ntrailer: ", b", ".join(response.announced))
    elif response.length >= 0 and response.status != 204:
        pieces += (b"\r\ncontent-length: ", response.digits)
    if not response.dated:
        pieces.append(date)
    if http11 and keep_alive:
        pieces += (b"\r\nx-request-id: ", request_id, b"\r\n\r\n")
    else:
        pieces += (b"\r\nx-request-id: ", request_id, persistence(keep_alive))
    return pieces


def withhold(response: Response, names: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Remove the fields of these names, lower case, from a head that was read, not cached; they are not announced as
    trailers either."""
    fields = response.head[1:]
    if response.framing == TRAILED:
        response.announced = {name: None for name in response.announced if name not in names}
        if not response.announced:
            response.framing = CHUNKS
    response.head[1:] = without(fields, names)
    return taken_out(fields, names)


def add_fields(response: Response, fields: Sequence[tuple[str, str]]) -> None:
    """Add fields of the gateway's own to a head."""
    for name, value in fields:
        response.head += (begin(name.encode("latin-1")), value.encode("latin-1"))


def persistence(keep_alive: bool) -> bytes:
    """The Connection field, if the version alone does not imply it, and the empty line that ends the head."""
    return b"\r\nconnection: keep-alive\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n"


def interim_head(status: int, passing: list[bytes], special: Fields) -> bytes:
    """An interim head (RFC 9110 section 15.2), except 101: only end-to-end fields. Raises MalformedResponse."""
    fields, connection = passing.copy(), list[bytes]()
    for name, value in special:
        kind = RESPONSE_NAMES.kind(name)
        if kind == PASS:
            fields += (begin(name), value)
        elif kind == CONNECTION:
            connection.append(value)
    if connection:
        fields = without(fields, _nominated(connection))
    return b"".join([status_line(status), *fields, b"\r\n\r\n"])


def status_line(status: int) -> bytes:
    """The status line with the standard phrase, or none; without line end."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status


def chunk(pieces: Sequence[bytes], size: int) -> list[bytes]:
    """One chunk that holds all the pieces, `size` bytes together (RFC 9112 section 7.1)."""
    return [b"%x\r\n" % size, *pieces, b"\r\n"]


LAST_CHUNK: Final = b"0\r\n\r\n"
