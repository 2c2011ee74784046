"""Field names on the wire: the kind of each spelling, and the fields of a head sorted by kind.

A name that equals one with a kind only after a CGI-style server has folded it ("Content_Length", "X.Auth.Subject") is
dropped: to the instance it might be the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from dataplane.proxy.fields.asserted import ASSERTED, CREDENTIALS, split
from dataplane.proxy.fields.kinds import COOKIE, DROP, PASS, REQUEST, RESPONSE, folded

_SPACE: Final = 0x20
_TAB: Final = 0x09
_MAX_KNOWN: Final = 2_000
_MAX_OPTIONS: Final = 64

VIA: Final = b"\r\nvia: 1.1 headgate"
"""Our part of a request's Via field (RFC 9110 section 7.6.3), for one that came in HTTP/1.1."""
VIA_10: Final = b"\r\nvia: 1.0 headgate"


class Names:
    """The kind of each name, by its spelling on the wire, so that most look-ups need no case folding.

    Bounded: clients choose the names, so past `_MAX_KNOWN` spellings new ones are classified each time.
    """

    def __init__(self, kinds: Mapping[bytes, int], dropped: Sequence[bytes] = ()) -> None:
        """`dropped` are further names, or prefixes that end with "*", that are not forwarded in any spelling."""
        self._kinds = kinds
        self._dropped, self._prefixes = split(dropped)
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
            if len(self.known) < _MAX_KNOWN and len(name) <= 64:
                self.known[name] = known
                self.passing[name] = begin(name) if known == PASS else b""
        return known

    def _classify(self, name: bytes) -> int:
        lower = name.lower()
        plain = folded(lower)
        kind = self._kinds.get(lower)
        if kind is not None:
            # Cookies travel on, so that they may be among the fields that do not.
            return DROP if kind == COOKIE and plain in self._dropped else kind
        if plain in CREDENTIALS and plain not in self._dropped:
            return PASS
        if plain in self._kinds or plain in self._dropped or plain.startswith(self._prefixes):
            return DROP
        return PASS


_ASSERTED: Final = tuple(chain.from_iterable(ASSERTED.values()))


@lru_cache(maxsize=8)
def request_names(stripped: tuple[str, ...] = ()) -> Names:
    """Those of requests; `stripped` names and prefixes (ending with "*") are not forwarded either."""
    more = (name.lower().replace("_", "-").encode("ascii") for name in stripped)
    return Names(REQUEST, (*_ASSERTED, *more))


REQUEST_NAMES: Final = request_names()
RESPONSE_NAMES: Final = Names(RESPONSE)

PERSISTENT: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"Close"})
"""Connection fields that name no other field."""


SESSION: Final = frozenset({b"headgate", b"__Host-headgate", b"headgate-renew", b"__Secure-headgate-renew"})
"""Cookies of the control plane's dashboard."""


def without_session(cookies: bytes) -> bytes:
    """The value of a Cookie field without the dashboard's session; b"" if nothing else is in it.

    Browsers send cookies to every port of a host (RFC 6265 section 8.5), and a service could act with the session.
    """
    if b"headgate" not in cookies:
        return cookies
    pairs = [pair.strip(b" \t") for pair in cookies.split(b";")]
    return b"; ".join([pair for pair in pairs if pair.partition(b"=")[0].rstrip(b" \t") not in SESSION])


class TooManyOptions(ValueError):
    """The Connection fields have too many options."""


def begin(name: bytes) -> bytes:
    """The bytes before a field's value: line end, name, colon. A head is a sequence of such beginnings and values."""
    return b"\r\n%b: " % name


def nominated(values: list[bytes]) -> frozenset[bytes]:
    """Lower-case names that Connection fields declare hop-by-hop (RFC 9110 section 7.6.1), options left out.

    Raises TooManyOptions before the time for it grows with the head.
    """
    if sum(value.count(b",") + 1 for value in values) > _MAX_OPTIONS:
        raise TooManyOptions("too many connection options")
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


def taken_out(pieces: list[bytes], names: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """`removed` for reading: names in lower case, values without blanks around them."""
    return [(name.lower(), value.strip(b" \t")) for name, value in removed(pieces, names)]


def field_sorter(
    names: Names, passing: list[bytes], special: list[tuple[bytes, bytes]]
) -> Callable[[bytes, bytes], None]:
    """A parser's `on_header`: fields that are forwarded unread go to `passing` as they will be written, others to
    `special`.

    Both keep the order of the wire, also where a spelling is new: a proxy must not change the order of fields with the
    same name (RFC 9110 section 5.3). A closure instead of a method, because it is called for every field of every
    message.
    """
    known = names.passing

    def on_header(name: bytes, value: bytes) -> None:
        start = known.get(name)
        if start is None:
            start = begin(name) if names.kind(name) == PASS else b""
        # `len` of bytes is a field in C; their truth value would be a call into Python.
        if len(start):
            passing.append(start)
            passing.append(value)
        else:
            # The parser strips blanks before a value, but not those after it (RFC 9112 section 5.1).
            last = value[-1] if len(value) else 0
            if last in (_SPACE, _TAB):
                value = value.rstrip(b" \t")
            special.append((name, value))

    return on_header
