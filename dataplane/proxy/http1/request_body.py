"""The body of a request on its way upstream, and whether it may go there again."""

from __future__ import annotations

from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http1.response import LAST_CHUNK, chunk
from dataplane.proxy.messages import CHUNKED, IDEMPOTENT


def framed(exchange: Exchange, most_replayed: int) -> list[bytes]:
    """Take the body pieces that have come, in the framing the upstream head announced.

    Bodies of more than `most_replayed` bytes are not kept for another attempt.
    """
    request = exchange.request
    assert request is not None
    pieces = exchange.body
    exchange.body = []
    if exchange.replay is not None:
        exchange.replay = exchange.replay + pieces if exchange.received <= most_replayed else None
    if request.length != CHUNKED:
        return pieces
    out = chunk(pieces, sum(map(len, pieces))) if pieces else []
    if exchange.complete:
        out.append(LAST_CHUNK)
    return out


def begin_replay(exchange: Exchange) -> None:
    """Keep the body's pieces from now on, if the request may be sent again."""
    plan, request = exchange.plan, exchange.request
    assert plan is not None and request is not None
    if request.method in plan.replayed:
        exchange.replay = []


def repeatable(exchange: Exchange) -> bool:
    """Whether the request may be sent again, and has no body that would have to be kept."""
    request = exchange.request
    return request is not None and not request.length and request.method in IDEMPOTENT
