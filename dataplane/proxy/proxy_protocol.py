"""The PROXY protocol, versions 1 and 2: the source of a connection, as stated by the proxy in front.

The header comes before everything else, even TLS, and must be read to its last byte and no further. So the reader
states how many bytes it wants next, never more than certainly belong to the header, and its caller reads no more. It is
pure: bytes in, the source or a refusal out.

Source of the rules: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, by section. The version is not
guessed from settings: each begins in a way that the other cannot.
"""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""Version 2 begins with these 12 bytes (section 2.2)."""
MAX_LINE: Final = 107
"""Bytes of a version 1 header, its line end included (section 2.1)."""
MAX_BINARY: Final = 4_096
"""Bytes of addresses and extensions in a version 2 header that are read; the protocol would allow 65,535."""
_SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")
_LINE: Final = re.compile(
    rb"PROXY TCP(?P<family>[46]) (?P<source>[0-9A-Fa-f:.]{2,39}) (?P<target>[0-9A-Fa-f:.]{2,39})"
    rb" (?P<port>0|[1-9][0-9]{0,4}) (?P<target_port>0|[1-9][0-9]{0,4})\r\n"
)
_UNKNOWN: Final = b"PROXY UNKNOWN"
_FIXED: Final = 16
_LOCAL, _PROXY = 0, 1
_FAMILIES: Final = {1: (4, 12), 2: (16, 36), 3: (0, 216)}
"""By the upper half of byte 13: bytes of an IP address, and of all addresses and ports together."""


class BadHeader(ValueError):
    """This is not a PROXY header: the sender is not trusted, and the connection is closed."""


class Unsaid(Enum):
    """The header names no source: the connection is the proxy's own, or its source is not an IP address."""

    SOURCE = 0


class HeaderReader:
    """Reads one header. Feed it `wanted` bytes at most, until `source` is known."""

    __slots__ = ("_data", "_length", "source", "wanted")

    def __init__(self) -> None:
        self.wanted = _SHORTEST
        """How many bytes may be read next; 0 at the end."""
        self.source: str | Unsaid | None = None
        """The address the connection came from, in its shortest form; None until the end."""
        self._data = b""
        self._length = 0

    def feed(self, data: bytes) -> None:
        """The next bytes, `wanted` at most. Raises BadHeader."""
        self._data += data
        if self._data.startswith(SIGNATURE[: len(self._data)]):
            self._read_binary()
        elif self._data.startswith(b"PROXY "[: len(self._data)]):
            self._read_line()
        else:
            raise BadHeader("no PROXY header")

    # --- version 1, section 2.1

    def _read_line(self) -> None:
        data = self._data
        if data.endswith(b"\r\n"):
            self._end(_source_of_line(data))
        elif b"\n" in data or len(data) >= MAX_LINE:
            raise BadHeader("line too long, or with a wrong line end")
        else:
            # At least its line end is to come, or the second half of it.
            self.wanted = max(_SHORTEST - len(data), 1 if data.endswith(b"\r") else 2)
            self.wanted = min(self.wanted, MAX_LINE - len(data))

    # --- version 2, section 2.2

    def _read_binary(self) -> None:
        size = len(self._data)
        if size >= _FIXED:
            self._length = _FIXED + int.from_bytes(self._data[14:16], "big")
            if self._length > _FIXED + MAX_BINARY:
                raise BadHeader("header too long")
            if size == self._length:
                self._end(_source_of_binary(self._data))
                return
        self.wanted = max(_FIXED, self._length) - size

    def _end(self, source: str | Unsaid) -> None:
        self.source = source
        self.wanted = 0


def _source_of_line(line: bytes) -> str | Unsaid:
    if line.startswith(_UNKNOWN) and line[len(_UNKNOWN) :][:1] in (b" ", b"\r"):
        # The rest of the line must be ignored.
        return Unsaid.SOURCE
    found = _LINE.fullmatch(line)
    if found is None or not all(int(found[port]) <= 65_535 for port in ("port", "target_port")):
        raise BadHeader("malformed line")
    kind = IPv4Address if found["family"] == b"4" else IPv6Address
    try:
        kind(found["target"].decode())
        return _shortest(kind(found["source"].decode()))
    except ValueError:
        raise BadHeader("malformed address") from None


def _source_of_binary(data: bytes) -> str | Unsaid:
    version, command = data[12] >> 4, data[12] & 15
    family, transport = data[13] >> 4, data[13] & 15
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise BadHeader("unknown version or command")
    if command == _LOCAL:
        return Unsaid.SOURCE
    if family > 3 or transport > 2:
        raise BadHeader("unknown family or transport")
    if family not in _FAMILIES:
        return Unsaid.SOURCE
    width, size = _FAMILIES[family]
    if len(data) < _FIXED + size:
        raise BadHeader("addresses cut short")
    _check_extensions(data[_FIXED + size :])
    if not width or transport != 1:
        return Unsaid.SOURCE
    return _shortest(ip_address(data[_FIXED : _FIXED + width]))


def _check_extensions(data: bytes) -> None:
    """Section 2.2.7: type, length, value, up to the end. None of them is used here."""
    while data:
        size = 3 + int.from_bytes(data[1:3], "big")
        if len(data) < size or len(data) < 3:
            raise BadHeader("extensions cut short")
        data = data[size:]


def _shortest(address: IPv4Address | IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
