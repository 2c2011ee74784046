"""The origin of a request as its sender states it, and the parts of it that are trusted."""

from __future__ import annotations

from typing import Final

from dataplane.proxy.fields.forwarded import adopt_forwarded
from dataplane.proxy.fields.trace import Parents, read_traceparent
from dataplane.proxy.messages import Provenance
from dataplane.proxy.trust import TrustedProxies

_PARENTS: Final = Parents()


def adopt(
    provenance: Provenance,
    fresh: bytes,
    trusted: TrustedProxies,
    parents: Parents = _PARENTS,
    *,
    from_proxy: bool = False,
) -> bytes:
    """Join the trace that the request names, and read Forwarded where X-Forwarded-For is missing (RFC 7239).

    `from_proxy`: the sender is a trusted proxy. Returns the request id: the sender's, or else the fresh one.
    """
    provenance.fresh_id = fresh
    if provenance.traceparent is not None:
        context = read_traceparent(provenance.traceparent)
        if context is not None:
            provenance.context = parents.join(context, fresh, from_proxy)
    if provenance.forwarded is not None and provenance.forwarded_for is None:
        adopt_forwarded(provenance, provenance.forwarded, trusted)
    return provenance.request_id or fresh
