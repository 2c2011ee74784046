"""W3C Trace Context (https://www.w3.org/TR/trace-context/): every request goes upstream as a span of its own.

A traceparent that can be read is continued: same trace, our span as the parent; tracestate travels with it. Anything
else is dropped, tracestate too, and a trace is started. A traceparent is accepted from every client, but the decision
to record belongs to trusted proxies and to us (`Parents`). A trace that the gateway starts has the request id as its
id, and the second half of it as its span id. A log line therefore leads to its trace. The second half is evenly
distributed, so sampling by trace id works.
"""

from __future__ import annotations

import re
from typing import Final

from dataplane.proxy.messages import Context, Request

ALWAYS: Final = b"g"
"""`sampled` where every trace that we start is recorded: above all hex digits."""
_FORM: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_KNOWN_FLAGS: Final = 0b11
"""Sampled, and random trace id (level 2, section 3.2.2.5); unknown flags are not forwarded."""


def read_traceparent(value: bytes) -> Context | None:
    """The parsed field; None for one that is malformed (section 3.2). Later versions are read as far as known."""
    found = _FORM.fullmatch(value.strip(b" \t"))
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    return Context(found[2], b"%02x" % (int(found[4], 16) & _KNOWN_FLAGS), found[3])


class Parents:
    """How much the sampled flag of a traceparent counts.

    A client that could force sampling could make the gateway, every service behind it and the collector do any amount
    of work. So an untrusted client's flag can only lower our own sampling: it counts if our own id is in the sample.
    """

    __slots__ = ("_clients", "_obeyed")

    def __init__(self, obeyed: bool = True, clients: bool = False) -> None:
        """`obeyed`: a flag counts at all; otherwise our ratio decides, for trusted senders by the id of the trace, so
        that gateways agree. `clients`: the flags of all clients count like those of trusted proxies."""
        self._obeyed = obeyed
        self._clients = clients

    def join(self, context: Context, own: bytes, trusted: bool) -> Context:
        """The trace as it goes on here; `own` is the id generated here, `trusted` tells of the sender."""
        believed = trusted or self._clients
        if self._obeyed:
            return context if believed else context._replace(draw=own[16:])
        flags = b"%02x" % (int(context.flags, 16) | 1)
        return context._replace(flags=flags, draw=context.trace_id[16:] if believed else own[16:])


_UNSAMPLED: Final = {b"00": b"00", b"01": b"00", b"02": b"02", b"03": b"02"}


def flags_of(context: Context, sampled: bytes) -> bytes:
    """The flags of a continued trace; `sampled` is our threshold."""
    return context.flags if context.draw < sampled else _UNSAMPLED[context.flags]


def own_id(request: Request | None, request_id: bytes) -> bytes:
    """The id generated here, whatever id a trusted proxy has chosen. Its second half is the span that goes upstream."""
    provenance = request.provenance if request is not None else None
    return request_id if provenance is None else provenance.fresh_id or request_id


def is_sampled(request: Request | None, request_id: bytes, sampled: bytes) -> bool:
    """Whether the request is recorded, as its traceparent says upstream; `sampled` is our threshold."""
    provenance = request.provenance if request is not None else None
    if provenance is None:
        return request_id[16:] < sampled
    context = provenance.context
    if context is None:
        return own_id(request, request_id)[16:] < sampled
    return flags_of(context, sampled) in (b"01", b"03")


def threshold(ratio: float) -> bytes:
    """`sampled` for a share of the traces that we start, 0 to 1."""
    bound = round(ratio * 2**64)
    return ALWAYS if bound >= 2**64 else b"%016x" % bound
