"""The head of a response whose body the gateway may encode: whether it does, and what the head then says.

| response | what happens |
|---|---|
| of a type that the route encodes, and long enough | encoded, if the client accepts it; `Vary` says so either way |
| to HEAD | the head that GET would get |
| 304 | a strong ETag becomes weak, as it was in the 200 |
| 1xx, 204, 206, with Content-Range | stays as it is: a range counts the bytes of what was asked for |
| with Content-Encoding, or `no-transform` (also in the request) | stays as it is |
| with a digest or a signature, also in trailers | stays as it is: they are over the bytes that the instance sent |

Encoded, it has no Content-Length and no Accept-Ranges, and a strong ETag becomes weak (RFC 9110, section 8.8.1): the
same tag would otherwise name two different sequences of bytes.
"""

from __future__ import annotations

from typing import Final

from dataplane.proxy.content_coding import Codings
from dataplane.proxy.http1.names import begin
from dataplane.proxy.http1.response import CHUNKS, NO_BODY, TRAILED, Response
from dataplane.proxy.messages import Request

_DIGESTS: Final = frozenset(
    {b"content-md5", b"content-digest", b"repr-digest", b"digest", b"signature-input", b"signature"}
)
_UNTOUCHED: Final = _DIGESTS | {b"content-encoding", b"content-range"}
_BODILESS: Final = (204, 205, 206)
_VARIES: Final = (b"vary", b"Accept-Encoding")

Field = tuple[bytes, bytes]


def encode_head(rules: Codings, request: Request, response: Response, held: int, full: bool = False) -> str:
    """Change the head as the table says. Returns the coding for the body; "" if it stays as it is.

    `held` is the length of a body that has come whole with the head; -1 if more is to come. `full`: no more bodies can
    be encoded now.
    """
    status, lines = response.status, b"".join(response.head).split(b"\r\n")
    fields = [_field(line) for line in lines[1:]]
    if status in _BODILESS or (response.framing == NO_BODY and request.method != "HEAD" and status != 304):
        return ""
    if status == 304:
        if rules.choose(request.field("accept-encoding")):
            _put(response, lines[0], _varying(_weak(fields)))
        return ""
    if not _may_encode(rules, request, response, fields) or _too_small(rules, response, held):
        return ""
    # HTTP/1.0 has no chunks: without its length, a client cannot tell a whole body from one that was cut off.
    coding = rules.choose(request.field("accept-encoding")) if request.http11 and not full else ""
    if coding:
        fields = [each for each in _weak(fields) if each[0].lower() != b"accept-ranges"]
        fields.append((b"content-encoding", coding.encode("ascii")))
        response.length = -1
    _put(response, lines[0], _varying(fields))
    return coding if response.framing != NO_BODY else ""


def in_chunks(response: Response) -> Response:
    """The same head for a body whose length is not known."""
    made = Response()
    made.status, made.head, made.length, made.dated = response.status, response.head, -1, response.dated
    made.framing = CHUNKS
    if response.framing == TRAILED:
        made.framing, made.announced = TRAILED, response.announced
    return made


def _field(line: bytes) -> Field:
    name, _, value = line.partition(b": ")
    return name, value


def _may_encode(rules: Codings, request: Request, response: Response, fields: list[Field]) -> bool:
    kinds = [value for name, value in fields if name.lower() == b"content-type"]
    if len(kinds) != 1 or not rules.covers(kinds[0]):
        return False
    names = {name.lower() for name, _ in fields}
    if not names.isdisjoint(_UNTOUCHED):
        return False
    if response.framing == TRAILED and not _DIGESTS.isdisjoint(response.announced):
        return False
    controls = [value.lower() for name, value in fields if name.lower() == b"cache-control"]
    return not (
        any(b"no-transform" in value for value in controls)
        or "no-transform" in request.field("cache-control").lower()
    )


def _too_small(rules: Codings, response: Response, held: int) -> bool:
    length = response.length if response.length >= 0 else held
    return 0 <= length < max(1, rules.min_bytes)


def _weak(fields: list[Field]) -> list[Field]:
    return [
        (name, b"W/" + value) if name.lower() == b"etag" and value.startswith(b'"') else (name, value)
        for name, value in fields
    ]


def _varying(fields: list[Field]) -> list[Field]:
    """With Accept-Encoding in Vary."""
    said = b",".join(value.lower() for name, value in fields if name.lower() == b"vary")
    members = {member.strip(b" \t") for member in said.split(b",")}
    return fields if not members.isdisjoint((b"*", b"accept-encoding")) else [*fields, _VARIES]


def _put(response: Response, line: bytes, fields: list[Field]) -> None:
    response.head = [line]
    for name, value in fields:
        response.head += (begin(name), value)
