"""Small requests, and the fields of heads."""

from __future__ import annotations

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
OPTIONS = b"OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n\r\n"


def with_fields(message: bytes, *fields: bytes) -> bytes:
    """The message with more fields at the end of its head."""
    head, _, body = message.partition(b"\r\n\r\n")
    return b"\r\n".join((head, *fields)) + b"\r\n\r\n" + body


def lines(head: bytes) -> list[bytes]:
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


def values(head: bytes, name: bytes) -> list[bytes]:
    """Of every field of this name, in order."""
    pairs = (line.partition(b": ") for line in lines(head)[1:])
    return [value for key, _, value in pairs if key.lower() == name]
