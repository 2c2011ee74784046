"""Reads one request head that did not come over a connection, exactly as a connection's reader would."""

from __future__ import annotations

from dataplane.proxy.bounds import Bounds
from dataplane.proxy.exchange import Decider, Exchange
from dataplane.proxy.http1.request_reader import RequestReader
from dataplane.proxy.messages import BadRequest
from dataplane.proxy.nobody import Nobody
from dataplane.proxy.shared import Shared
from dataplane.proxy.trust import TrustedProxies


def read_head(
    head: bytes, client: Nobody, decider: Decider, bounds: Bounds, trusted: TrustedProxies
) -> Exchange:
    """The exchange that these bytes begin, not decided yet. Its `fault` is set if they are refused.

    Caches of the worker are neither used nor filled.
    """
    reader = RequestReader(client, Shared(decider, bounds, trusted, lambda callback: None))
    reader.feed(head)
    if not reader.queue:
        reader.fault(BadRequest(400, "the head does not end"))
    exchange = reader.queue[0]
    reader.release()
    return exchange
