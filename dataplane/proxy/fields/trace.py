"""W3C Trace Context (https://www.w3.org/TR/trace-context/): every request goes upstream as a span of its own.

A traceparent that can be read is continued: same trace, our span as the parent, same sampling; tracestate travels with
it. Anything else is dropped, tracestate too, and a trace is started. It is accepted from every client, because no
decision depends on it. A trace that the gateway starts has the request id as its id, and the second half of it as its
span id. A log line therefore leads to its trace. The second half is evenly distributed, so sampling by trace id works.
"""

from __future__ import annotations

import re
from typing import Final

from dataplane.proxy.messages import Context

ALWAYS: Final = b"g"
"""`sampled` where every trace that we start is recorded: above all hex digits."""
_FORM: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?"
)
_KNOWN_FLAGS: Final = 0b11
"""Sampled, and random trace id (level 2, section 3.2.2.5); unknown flags are not forwarded."""


def read_traceparent(value: bytes) -> Context | None:
    """The parsed field; None for one that is malformed (section 3.2). Later versions are read as far as known."""
    found = _FORM.fullmatch(value.strip(b" \t"))
    if found is None or (found[1] == b"00" and found[4] is not None):
        return None
    return Context(found[2], b"%02x" % (int(found[3], 16) & _KNOWN_FLAGS))


def threshold(ratio: float) -> bytes:
    """`sampled` for a share of the traces that we start, 0 to 1."""
    bound = round(ratio * 2**64)
    return ALWAYS if bound >= 2**64 else b"%016x" % bound
