"""The Forwarded field: every form of RFC 7239 is read, everything else ignored, and nothing made up is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.fields.forwarded import Hop, adopt_forwarded, read_forwarded
from dataplane.proxy.messages import Provenance
from dataplane.proxy.trust import MAX_HOPS, TrustedProxies

TRUSTED = TrustedProxies(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        (b"for=192.0.2.43", [Hop(b"192.0.2.43")]),
        (b"For=192.0.2.43;PROTO=HTTPS;by=10.0.0.1", [Hop(b"192.0.2.43", b"https")]),
        (b'for="[2001:db8:cafe::17]:4711"', [Hop(b"[2001:db8:cafe::17]:4711")]),
        (b'host="a.example:8080" ; for=_hidden', [Hop(b"_hidden", b"", b"a.example:8080")]),
        (b"for=192.0.2.43, for=198.51.100.17", [Hop(b"192.0.2.43"), Hop(b"198.51.100.17")]),
        (b'for=a,,for="b" ,', [Hop(b"a"), Hop(b"b")]),
        (b"for=a;;proto=http;", [Hop(b"a", b"http")]),
        (b'for="a\\"b\\\\c"', [Hop(b'a"b\\c')]),
        (b'for="a,b;c=d"', [Hop(b"a,b;c=d")]),
        (b"secret=egal;for=a", [Hop(b"a")]),
        (b"by=a", [Hop()]),
        (b"", []),
        (b" , ,", []),
    ],
)
def test_what_it_says(value: bytes, hops: list[Hop]) -> None:
    assert read_forwarded(value) == tuple(hops)


@pytest.mark.parametrize(
    "value",
    [
        b"192.0.2.43",
        b"for",
        b"for=",
        b"for =a",
        b"for= a",
        b"for=a b",
        b"for=[::1]",
        b"for=a:80",
        b'for="a',
        b'for="a"b',
        b'for="a\\',
        b"for=a;for=b",
        b"for=a;FOR=b",
        b"=a",
        b'"for"=a',
        b"for=a, nonsense",
        b"for=\xe4",
        b",".join([b"for=a"] * (MAX_HOPS + 1)),
    ],
)
def test_what_is_malformed_says_nothing(value: bytes) -> None:
    assert read_forwarded(value) == ()


@given(st.binary(max_size=200) | st.text('for=;,"\\ a1:[]', max_size=200).map(str.encode))
def test_no_bytes_break_it(value: bytes) -> None:
    adopt_forwarded(Provenance(), value, TRUSTED)


def test_long_nonsense_takes_no_time() -> None:
    for value in (
        b" " * 60_000,
        b"a" * 60_000,
        b'for="' + b"\\" * 60_000,
        b"for=a;" * 10_000,
        b"a=" * 30_000,
    ):
        read_forwarded(value)


@pytest.mark.parametrize(
    ("value", "addresses", "proto", "host"),
    [
        (b"for=192.0.2.43;proto=https;host=a.example", b"192.0.2.43", b"https", b"a.example"),
        (
            b"for=192.0.2.43;proto=https;host=a, for=10.0.0.2;proto=http;host=b",
            b"192.0.2.43, 10.0.0.2",
            b"https",
            b"a",
        ),
        (
            b"for=6.6.6.6;proto=https;host=evil, for=192.0.2.43;proto=http;host=a, for=10.0.0.2",
            b"6.6.6.6, 192.0.2.43, 10.0.0.2",
            b"http",
            b"a",
        ),
        (b"for=10.0.0.3;proto=https, for=10.0.0.2", b"10.0.0.3, 10.0.0.2", b"https", None),
        (b'for="[fd00::1]:80", for=unknown', b"fd00::1, unknown", None, None),
        (b'proto=ftp;host="a b";for=_x', b"unknown", None, None),
        (b"nonsense", None, None, None),
    ],
)
def test_it_is_taken_over_as_far_as_trusted_proxies_vouch_for_it(
    value: bytes, addresses: bytes | None, proto: bytes | None, host: bytes | None
) -> None:
    provenance = Provenance()
    adopt_forwarded(provenance, value, TRUSTED)
    assert (provenance.forwarded_for, provenance.forwarded_proto, provenance.forwarded_host) == (
        addresses,
        proto,
        host,
    )


def test_x_forwarded_fields_come_first() -> None:
    provenance = Provenance()
    provenance.forwarded_proto, provenance.forwarded_host = b"http", b"mine"
    adopt_forwarded(provenance, b"for=1.2.3.4;proto=https;host=theirs", TRUSTED)
    assert (provenance.forwarded_for, provenance.forwarded_proto, provenance.forwarded_host) == (
        b"1.2.3.4",
        b"http",
        b"mine",
    )
