"""Trace context: what is continued, what is started anew, and that ids are spread as samplers expect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.http1.trace import ALWAYS, continued, read_traceparent, started, threshold
from dataplane.proxy.messages import Context

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = b"00f067aa0ba902b7"
OURS = b"0123456789abcdef" + b"fedcba9876543210"


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
    assert read_traceparent(value) == Context(TRACE, flags)


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


def test_a_continued_trace_has_our_span_as_parent_and_their_flags() -> None:
    field = b"\r\ntraceparent: 00-%b-fedcba9876543210-00" % TRACE
    assert continued(Context(TRACE, b"00"), None, OURS) == field
    assert continued(Context(TRACE, b"00"), b"a=1,b=2", OURS) == field + b"\r\ntracestate: a=1,b=2"
    assert continued(Context(TRACE, b"00"), b"a=" + b"x" * 511, OURS) == field


@pytest.mark.parametrize(
    ("ratio", "span", "flags"),
    [
        (1.0, b"f" * 16, b"01"),
        (0.5, b"7" + b"f" * 15, b"01"),
        (0.5, b"8" + b"0" * 15, b"00"),
        (0.0, b"0" * 15 + b"1", b"00"),
    ],
)
def test_a_started_trace_is_recorded_by_its_id(ratio: float, span: bytes, flags: bytes) -> None:
    request_id = b"0123456789abcdef" + span
    said = started(request_id, threshold(ratio))
    assert said == b"\r\ntraceparent: 00-%b-%b-%b" % (request_id, span, flags)
    assert read_traceparent(said.partition(b": ")[2]) == Context(request_id, flags)


def test_thresholds() -> None:
    assert (threshold(1.0), threshold(0.0), threshold(0.25)) == (ALWAYS, b"0" * 16, b"4" + b"0" * 15)
