"""A deliberately simple reader of well-formed HTTP/1.1 messages: an oracle for the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

ONCE = frozenset({"host", "content-length", "transfer-encoding", "date", "x-request-id"})
"""Fields that must not be repeated."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request or response."""

    start: str
    fields: dict[str, str]
    body: bytes
    whole: bool
    """False: the bytes ended before the message."""
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start.split(" ")[1])


class Unreadable(AssertionError):
    """These bytes are not well-formed messages."""


def requests(data: bytes) -> Iterator[Message]:
    """Each request; the last one may be incomplete."""
    while data:
        head, data = _head(data)
        if head is None:
            return
        message, data = _message(*head, data)
        yield message


def responses(data: bytes, methods: Sequence[str], ended: bool) -> Iterator[Message]:
    """Each final response to requests with these methods; the last one may be incomplete.

    `ended`: the connection was closed properly, which ends a body without length.
    """
    left = list(methods)
    while data:
        head, data = _head(data)
        if head is None:
            return
        start, fields = head
        status = int(start.split(" ")[1])
        if 100 <= status < 200:
            continue
        # The response to an unreadable request has no method.
        method = left.pop(0) if left else ""
        if method == "HEAD" or status in (204, 304):
            yield Message(start, fields, b"", True)
        elif "content-length" in fields or "transfer-encoding" in fields:
            message, data = _message(start, fields, data)
            yield message
        else:
            yield Message(start, fields, data, ended)
            return


def _head(data: bytes) -> tuple[tuple[str, dict[str, str]] | None, bytes]:
    raw, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None, b""
    start, *lines = raw.decode("latin-1").split("\r\n")
    return (start, _fields(lines)), rest


def _fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        name = name.lower()
        if not colon or name != name.strip() or (name in fields and name in ONCE):
            raise Unreadable(line)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if {"content-length", "transfer-encoding"} <= fields.keys():
        raise Unreadable(f"two framings: {fields}")
    return fields


def _message(start: str, fields: dict[str, str], data: bytes) -> tuple[Message, bytes]:
    if fields.get("transfer-encoding") == "chunked":
        body, rest = _chunks(data)
        trailers, rest = _trailers(rest) if rest is not None else ({}, None)
        if rest is None:
            return Message(start, fields, body, False), b""
        return Message(start, fields, body, True, trailers), rest
    length = int(fields.get("content-length", "0"))
    return Message(start, fields, data[:length], len(data) >= length), data[length:]


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """The body so far, and the bytes after its last chunk, or None before the last chunk."""
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            return body, None
        size = int(line, 16)
        if not size:
            return body, data
        body += data[:size]
        if len(data) < size + 2:
            return body, None
        if data[size : size + 2] != b"\r\n":
            raise Unreadable(data[: size + 2])
        data = data[size + 2 :]


def _trailers(data: bytes) -> tuple[dict[str, str], bytes | None]:
    """The trailer section, and the bytes after it, or None before its end."""
    if data.startswith(b"\r\n"):
        return {}, data[2:]
    raw, end, rest = data.partition(b"\r\n\r\n")
    return (_fields(raw.decode("latin-1").split("\r\n")), rest) if end else ({}, None)
