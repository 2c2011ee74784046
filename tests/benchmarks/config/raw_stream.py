"""A gRPC stream written by hand: what thousands of clients cost must not drown what their server costs.

Just enough of HTTP/2 (RFC 9113) and of gRPC's framing: one connection, one stream of a bidirectional method, messages
of less than 16 KiB, nothing but their number read of the answers. Header fields are literals, not indexed, and without
Huffman coding (RFC 7541, 6.2.2).
"""

from __future__ import annotations

import asyncio
import struct
from typing import cast

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_STREAM = 1
_WINDOW_STEP = 16 * 1024
"""Bytes after which the server is told that it may send as many more."""


class RawStream(asyncio.Protocol):
    """One stream; messages may be sent as soon as it is connected."""

    def __init__(self, path: str, token: str) -> None:
        self.answers = 0
        """Messages that came back."""
        self.ended = False
        self._path, self._token = path.encode(), token.encode()
        self._received = bytearray()
        self._unacknowledged = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are, and open the stream."""
        # uvloop's transports are no subclass of it.
        opened = cast(asyncio.Transport, transport)
        self._transport = opened
        head = b"\x83\x86" + b"".join(  # :method POST, :scheme http
            _field(name, value)
            for name, value in (
                (b":path", self._path),
                (b":authority", b"headgate"),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"authorization", b"Bearer " + self._token),
            )
        )
        opened.write(_PREFACE + _frame(_SETTINGS, 0, 0) + _frame(_HEADERS, _END_HEADERS, _STREAM, head))

    def send(self, message: bytes) -> None:
        """One message, uncompressed."""
        assert self._transport is not None
        self._transport.write(_frame(_DATA, 0, _STREAM, b"\0" + struct.pack(">I", len(message)) + message))

    def close(self) -> None:
        """End the connection."""
        assert self._transport is not None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Count answers, and answer what HTTP/2 wants to be answered."""
        received = self._received
        received += data
        while len(received) >= 9 + (size := int.from_bytes(received[:3], "big")):
            kind, flags, payload = received[3], received[4], bytes(received[9 : 9 + size])
            del received[: 9 + size]
            self._take(kind, flags, payload)

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more will come."""
        self.ended = True

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        assert self._transport is not None
        if kind == _DATA:
            self.answers += 1
            self._unacknowledged += len(payload)
            if self._unacknowledged >= _WINDOW_STEP:
                step, self._unacknowledged = struct.pack(">I", self._unacknowledged), 0
                self._transport.write(_frame(_WINDOW, 0, 0, step) + _frame(_WINDOW, 0, _STREAM, step))
        elif kind == _SETTINGS and not flags & _ACK:
            self._transport.write(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind in (_GOAWAY, _RST) or (kind == _HEADERS and flags & _END_STREAM):
            self.ended = True


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _field(name: bytes, value: bytes) -> bytes:
    return b"\0" + _text(name) + _text(value)


def _text(text: bytes) -> bytes:
    """With its length as an integer of seven bits (RFC 7541, 5.1); at most 254 bytes."""
    assert len(text) < 127 + 128
    length = bytes([len(text)]) if len(text) < 127 else bytes([127, len(text) - 127])
    return length + text
