"""Reading an upstream's response head as strictly as a client's, and writing the one the client gets.

The status line is ours, with the standard phrase. Hop-by-hop fields go; the framing is written anew for what the
client speaks (RFC 9112 section 6): a body of known length keeps it, any other is sent in chunks to HTTP/1.1 and
ended by closing to HTTP/1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from dataplane.proxy.http1.names import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    PASS,
    PERSISTENT,
    RESPONSE_NAMES,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    TooManyOptions,
    begin,
    nominated,
    without,
)
from dataplane.proxy.http1.request import Fields
from dataplane.proxy.http1.trailers import Announced, announced

NO_BODY: Final = 0
LENGTH: Final = 1
UNTIL_CLOSE: Final = 2
CHUNKS: Final = 3
TRAILED: Final = 4
"""Chunks, with trailers that were announced and travel on."""

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b" % (status, status.phrase.encode()) for status in HTTPStatus
}
_BODILESS: Final = (204, 304)


class BadAnswer(Exception):
    """The upstream's response cannot be read in one way only: 502, and its connection closes."""


class Answer:
    """A response head."""

    __slots__ = ("announced", "dated", "digits", "framing", "head", "length", "status")

    status: int
    framing: int
    """How the upstream delimits the body: NO_BODY, LENGTH, UNTIL_CLOSE, CHUNKS or TRAILED."""
    length: int
    """Content-Length, also where no body follows (HEAD, 304); -1 without."""
    digits: bytes
    dated: bool
    announced: Announced
    """Names of trailers; there only where the framing is TRAILED."""
    head: list[bytes]
    """What the client gets of it: the status line, then two pieces (`names.begin`) for each field that travels on."""


def read_answer(
    status: int,
    passing: list[bytes],
    special: Fields,
    to_head: bool,
    keep_alive: bool,
    version: Callable[[], str],
) -> Answer:
    """The head's one meaning. Raises BadAnswer.

    `passing` and `special` are as for requests. `to_head`: it answers a HEAD request. `keep_alive` and `version` are
    the parser's; the version is asked for only where nothing else tells it.
    """
    if not 200 <= status <= 599:
        raise BadAnswer(f"status {status}")
    head = [_STATUS_LINES[status] if status in _STATUS_LINES else status_line(status)]
    head += passing
    answer = Answer()
    answer.status = status
    answer.dated = chunked = False
    length = -1
    connection: list[bytes] | None = None
    trailer: list[bytes] | None = None
    upgrade: list[bytes] | None = None
    known = RESPONSE_NAMES.known
    for name, value in special:
        kind = known[name] if name in known else RESPONSE_NAMES.kind(name)
        if kind == CONTENT_LENGTH:
            answer.digits = value = value.rstrip(b" \t")
            if not value.isdigit():
                raise BadAnswer("malformed Content-Length")
            length = int(value)
        elif kind == DATE:
            answer.dated = True
            head += (b"\r\ndate: ", value)
        elif kind == CONNECTION:
            connection = [value] if connection is None else [*connection, value]
        elif kind == PASS:
            head += (begin(name), value)
        elif kind == TRANSFER_ENCODING:
            if chunked or value.strip().lower() != b"chunked":
                raise BadAnswer("transfer coding other than chunked, once")
            chunked = True
        elif kind == TRAILER:
            trailer = [value] if trailer is None else [*trailer, value]
        elif kind == UPGRADE:
            upgrade = [value] if upgrade is None else [*upgrade, value]
    # Without a Connection field only HTTP/1.1 keeps a connection alive (RFC 9112 section 9.3).
    if not keep_alive or connection is not None:
        if not _is_http11(version()) and chunked:
            raise BadAnswer("chunks in HTTP/1.0")
        if connection is not None and (len(connection) > 1 or connection[0] not in PERSISTENT):
            head[1:] = without(head[1:], _nominated(connection))
    if upgrade is not None and status == 426:
        # What the client must change to (RFC 9110 section 15.5.22); everywhere else Upgrade is only an advertisement.
        head += (b"\r\nconnection: upgrade\r\nupgrade: ", b", ".join(upgrade))
    answer.head = head
    answer.length = length
    if to_head or status in _BODILESS:
        answer.framing = NO_BODY
    elif chunked:
        answer.framing = CHUNKS if trailer is None else _announce(answer, trailer, connection or [])
    else:
        answer.framing = LENGTH if length >= 0 else UNTIL_CLOSE
    return answer


def repeatable(answer: Answer) -> Answer:
    """A copy of a head whose body has a known length, for `repeated`; to be made before `answer_head` adds to it."""
    kept = _same(answer)
    kept.head = [b"".join(answer.head)]
    return kept


def repeated(kept: Answer) -> Answer:
    """A head that was read before, for another response."""
    answer = _same(kept)
    answer.head = kept.head.copy()
    return answer


def _same(other: Answer) -> Answer:
    answer = Answer()
    answer.status = other.status
    answer.framing = LENGTH
    answer.length = other.length
    answer.digits = other.digits
    answer.dated = other.dated
    return answer


def _announce(answer: Answer, trailer: list[bytes], connection: list[bytes]) -> int:
    """Keep what the Trailer fields announce. Returns the framing: without any that may travel on, just CHUNKS."""
    answer.announced = announced(trailer, _nominated(connection))
    return TRAILED if answer.announced else CHUNKS


def _is_http11(version: str) -> bool:
    if version not in ("1.1", "1.0"):
        raise BadAnswer(f"HTTP version {version}")
    return version == "1.1"


def _nominated(connection: list[bytes]) -> frozenset[bytes]:
    try:
        return nominated(connection)
    except TooManyOptions as many:
        raise BadAnswer(str(many)) from None


def answer_head(
    answer: Answer, http11: bool, keep_alive: bool, request_id: bytes, date: bytes
) -> list[bytes]:
    """The head for the client, in pieces, with its final empty line; to be asked for once.

    `keep_alive` is whether the client's connection stays open; a body of unknown length to HTTP/1.0 needs it to
    be False. `date` is a whole Date field, used where the upstream sent none (RFC 9110 section 6.6.1).
    """
    pieces = answer.head
    if answer.framing > LENGTH:
        if http11:
            pieces.append(b"\r\ntransfer-encoding: chunked")
            if answer.framing == TRAILED:
                pieces += (b"\r\ntrailer: ", b", ".join(answer.announced))
    elif answer.length >= 0 and answer.status != 204:
        pieces += (b"\r\ncontent-length: ", answer.digits)
    if not answer.dated:
        pieces.append(date)
    if http11 and keep_alive:
        pieces += (b"\r\nx-request-id: ", request_id, b"\r\n\r\n")
    else:
        pieces += (b"\r\nx-request-id: ", request_id, persistence(keep_alive))
    return pieces


def persistence(keep_alive: bool) -> bytes:
    """The Connection field, where the version alone does not say it, and the empty line that ends the head."""
    return b"\r\nconnection: keep-alive\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n"


def interim_head(status: int, passing: list[bytes], special: Fields) -> bytes:
    """A 1xx response for the client (RFC 9110 section 15.2), 101 excepted: end-to-end fields only. Raises BadAnswer."""
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
    """With the standard phrase, or none; without line end."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status


def chunk(pieces: Sequence[bytes], size: int) -> list[bytes]:
    """One chunk that holds all the pieces, `size` bytes together (RFC 9112 section 7.1)."""
    return [b"%x\r\n" % size, *pieces, b"\r\n"]


LAST_CHUNK: Final = b"0\r\n\r\n"
