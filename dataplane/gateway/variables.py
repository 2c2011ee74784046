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
_SPLIT: Final = re.compile(r"(%\{[^}]*\})")


class Template(FieldValue):
    """Texts and variables, in turn. Empty if all its variables are."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[str]) -> None:
        """As `split` makes them."""
        self._parts = tuple(parts)

    def of(self, exchange: Exchange) -> bytes:
        found, given = [], False
        for part in self._parts:
            if part.startswith("%{"):
                value = _value(part[2:-1], exchange)
                given = given or bool(value)
                found.append(value)
            else:
                found.append(part)
        return "".join(found).strip(" ").encode("ascii") if given else b""


def _value(name: str, exchange: Exchange) -> str:
    if name == "address":
        value = exchange.address
    elif name == "subject":
        value = exchange.identity.subject
    elif name == "route":
        plan = exchange.plan
        value = plan.route_name if plan is not None else ""
    elif name == "request_id":
        value = exchange.request_id.decode("latin-1")
    else:
        value = exchange.identity.claims.get(name.removeprefix("claim:"), "")
    return quote(value, safe=_VISIBLE, errors="replace")


def split(text: str) -> list[str]:
    """The texts and variables of a value."""
    return [part for part in _SPLIT.split(text) if part]


def claims_in(edits: HeaderEdits | None) -> frozenset[str]:
    """The claims that values name."""
    values = (*edits.set.values(), *edits.add.values()) if edits is not None else ()
    names = (part[2:-1] for value in values for part in split(value) if part.startswith("%{"))
    return frozenset(name.removeprefix("claim:") for name in names if name.startswith("claim:"))


def prepared(edits: HeaderEdits, cors: Cors | None = None) -> Edits:
    """Edits as the engine carries them out; with those that CORS asks for."""
    dropped = OF_RESPONSES if cors is not None else ()
    names = frozenset(name.encode("latin-1") for name in (*edits.remove, *edits.set, *dropped))
    both: list[tuple[str, str]] = [*sorted(edits.set.items()), *sorted(edits.add.items())]
    fixed = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in both if "%{" not in value]
    if cors is not None and cors.varies:
        fixed.append((b"vary", b"Origin"))
    made = [(name.encode("latin-1"), Template(split(value))) for name, value in both if "%{" in value]
    return Edits(names, fixed, made)
