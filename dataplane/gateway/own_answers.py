"""Edits of the header fields of answers that a route gives itself (`respond`, `redirect`)."""

from __future__ import annotations

from typing import cast

from dataplane.proxy.edits import Edits
from dataplane.proxy.exchange import Exchange, HeaderEdits
from dataplane.proxy.reply import Reply, of_fields


def edited(reply: Reply, wanted: HeaderEdits, exchange: Exchange) -> Reply:
    """The same answer after the edits, as the response of a service would have them."""
    edits = cast(Edits, wanted)
    fields = [field for field in reply.fields if field[0].encode("latin-1") not in edits.names]
    fields += [(name.decode("latin-1"), value.decode("latin-1")) for name, value in edits.fixed]
    for name, value in edits.made:
        made = value.of(exchange)
        if made:
            fields.append((name.decode("latin-1"), made.decode("latin-1")))
    return of_fields(reply, fields)
