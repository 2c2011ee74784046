"""What a field name means to us: one table for requests, one for responses (RFC 9110 section 7.6, RFC 9112).

Fields of kind PASS travel unread. Every other kind is ours to read, to drop or to write anew. A name that would
only equal one of ours after a CGI-style server folded it ("Content_Length", "X.Auth.Subject") is dropped: to the
upstream it might be the real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
    # Said by us and by nobody else.
    b"x-auth-subject": DROP,
    b"x-auth-scopes": DROP,
    # Other ways to say who or where the client is; upstreams get the X-Forwarded fields instead.
    b"forwarded": DROP,
    b"x-forwarded-port": DROP,
    b"x-forwarded-server": DROP,
    b"x-forwarded-prefix": DROP,
    b"x-forwarded-scheme": DROP,
    b"x-forwarded-ssl": DROP,
    b"x-real-ip": DROP,
    # Some frameworks route by these in place of the target, behind the back of the route that was matched.
    b"x-original-url": DROP,
    b"x-rewrite-url": DROP,
    # Becomes HTTP_PROXY in CGI environments (CVE-2016-5385).
    b"proxy": DROP,
}

RESPONSE: Final[Mapping[bytes, int]] = _HOP_BY_HOP | {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": DROP,
    b"x-request-id": DROP,
    b"trailer": TRAILER,
    b"date": DATE,
}

_FOLDED: Final = re.compile(rb"[^a-z0-9-]")
_REMEMBERED: Final = 2_000


class Kinds(dict[bytes, int]):
    """Kind by name as spelled on the wire. Remembers spellings, so that most look-ups need no case folding.

    Bounded: clients choose the names, so past `_REMEMBERED` spellings new ones are classified each time.
    """

    def __init__(self, kinds: Mapping[bytes, int]) -> None:
        super().__init__(kinds)
        self._kinds = kinds

    def __missing__(self, name: bytes) -> int:
        kind = self.classify(name)
        if len(self) < _REMEMBERED and len(name) <= 64:
            self[name] = kind
        return kind

    def classify(self, name: bytes) -> int:
        """The kind of a name in any spelling."""
        lower = name.lower()
        if (kind := self._kinds.get(lower)) is not None:
            return kind
        return DROP if _FOLDED.sub(b"-", lower) in self._kinds else PASS


REQUEST_KINDS: Final = Kinds(REQUEST)
RESPONSE_KINDS: Final = Kinds(RESPONSE)


def nominated(values: list[bytes]) -> frozenset[bytes]:
    """Lower-case names that Connection fields declare hop-by-hop (RFC 9110 section 7.6.1), options left out."""
    tokens = (token.strip().lower() for value in values for token in value.split(b","))
    return frozenset(token for token in tokens if token not in (b"", b"close", b"keep-alive"))


def without(pieces: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The fields (four pieces each: name, colon, value, line end) whose names are not in `names`."""
    kept: list[bytes] = []
    for start in range(0, len(pieces), 4):
        if pieces[start].lower() not in names:
            kept += pieces[start : start + 4]
    return kept
