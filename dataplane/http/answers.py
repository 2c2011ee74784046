"""Reading an upstream's response head as strictly as a client's, and writing the one the client gets.

The status line is ours, with the standard phrase. Hop-by-hop fields go; the framing is written anew for what the
client speaks (RFC 9112 section 6): a body of known length keeps it, any other is sent in chunks to HTTP/1.1 and
ended by closing to HTTP/1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from dataplane.http.headers import Fields
from dataplane.http.names import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    RESPONSE_KINDS,
    TRAILER,
    TRANSFER_ENCODING,
    nominated,
    without,
)

NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKS: Final = 2
UNTIL_CLOSE: Final = 3

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}
_BODILESS: Final = (204, 304)


class BadAnswer(Exception):
    """The upstream's response cannot be read in one way only: 502, and its connection closes."""


class Answer:
    """A response head. `fields` holds those that travel on, four pieces to a field."""

    __slots__ = ("dated", "fields", "framing", "length", "status")

    status: int
    framing: int
    """How the upstream delimits the body: NO_BODY, LENGTH, CHUNKS or UNTIL_CLOSE."""
    length: int | None
    """Content-Length, also where no body follows (HEAD, 304)."""
    dated: bool
    fields: list[bytes]


def read_answer(
    status: int, fields: Fields, to_head: bool, keep_alive: bool, version: Callable[[], str]
) -> Answer:
    """The head's one meaning. Raises BadAnswer.

    `to_head`: it answers a HEAD request. `keep_alive` and `version` are the parser's; the version is asked for
    only where keep-alive does not tell it.
    """
    if not 200 <= status <= 599:
        raise BadAnswer(f"status {status}")
    answer = Answer()
    answer.status = status
    answer.dated = False
    length: int | None = None
    chunked = False
    pieces: list[bytes] = []
    connection: list[bytes] | None = None
    kinds = RESPONSE_KINDS
    for name, value in fields:
        kind = kinds[name]
        if not kind:
            pieces += (name, b": ", value, b"\r\n")
        elif kind == CONTENT_LENGTH:
            length = _length(value)
        elif kind == DATE:
            answer.dated = True
            pieces += (name, b": ", value, b"\r\n")
        elif kind == CONNECTION:
            connection = [value] if connection is None else [*connection, value]
        elif kind == TRANSFER_ENCODING:
            if value.strip().lower() != b"chunked":
                raise BadAnswer("transfer coding other than chunked")
            chunked = True
    if connection is not None and (names := nominated(connection)):
        pieces = without(pieces, names)
    if (not keep_alive or connection is not None) and version() not in (
        ("1.1",) if chunked else ("1.1", "1.0")
    ):
        raise BadAnswer(f"HTTP version {version()}")
    answer.fields = pieces
    answer.length = length
    if to_head or status in _BODILESS:
        answer.framing = NO_BODY
    elif chunked:
        answer.framing = CHUNKS
    else:
        answer.framing = UNTIL_CLOSE if length is None else LENGTH
    return answer


def _length(value: bytes) -> int:
    value = value.strip()
    if not value.isdigit():
        raise BadAnswer("malformed Content-Length")
    return int(value)


def answer_head(
    answer: Answer, http11: bool, keep_alive: bool, request_id: bytes, date: bytes
) -> tuple[bytes, bool]:
    """The whole head for the client, and whether the body goes out in chunks.

    `keep_alive` is whether the client's connection stays open; a body of unknown length to HTTP/1.0 needs it to
    be False. `date` is a whole Date line, used where the upstream sent none (RFC 9110 section 6.6.1).
    """
    framing, length = answer.framing, answer.length
    chunked = framing >= CHUNKS and http11
    pieces = [status_line(answer.status)]
    pieces += answer.fields
    if chunked:
        pieces.append(b"transfer-encoding: chunked\r\n")
    elif length is not None and answer.status != 204:
        pieces.append(b"content-length: %d\r\n" % length)
    if not answer.dated:
        pieces.append(date)
    pieces += (b"x-request-id: ", request_id, persistence(http11, keep_alive))
    return b"".join(pieces), chunked


def persistence(http11: bool, keep_alive: bool) -> bytes:
    """The line end, the Connection field if one is needed, and the empty line that ends the head."""
    if not keep_alive:
        return b"\r\nconnection: close\r\n\r\n"
    return b"\r\n\r\n" if http11 else b"\r\nconnection: keep-alive\r\n\r\n"


def interim_head(status: int, fields: Fields) -> bytes:
    """A 1xx response for the client (RFC 9110 section 15.2): end-to-end fields only. 101 is refused."""
    if status == 101:
        raise BadAnswer("101 to a request that asked for no upgrade")
    pieces: list[bytes] = [status_line(status)]
    for name, value in fields:
        if not RESPONSE_KINDS[name]:
            pieces += (name, b": ", value, b"\r\n")
    return b"".join([*pieces, b"\r\n"])


def status_line(status: int) -> bytes:
    """With the standard phrase, or none."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def chunk(pieces: Sequence[bytes]) -> list[bytes]:
    """One chunk that holds all the pieces (RFC 9112 section 7.1)."""
    return [b"%x\r\n" % sum(map(len, pieces)), *pieces, b"\r\n"]


LAST_CHUNK: Final = b"0\r\n\r\n"
