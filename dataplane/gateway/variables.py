"""Values of edited header fields, with the variables of an exchange.

What comes from a client or a token is written as in the identity fields: visible ASCII as it is, the rest
percent-encoded, so that no value can end a field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from dataplane.gateway.policy.cors import OF_RESPONSES, Cors
from dataplane.gateway.policy.edits import HeaderEdits
from dataplane.proxy.edits import Edits, FieldValue
from dataplane.proxy.exchange import Exchange

_VISIBLE: Final = "!#$&'()*+,/:;=?@[]^`{|}\"<>\\ "
_PLAIN: Final = re.compile(f"[{re.escape(_VISIBLE)}\\w.~-]*", re.ASCII)
"""What needs no encoding, by the rules of `quote`."""
_SPLIT: Final = re.compile(r"(%\{[^}]*\})")


class Template(FieldValue):
    """Texts and variables, in turn. Empty if all its variables are."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[str]) -> None:
        """As `split` makes them."""
        self._parts = [(part[2:-1], "") if part.startswith("%{") else ("", part) for part in parts]
        """The name of a variable, or a text."""

    def of(self, exchange: Exchange) -> bytes:
        found, given = list[str](), False
        for name, text in self._parts:
            value = written(_value(name, exchange)) if name else text
            given = given or bool(name and value)
            found.append(value)
        return "".join(found).strip(" ").encode("ascii") if given else b""


def _value(name: str, exchange: Exchange) -> str:
    if name == "address":
        return exchange.address
    if name == "subject":
        return exchange.identity.subject
    if name == "request_id":
        return exchange.request_id.decode("latin-1")
    return exchange.identity.claims.get(name.removeprefix("claim:"), "")


def written(value: str) -> str:
    """A value as it stands in a field."""
    return value if _PLAIN.fullmatch(value) else quote(value, safe=_VISIBLE, errors="replace")


def split(text: str) -> list[str]:
    """The texts and variables of a value."""
    return [part for part in _SPLIT.split(text) if part]


def claims_in(edits: HeaderEdits | None) -> frozenset[str]:
    """The claims that values name."""
    values = (*edits.set.values(), *edits.add.values()) if edits is not None else ()
    names = (part[2:-1] for value in values for part in split(value) if part.startswith("%{"))
    return frozenset(name.removeprefix("claim:") for name in names if name.startswith("claim:"))


def prepared(edits: HeaderEdits, route: str, cors: Cors | None = None) -> Edits:
    """The edits of a route of this name as the engine carries them out; with those that CORS asks for."""
    dropped = OF_RESPONSES if cors is not None else ()
    names = frozenset(name.encode("latin-1") for name in (*edits.remove, *edits.set, *dropped))
    given = [*sorted(edits.set.items()), *sorted(edits.add.items())]
    both = [(name.encode("latin-1"), value.replace("%{route}", written(route))) for name, value in given]
    fixed = [(name, value.encode("latin-1")) for name, value in both if "%{" not in value]
    if cors is not None and cors.varies:
        fixed.append((b"vary", b"Origin"))
    made = [(name, Template(split(value))) for name, value in both if "%{" in value]
    return Edits(names, fixed, made)
