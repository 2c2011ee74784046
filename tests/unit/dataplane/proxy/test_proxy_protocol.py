"""PROXY headers: what each form says, and that everything else is refused without a byte read too many."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.proxy.proxy_protocol import MAX_BINARY, MAX_LINE, SIGNATURE, BadHeader, HeaderReader, Unsaid

TCP4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack(">HH", 56324, 443)
TCP6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack(">HH", 56324, 443)
)
UNIX = b"/a".ljust(108, b"\0") * 2


def binary(
    version_command: int, family: int, addresses: bytes = b"", more: bytes = b"", length: int = -1
) -> bytes:
    body = addresses + more
    size = len(body) if length < 0 else length
    return SIGNATURE + struct.pack(">BBH", version_command, family, size) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def read(stream: bytes) -> tuple[str | Unsaid | None, int]:
    """The source, and how many bytes of the stream were taken for it."""
    reader = HeaderReader()
    taken = 0
    while reader.wanted:
        piece = stream[taken : taken + reader.wanted]
        if not piece:
            return None, taken
        taken += len(piece)
        reader.feed(piece)
    return reader.source, taken


GOOD: dict[str, tuple[bytes, str | Unsaid]] = {
    "v1 IPv4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1"),
    "v1 shortest": (b"PROXY TCP4 1.1.1.1 2.2.2.2 0 1\r\n", "1.1.1.1"),
    "v1 longest IPv4": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    "v1 IPv6": (b"PROXY TCP6 2001:DB8:0::1 ::1 56324 443\r\n", "2001:db8::1"),
    "v1 longest IPv6": (
        b"PROXY TCP6 ffff:f...f:ffff ".replace(b"ffff:f...f:ffff", b"ffff:" * 7 + b"ffff") * 1
        + b"ffff:" * 7
        + b"ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", Unsaid.SOURCE),
    "v1 unknown with more": (b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff x 1 2\r\n", Unsaid.SOURCE),
    "v1 unknown, longest": (b"PROXY UNKNOWN " + b"x" * (MAX_LINE - 16) + b"\r\n", Unsaid.SOURCE),
    "v2 IPv4": (binary(0x21, 0x11, TCP4), "192.0.2.1"),
    "v2 IPv6": (binary(0x21, 0x21, TCP6), "2001:db8::1"),
    "v2 IPv6 mapped": (
        binary(0x21, 0x21, socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1") + TCP6[16:]),
        "192.0.2.1",
    ),
    "v2 local": (binary(0x20, 0x00), Unsaid.SOURCE),
    "v2 local with anything": (binary(0x20, 0xFF, b"whatever"), Unsaid.SOURCE),
    "v2 unspecified": (binary(0x21, 0x00, b"", b"ignored"), Unsaid.SOURCE),
    "v2 UNIX": (binary(0x21, 0x31, UNIX), Unsaid.SOURCE),
    "v2 datagrams": (binary(0x21, 0x12, TCP4), Unsaid.SOURCE),
    "v2 extensions": (
        binary(0x21, 0x11, TCP4, tlv(1, b"h2") + tlv(4, b"") + tlv(0xE0, b"x" * 500)),
        "192.0.2.1",
    ),
    "v2 longest": (binary(0x21, 0x11, TCP4, tlv(4, b"\0" * (MAX_BINARY - 15))), "192.0.2.1"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_header_says_and_where_it_ends(name: str) -> None:
    header, source = GOOD[name]
    for after in (b"", b"\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", header):
        assert read(header + after) == (source, len(header))


@pytest.mark.parametrize("name", GOOD)
def test_a_header_cut_anywhere_waits_for_the_rest(name: str) -> None:
    header, source = GOOD[name]
    for end in range(1, len(header)):
        assert read(header[:end]) == (None, end)
    reader = HeaderReader()
    for position in range(len(header)):
        assert 0 < reader.wanted <= len(header) - position
        reader.feed(header[position : position + 1])
    assert (reader.source, reader.wanted) == (source, 0)


def longer(line: bytes) -> bytes:
    return line[:-2] + b"x" * (MAX_LINE + 1 - len(line)) + b"\r\n"


BAD = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "nothing in front": b"\r\nPROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "no space": b"PROXYTCP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "two spaces": b"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "tab": b"PROXY TCP4\t192.0.2.1 198.51.100.2 1 2\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n.......",
    "bare LF in UNKNOWN": b"PROXY UNKNOWN\n..",
    "LF before the end": b"PROXY TCP4 192.0.2.1 198.51.100.2\n1 2\r\n",
    "UNKNOWN and more": b"PROXY UNKNOWNS\r\n",
    "another protocol": b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "lower-case protocol": b"PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n",
    "IPv6 as TCP4": b"PROXY TCP4 ::1 198.51.100.2 1 2\r\n",
    "IPv4 as TCP6": b"PROXY TCP6 192.0.2.1 ::1 1 2\r\n",
    "malformed target": b"PROXY TCP4 192.0.2.1 198.51.100.256 1 2\r\n",
    "leading zero in an address": b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
    "zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "host name": b"PROXY TCP4 localhost 198.51.100.2 1 2\r\n",
    "no ports": b"PROXY TCP4 192.0.2.1 198.51.100.2\r\n",
    "one port": b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
    "port too high": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
    "target port too high": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 99999\r\n",
    "leading zero in a port": b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
    "sign": b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
    "other digits": "PROXY TCP4 192.0.2.1 198.51.100.2 ١ 2\r\n".encode(),
    "more after the ports": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
    "trailing space": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
    "NUL": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\0\r\n",
    "no addresses": b"PROXY TCP4 \r\n....",
    "too long": longer(b"PROXY UNKNOWN \r\n"),
    "endless": b"PROXY " + b"A" * 1000,
    "signature broken": SIGNATURE[:-1] + b"\r" + binary(0x21, 0x11, TCP4)[12:],
    "version 1 in binary": binary(0x11, 0x11, TCP4),
    "version 3": binary(0x31, 0x11, TCP4),
    "unknown command": binary(0x22, 0x11, TCP4),
    "unknown family": binary(0x21, 0x41, TCP4),
    "unknown transport": binary(0x21, 0x13, TCP4),
    "IPv4 cut short": binary(0x21, 0x11, TCP4[:-1]),
    "IPv6 cut short": binary(0x21, 0x21, TCP6[:-1]),
    "UNIX cut short": binary(0x21, 0x31, UNIX[:-1]),
    "no addresses in binary": binary(0x21, 0x11),
    "too long in binary": binary(0x21, 0x11, TCP4, length=MAX_BINARY + 1),
    "longest of all": binary(0x21, 0x11, TCP4, length=65535),
    "extension cut short": binary(0x21, 0x11, TCP4, tlv(1, b"h2")[:-1]),
    "extension without length": binary(0x21, 0x11, TCP4, b"\x01"),
    "extension that lies": binary(0x21, 0x11, TCP4, b"\x01\xff\xffabc"),
}


@pytest.mark.parametrize("name", BAD)
def test_everything_else_is_refused(name: str) -> None:
    with pytest.raises(BadHeader):
        read(BAD[name])


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: SIGNATURE + data))
def test_no_bytes_do_anything_but_wait_speak_or_fail(data: bytes) -> None:
    try:
        source, taken = read(data)
    except BadHeader:
        return
    assert taken <= len(data)
    assert source is None or source is Unsaid.SOURCE or str(source)


def mutations(header: bytes) -> Iterator[bytes]:
    for position in range(len(header)):
        for byte in (0, 10, 13, 32, 48, 255):
            yield header[:position] + bytes([byte]) + header[position + 1 :]


@pytest.mark.parametrize("name", ["v1 IPv4", "v2 IPv4"])
def test_one_wrong_byte_is_refused_or_says_another_address(name: str) -> None:
    for mutated in mutations(GOOD[name][0]):
        try:
            source, taken = read(mutated + b"\0" * 70_000)
        except BadHeader:
            continue
        assert taken <= 16 + MAX_BINARY and isinstance(source, str | Unsaid)
