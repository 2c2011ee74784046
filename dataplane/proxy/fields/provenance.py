"""The origin of a request as its sender states it, and the parts of it that are trusted."""

from __future__ import annotations

from dataplane.proxy.fields.forwarded import adopt_forwarded
from dataplane.proxy.fields.trace import read_traceparent
from dataplane.proxy.messages import Provenance
from dataplane.proxy.trust import TrustedProxies


def adopt(provenance: Provenance, fresh: bytes, trusted: TrustedProxies) -> bytes:
    """Join the trace that the request names, and read Forwarded where X-Forwarded-For is missing (RFC 7239).

    Returns the request id: the sender's, or else the fresh one.
    """
    provenance.fresh_id = fresh
    if provenance.traceparent is not None:
        provenance.context = read_traceparent(provenance.traceparent)
    if provenance.forwarded is not None and provenance.forwarded_for is None:
        adopt_forwarded(provenance, provenance.forwarded, trusted)
    return provenance.request_id or fresh
