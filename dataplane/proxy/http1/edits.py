"""Carries out edits of header fields on heads as HTTP/1 writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from dataplane.proxy.edits import MOST_CACHED, Edits
from dataplane.proxy.exchange import Exchange, HeaderEdits
from dataplane.proxy.fields.kinds import folded
from dataplane.proxy.http1.names import begin, without
from dataplane.proxy.http1.response import Response
from dataplane.proxy.messages import Request


def edited_request(wanted: HeaderEdits, exchange: Exchange, request: Request) -> list[bytes]:
    """The fields of a request after the edits, in pieces. The request itself stays: it may be sent again."""
    edits = cast(Edits, wanted)
    if request.joined:
        known = edits.cached.get(request.joined)
        pieces = [_learn(edits, request.joined, folded, edits.folded) if known is None else known]
    else:
        pieces = _without_spellings(request.fields, edits.folded) if edits.names else request.fields.copy()
        pieces.append(_fixed(edits))
    if edits.made:
        _add_made(edits, exchange, pieces)
    return pieces


def edit_response(wanted: HeaderEdits, exchange: Exchange, response: Response) -> None:
    """Edit the head that the client gets."""
    edits, head = cast(Edits, wanted), response.head
    if len(head) == 1:
        # From the cache: status line and fields in one piece, the same object each time, whose hash is known.
        known = edits.cached.get(head[0])
        pieces = [_learn(edits, head[0], bytes.lower, edits.names) if known is None else known]
    else:
        pieces = [head[0], *(without(head[1:], edits.names) if edits.names else head[1:]), _fixed(edits)]
    if edits.made:
        _add_made(edits, exchange, pieces)
    response.head = pieces


def _fixed(edits: Edits) -> bytes:
    if not edits.rendered and edits.fixed:
        edits.rendered = b"".join([begin(name) + value for name, value in edits.fixed])
    return edits.rendered


def _add_made(edits: Edits, exchange: Exchange, pieces: list[bytes]) -> None:
    for name, value in edits.made:
        made = value.of(exchange)
        if made:
            pieces += (begin(name), made)


def _without_spellings(pieces: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The fields (two pieces each) whose folded names are not in `names`."""
    kept: list[bytes] = []
    for i in range(0, len(pieces), 2):
        if folded(pieces[i][2:-2]) not in names:
            kept += pieces[i : i + 2]
    return kept


def _learn(edits: Edits, fields: bytes, plain: Callable[[bytes], bytes], names: frozenset[bytes]) -> bytes:
    """Whole fields in one piece, without those to remove and with those of fixed values. What stands before the first
    of them stays."""
    before, *lines = fields.split(b"\r\n")
    kept = [before, *(line for line in lines if plain(line.partition(b":")[0]) not in names)]
    found = b"\r\n".join(kept) + _fixed(edits)
    if len(edits.cached) >= MOST_CACHED:
        edits.cached.clear()
    edits.cached[fields] = found
    return found
