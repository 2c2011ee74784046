"""What a field name means to us: one table for requests, one for responses (RFC 9110 section 7.6, RFC 9112).

Fields of kind PASS travel unread. Every other kind is ours to read, to drop or to write anew. A name that would
only equal one of ours after a CGI-style server folded it ("Content_Length", "X.Auth.Subject") is dropped: to the
upstream it might be the real one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
    # Said by us and by nobody else.
    b"x-auth-subject": DROP,
    b"x-auth-scopes": DROP,
    # Other ways to say who or where the client is; upstreams get the X-Forwarded fields instead.
    b"forwarded": FORWARDED,
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
    b"upgrade": UPGRADE,
    b"x-request-id": DROP,
    b"trailer": TRAILER,
    b"date": DATE,
}

_FOLDED: Final = re.compile(rb"[^a-z0-9-]")
_REMEMBERED: Final = 2_000


class Names:
    """What each name means, by its spelling on the wire, so that most look-ups need no case folding.

    Bounded: clients choose the names, so past `_REMEMBERED` spellings new ones are classified each time.
    """

    def __init__(self, kinds: Mapping[bytes, int]) -> None:
        self._kinds = kinds
        self.known: dict[bytes, int] = {}
        """Kind by spelling, of those seen before."""
        self.passing: dict[bytes, bytes] = {}
        """Spellings seen before: those of kind PASS with the bytes that begin such a field (line end, name, colon),
        all others with none."""

    def kind(self, name: bytes) -> int:
        """The kind of a name in any spelling."""
        known = self.known.get(name)
        if known is None:
            known = self._classify(name)
            if len(self.known) < _REMEMBERED and len(name) <= 64:
                self.known[name] = known
                self.passing[name] = begin(name) if known == PASS else b""
        return known

    def _classify(self, name: bytes) -> int:
        lower = name.lower()
        if (kind := self._kinds.get(lower)) is not None:
            return kind
        return DROP if folded(lower) in self._kinds else PASS


REQUEST_NAMES: Final = Names(REQUEST)
RESPONSE_NAMES: Final = Names(RESPONSE)

PERSISTENT: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Close"})
"""Connection fields that name no other field."""


def folded(lower: bytes) -> bytes:
    """What a CGI-style server makes equal: all that is neither letter nor digit counts as a dash."""
    return _FOLDED.sub(b"-", lower)


def begin(name: bytes) -> bytes:
    """What a field begins with, the end of the line before it included: a head is such beginnings and values."""
    return b"\r\n%b: " % name


def nominated(values: list[bytes]) -> frozenset[bytes]:
    """Lower-case names that Connection fields declare hop-by-hop (RFC 9110 section 7.6.1), options left out."""
    tokens = (token.strip().lower() for value in values for token in value.split(b","))
    return frozenset(token for token in tokens if token not in (b"", b"close", b"keep-alive"))


def without(pieces: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The fields (two pieces each: beginning and value) whose names are not in `names`."""
    kept: list[bytes] = []
    for i in range(0, len(pieces), 2):
        if pieces[i][2:-2].lower() not in names:
            kept += pieces[i : i + 2]
    return kept


def removed(pieces: list[bytes], names: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """The names and values of those fields that `without` leaves out."""
    return [
        (pieces[i][2:-2], pieces[i + 1]) for i in range(0, len(pieces), 2) if pieces[i][2:-2].lower() in names
    ]


def collector(
    names: Names, passing: list[bytes], special: list[tuple[bytes, bytes]]
) -> Callable[[bytes, bytes], None]:
    """A parser's `on_header`: fields that travel unread go to `passing` as they will be written, others to `special`.

    Both in the order they come in, also where a spelling is new: a proxy must not change the order of fields with the
    same name (RFC 9110 section 5.3). Called for every field of every message, hence a closure and no method.
    """
    known = names.passing

    def on_header(name: bytes, value: bytes) -> None:
        start = known.get(name)
        if start:
            passing.append(start)
            passing.append(value)
        elif start is None and names.kind(name) == PASS:
            passing.append(begin(name))
            passing.append(value)
        else:
            special.append((name, value))

    return on_header
