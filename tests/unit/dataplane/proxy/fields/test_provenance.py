"""What a request says of where it came from."""

from __future__ import annotations

import pytest

from dataplane.proxy.fields.provenance import adopt
from dataplane.proxy.messages import Context, Provenance
from dataplane.proxy.trust import TrustedProxies

FRESH = b"f" * 32
TRUSTED = TrustedProxies(["10.0.0.0/8"])


@pytest.mark.parametrize(("sent", "used"), [(None, FRESH), (b"theirs", b"theirs")])
def test_the_request_id_is_the_senders_or_a_fresh_one(sent: bytes | None, used: bytes) -> None:
    provenance = Provenance()
    provenance.request_id = sent
    assert adopt(provenance, FRESH, TRUSTED) == used and provenance.fresh_id == FRESH


def test_a_trace_is_joined() -> None:
    provenance = Provenance()
    provenance.traceparent = b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"
    adopt(provenance, FRESH, TRUSTED)
    assert provenance.context == Context(b"1" * 32, b"01", b"2" * 16, FRESH[16:])
    adopt(provenance, FRESH, TRUSTED, from_proxy=True)
    assert provenance.context == Context(b"1" * 32, b"01", b"2" * 16)


@pytest.mark.parametrize(("listed", "believed"), [(None, b"1.2.3.4"), (b"203.0.113.9", b"203.0.113.9")])
def test_forwarded_counts_where_x_forwarded_for_is_missing(listed: bytes | None, believed: bytes) -> None:
    provenance = Provenance()
    provenance.forwarded, provenance.forwarded_for = b"for=1.2.3.4", listed
    adopt(provenance, FRESH, TRUSTED)
    assert provenance.forwarded_for == believed
