"""Values that may hold secrets in any place, as logs, traces and taps show them: header fields, and paths.

A URL may stand in any field (`Referer`, `Location`, `Link`, a callback), and its query is no less secret there than in
the request itself. So a pair `name=value` with the name of a secret is hidden wherever it stands.
"""

from __future__ import annotations

import re
from typing import Final

from dataplane.observe.line_format import MOST_PAIRS, REDACTED, encodes, is_secret

MOST_NAMES: Final = 8
"""Names in one pair that are looked at: URLs in a list may follow each other without a blank."""
_SEPARATORS: Final = re.compile(r'([&;#\s<>"]+)')
"""Between the pairs of a query, and between URLs and what stands around them."""
_BEFORE_NAME: Final = re.compile("[?,/]")
LONGEST_NAME: Final = 100
_USER: Final = re.compile(r"//[^/?#\s<>\"]*@")
"""Credentials of a URL."""


def redact_value(value: str, secret: frozenset[str]) -> str:
    """A field's value with the values of these parameters, in the form of `plain`, and credentials replaced."""
    if "@" in value:
        value = _USER.sub(f"//{REDACTED}@", value)
    if "=" not in value and "%" not in value:
        return value
    # With the separators between them.
    *pieces, last = _SEPARATORS.split(value, maxsplit=MOST_PAIRS)
    shown = [_redact(piece, secret) for piece in pieces]
    return "".join([*shown, REDACTED if _SEPARATORS.search(last) else _redact(last, secret)])


def redact_path(path: str, secret: frozenset[str]) -> str:
    """A path with the values of such parameters replaced: `/cart;jsessionid=...` (RFC 3986, 3.3)."""
    if ";" not in path or "=" not in path:
        return path
    head, *parameters = path.split(";", MOST_PAIRS + 1)
    pieces = [head, *(_parameter(one, secret) for one in parameters[:MOST_PAIRS])]
    return ";".join([*pieces, REDACTED] if len(parameters) > MOST_PAIRS else pieces)


def _redact(piece: str, secret: frozenset[str]) -> str:
    """Up to the first secret name; what follows may belong to its value."""
    *before, last = piece.split("=", MOST_NAMES)
    for number, text in enumerate(before, 1):
        if is_secret(_BEFORE_NAME.split(text[-LONGEST_NAME:])[-1], secret):
            return f"{'='.join(before[:number])}={REDACTED}"
    if "=" in last:
        return f"{'='.join(before)}={REDACTED}"
    if not encodes(piece, secret):
        return piece
    return f"{before[0]}={REDACTED}" if before else REDACTED


def _parameter(text: str, secret: frozenset[str]) -> str:
    name, equals, rest = text.partition("=")
    if not equals or not is_secret(name, secret):
        return text
    _, slash, following = rest.partition("/")
    return f"{name}={REDACTED}{slash}{following}"
