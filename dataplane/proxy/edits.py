"""Edits of header fields, prepared when the configuration changes: removals, then fields with fixed values, then fields
whose values are made for each exchange. The gateway decides on them; wire formats carry them out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dataplane.proxy.exchange import Exchange, HeaderEdits
from dataplane.proxy.fields.kinds import folded

MOST_CACHED: Final = 256
"""Heads whose edited form is kept."""


class FieldValue:
    """A value that differs from exchange to exchange."""

    __slots__ = ()

    def of(self, exchange: Exchange) -> bytes:
        """The value; empty: the field is left out."""
        raise NotImplementedError


class Edits(HeaderEdits):
    """Edits of the fields of one direction."""

    __slots__ = ("cached", "fixed", "folded", "made", "names", "rendered")

    def __init__(
        self,
        names: frozenset[bytes],
        fixed: Iterable[tuple[bytes, bytes]],
        made: Iterable[tuple[bytes, FieldValue]],
    ) -> None:
        """`names`, in lower case, are removed before the others are added."""
        self.names = names
        self.folded = frozenset(map(folded, names))
        """`names` as a CGI-style server reads them. Requests lose all their spellings: to the instance, a client's
        "X_Tenant" may be the field that is set."""
        self.fixed = tuple(fixed)
        self.made = tuple(made)
        self.rendered = b""
        """`fixed`, once HTTP/1 has written them."""
        self.cached: dict[bytes, bytes] = {}
        """By the fields of a head that many requests share, as HTTP/1 writes them: the same without `names`, and with
        `fixed`."""
