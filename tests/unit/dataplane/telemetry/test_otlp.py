"""Bytes written by hand are what the generated classes read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from dataplane.telemetry.otlp import MOST_TEXT, NumberAttribute, TextAttribute, cut, sized, utf8
from tests.support.collector import texts


@given(st.text(max_size=400), st.integers(0, 2**63 - 1))
def test_attributes(text: str, number: int) -> None:
    written = TextAttribute(b"\x4a", "url.path").write(utf8(text))
    written += NumberAttribute(b"\x4a", "size").write(number)
    found = texts(Span.FromString(written).attributes)
    assert found == {"url.path": text.encode("utf-8", "replace").decode(), "size": number}


@pytest.mark.parametrize("size", [0, 1, 98, 99, 100, 127, 128, 159, 160, 2048, 20_000])
def test_sizes_around_the_borders(size: int) -> None:
    written = sized(b"\x12", TextAttribute(b"\x4a", "url.path").write(b"x" * size))
    assert texts(ScopeSpans.FromString(written).spans[0].attributes) == {"url.path": "x" * size}


def test_long_texts_are_cut_between_characters() -> None:
    assert utf8("é" * 5000) == "é".encode() * MOST_TEXT
    assert cut(b"x" + "é".encode() * 5000) == b"x" + "é".encode() * (MOST_TEXT // 2 - 1)
    assert utf8("\ud800") == b"?"
