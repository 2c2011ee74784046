"""Trace context: what is continued, and what is started anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.fields.trace import ALWAYS, read_traceparent, threshold
from dataplane.proxy.messages import Context

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


def test_thresholds() -> None:
    assert (threshold(1.0), threshold(0.0), threshold(0.25)) == (ALWAYS, b"0" * 16, b"4" + b"0" * 15)
