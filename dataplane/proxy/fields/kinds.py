"""Meanings of field names: one table for requests, one for responses (RFC 9110 section 7.6, RFC 9112).

Fields of kind PASS are forwarded unread. Every other kind is read, dropped or rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase, digits
from typing import Final

PASS: Final = 0
DROP: Final = 1
HOST: Final = 2
AUTHORIZATION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
CONNECTION: Final = 6
UPGRADE: Final = 7
EXPECT: Final = 8
REQUEST_ID: Final = 9
FORWARDED_FOR: Final = 10
FORWARDED_PROTO: Final = 11
FORWARDED_HOST: Final = 12
TRAILER: Final = 13
DATE: Final = 14
FORWARDED: Final = 15
TRACEPARENT: Final = 16
TRACESTATE: Final = 17
MAX_FORWARDS: Final = 18
COOKIE: Final = 19

_HOP_BY_HOP = dict.fromkeys(
    (
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"http2-settings",
    ),
    DROP,
)

REQUEST: Final[Mapping[bytes, int]] = _HOP_BY_HOP | {
    b"host": HOST,
    b"authorization": AUTHORIZATION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"x-request-id": REQUEST_ID,
    b"x-forwarded-for": FORWARDED_FOR,
    b"x-forwarded-proto": FORWARDED_PROTO,
    b"x-forwarded-host": FORWARDED_HOST,
    b"traceparent": TRACEPARENT,
    b"tracestate": TRACESTATE,
    b"max-forwards": MAX_FORWARDS,
    b"cookie": COOKIE,
    b"forwarded": FORWARDED,
}

RESPONSE: Final[Mapping[bytes, int]] = _HOP_BY_HOP | {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"x-request-id": DROP,
    b"trailer": TRAILER,
    b"date": DATE,
}

_FOLDED: Final = bytes(
    byte if chr(byte) in ascii_lowercase + digits else ord("-") for byte in bytes(range(256)).lower()
)


def folded(name: bytes) -> bytes:
    """A name as a CGI-style server reads it: without case, and with a dash for every character that is neither letter
    nor digit."""
    return name.translate(_FOLDED)
