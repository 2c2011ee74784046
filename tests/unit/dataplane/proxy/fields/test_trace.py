"""Trace context: what is continued, and what is started anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.fields.trace import (
    ALWAYS,
    Parents,
    flags_of,
    is_sampled,
    read_traceparent,
    threshold,
)
from dataplane.proxy.messages import Context, Provenance, Request

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (b"00-%b-%b-00" % (TRACE, SPAN), b"00"),
        (b"00-%b-%b-01" % (TRACE, SPAN), b"01"),
        (b" 00-%b-%b-03\t" % (TRACE, SPAN), b"03"),
        (b"00-%b-%b-ff" % (TRACE, SPAN), b"03"),
        (b"01-%b-%b-01" % (TRACE, SPAN), b"01"),
        (b"cc-%b-%b-01-what-the-future-will-be-like" % (TRACE, SPAN), b"01"),
        (b"fe-%b-%b-01-" % (TRACE, SPAN), b"01"),
    ],
)
def test_what_can_be_read_is_continued(value: bytes, flags: bytes) -> None:
    assert read_traceparent(value) == Context(TRACE, flags, SPAN)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"00-%b-%b" % (TRACE, SPAN),
        b"00-%b-%b-1" % (TRACE, SPAN),
        b"00-%b-%b-001" % (TRACE, SPAN),
        b"00-%b-%b-0g" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"00-%b-%b-01, 00-%b-%b-01" % (TRACE, SPAN, TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"0-%b-%b-01" % (TRACE, SPAN),
        b"cc-%b-%b-01.future" % (TRACE, SPAN),
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01" % (TRACE, SPAN.upper()),
        b"00-%b-%b-01" % (TRACE[1:], SPAN),
        b"00-%b-%b-01" % (TRACE, SPAN[1:]),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00 %b %b 01" % (TRACE, SPAN),
        b"00-%b-%b-01\n" % (TRACE, SPAN),
    ],
)
def test_what_is_malformed_is_not(value: bytes) -> None:
    assert read_traceparent(value) is None


@given(st.binary(max_size=80))
def test_no_bytes_break_it(value: bytes) -> None:
    read_traceparent(value)


def test_thresholds() -> None:
    assert (threshold(1.0), threshold(0.0), threshold(0.25)) == (ALWAYS, b"0" * 16, b"4" + b"0" * 15)


# --- sampling: LOW and HIGH are ids of ours, in and out of a sample of a half

HALF = threshold(0.5)
LOW, HIGH = b"f" * 16 + b"1" * 16, b"0" * 16 + b"e" * 16
SAMPLED, UNSAMPLED = b"01", b"00"


def joined(parents: Parents, flags: bytes, own: bytes, *, trusted: bool) -> bytes:
    context = parents.join(Context(TRACE, flags, SPAN), own, trusted)
    assert (context.trace_id, context.parent) == (TRACE, SPAN)
    return flags_of(context, HALF)


@pytest.mark.parametrize("flags", [SAMPLED, UNSAMPLED])
@pytest.mark.parametrize("own", [LOW, HIGH])
def test_the_flag_of_a_trusted_proxy_decides(flags: bytes, own: bytes) -> None:
    assert joined(Parents(), flags, own, trusted=True) == flags
    assert joined(Parents(clients=True), flags, own, trusted=False) == flags


@pytest.mark.parametrize(
    ("flags", "own", "expected"),
    [
        (SAMPLED, LOW, SAMPLED),
        (SAMPLED, HIGH, UNSAMPLED),
        (UNSAMPLED, LOW, UNSAMPLED),
        (b"03", HIGH, b"02"),
        (b"02", LOW, b"02"),
    ],
)
def test_another_client_cannot_force_sampling(flags: bytes, own: bytes, expected: bytes) -> None:
    assert joined(Parents(), flags, own, trusted=False) == expected


@pytest.mark.parametrize("flags", [SAMPLED, UNSAMPLED])
def test_a_sampler_without_parents_decides_by_an_id_that_the_sender_cannot_choose(flags: bytes) -> None:
    ratio = Parents(obeyed=False)
    assert joined(ratio, flags, LOW, trusted=False) == SAMPLED
    assert joined(ratio, flags, HIGH, trusted=False) == UNSAMPLED
    # Between gateways, the trace decides: each comes to the same decision.
    assert {joined(ratio, flags, own, trusted=True) for own in (LOW, HIGH)} == {UNSAMPLED}
    assert TRACE[16:] > HALF


def test_the_decision_is_the_one_that_is_sent_on() -> None:
    request = Request()
    request.provenance = None
    assert is_sampled(None, LOW, HALF) and is_sampled(request, LOW, HALF)
    assert not is_sampled(None, HIGH, HALF) and not is_sampled(request, HIGH, HALF)
    request.provenance = provenance = Provenance()
    provenance.fresh_id = LOW
    assert is_sampled(request, b"order-7", HALF)
    for flags in (SAMPLED, UNSAMPLED):
        provenance.context = Context(TRACE, flags, SPAN)
        assert is_sampled(request, HIGH, HALF) is (flags == SAMPLED)
    provenance.context = Context(TRACE, SAMPLED, SPAN, HIGH[16:])
    assert not is_sampled(request, LOW, HALF) and is_sampled(request, LOW, ALWAYS)
