"""One gRPC stream over an HTTP/2 connection of its own, for very many small messages. No I/O: bytes in, bytes out.

grpc.aio takes one message at a time, at some 50 µs each way. Here any number go out in one write, and come in with one
read. It implements only the parts of HTTP/2 (RFC 9113) and of gRPC's framing that this needs: received header fields
are not read, so the end of a stream is known, but not its reason. To find out, repeat the call over grpc.aio.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE = (
    0,
    1,
    3,
    4,
    5,
    6,
    7,
    8,
)
_ACK, _END_STREAM, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_STREAM = 1
_FRAME_HEAD = 9
_MESSAGE_HEAD = 5

DEFAULT_WINDOW = 65_535
"""Bytes that either side may send before it is told that it may send more (RFC 9113, 6.9.2)."""
MOST_FRAME = 16_384
"""Bytes of a frame's payload; we allow no larger ones, and neither side may allow less (6.5.2)."""
WINDOW = 1024 * 1024
"""Bytes that the other side may send before it has to wait for us."""
MOST_MESSAGE = 64 * 1024
"""Bytes of one message that comes in."""
_MOST_WINDOW = 2**31 - 1
_PING_BYTES = 8


class Ended(Exception):
    """The other side has ended the stream, or violated the protocol. The text is for logs."""


class Http2Call:
    """One stream of a bidirectional method: bytes to write (`outgoing`), and messages in the bytes read."""

    def __init__(self, path: str, authority: str, secure: bool, metadata: Iterable[tuple[str, str]]) -> None:
        """`authority` is host:port. Metadata is sent as it is, and not indexed by proxies."""
        settings = struct.pack(
            ">HIHIHI", _HEADER_TABLE_SIZE, 0, _ENABLE_PUSH, 0, _INITIAL_WINDOW_SIZE, WINDOW
        )
        fields = [
            (":method", "POST"),
            (":scheme", "https" if secure else "http"),
            (":path", path),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "headgate"),
            *metadata,
        ]
        head = b"".join(_field(name, value) for name, value in fields)
        if len(head) > MOST_FRAME:
            raise ValueError(f"metadata of {len(head)} bytes")
        self._out = bytearray(PREFACE)
        self._out += _frame(_SETTINGS, 0, 0, settings)
        self._out += _window_update(0, WINDOW - DEFAULT_WINDOW)
        self._out += _frame(_HEADERS, _END_HEADERS, _STREAM, head)
        self._unsent = bytearray()
        """Messages that the other side's window has no room for yet, framed for gRPC."""
        self._most_frame = MOST_FRAME
        self._initial = DEFAULT_WINDOW
        self._connection = self._stream = DEFAULT_WINDOW
        """Bytes that we may send, on the connection and on the stream."""
        self._frames = bytearray()
        self._messages = bytearray()
        self._consumed = 0
        """Bytes received since the last window update to the other side."""

    def send(self, messages: Iterable[bytes]) -> None:
        """Send messages, as soon as the other side takes them."""
        for message in messages:
            self._unsent += b"\0" + struct.pack(">I", len(message)) + message
        self._fill()

    def outgoing(self) -> bytes:
        """Bytes to write now; empty for none."""
        out = bytes(self._out)
        self._out.clear()
        return out

    @property
    def unsent(self) -> int:
        """Bytes of messages that the other side has no room for yet."""
        return len(self._unsent)

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that are complete with these bytes. Raises Ended, after which the call cannot be used."""
        frames = self._frames
        frames += data
        at, end = 0, len(frames)
        while end - at >= _FRAME_HEAD:
            size = frames[at] << 16 | frames[at + 1] << 8 | frames[at + 2]
            if size > MOST_FRAME:
                raise Ended(f"a frame of {size} bytes")
            after = at + _FRAME_HEAD + size
            if after > end:
                break
            kind, flags = frames[at + 3], frames[at + 4]
            stream = int.from_bytes(frames[at + 5 : at + 9], "big") & _MOST_WINDOW
            self._take(kind, flags, stream, frames[at + _FRAME_HEAD : after])
            at = after
        del frames[:at]
        return self._complete()

    def _take(self, kind: int, flags: int, stream: int, payload: bytearray) -> None:
        if kind == _DATA:
            self._data(flags, payload)
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._settings(payload)
        elif kind == _WINDOW_UPDATE:
            self._more_window(stream, payload)
        elif kind == _PING:
            if len(payload) != _PING_BYTES:
                raise Ended("a ping of a wrong length")
            if not flags & _ACK:
                self._out += _frame(_PING, _ACK, 0, payload)
        elif kind == _GOAWAY:
            raise Ended("the connection is being closed")
        elif kind == _RST_STREAM or (kind == _HEADERS and flags & _END_STREAM):
            raise Ended("the stream was ended")
        elif kind == _PUSH_PROMISE:
            raise Ended("a push that was not allowed")

    def _data(self, flags: int, payload: bytearray) -> None:
        self._consumed += len(payload)
        if flags & _PADDED:
            if not payload or payload[0] >= len(payload):
                raise Ended("padding longer than its frame")
            self._messages += payload[1 : len(payload) - payload[0]]
        else:
            self._messages += payload
        if self._consumed >= WINDOW // 2:
            self._out += _window_update(0, self._consumed) + _window_update(_STREAM, self._consumed)
            self._consumed = 0
        if flags & _END_STREAM:
            raise Ended("the stream was ended")

    def _settings(self, payload: bytearray) -> None:
        if len(payload) % 6:
            raise Ended("settings of a wrong length")
        for name, value in struct.iter_unpack(">HI", payload):
            if name == _INITIAL_WINDOW_SIZE:
                if value > _MOST_WINDOW:
                    raise Ended("a window that is too large")
                # It may become negative: then it has to grow before anything is sent (6.9.2).
                self._stream += value - self._initial
                self._initial = value
            elif name == _MAX_FRAME_SIZE:
                if not MOST_FRAME <= value < 2**24:
                    raise Ended("a frame size that is not allowed")
                self._most_frame = value
        self._out += _frame(_SETTINGS, _ACK, 0)
        self._fill()

    def _more_window(self, stream: int, payload: bytearray) -> None:
        more = int.from_bytes(payload, "big") & _MOST_WINDOW
        if stream == 0:
            self._connection += more
        else:
            self._stream += more
        self._fill()

    def _fill(self) -> None:
        """Move as many unsent bytes into frames as the windows allow."""
        while (size := min(len(self._unsent), self._connection, self._stream, self._most_frame)) > 0:
            self._out += _frame(_DATA, 0, _STREAM, self._unsent[:size])
            del self._unsent[:size]
            self._connection -= size
            self._stream -= size

    def _complete(self) -> list[bytes]:
        found, messages = [], self._messages
        at, end = 0, len(messages)
        while end - at >= _MESSAGE_HEAD:
            compressed, size = struct.unpack_from(">BI", messages, at)
            if compressed or size > MOST_MESSAGE:
                raise Ended(f"a message of {size} bytes, or one that is compressed")
            after = at + _MESSAGE_HEAD + size
            if after > end:
                break
            found.append(bytes(messages[at + _MESSAGE_HEAD : after]))
            at = after
        del messages[:at]
        return found


def _frame(kind: int, flags: int, stream: int, payload: bytes | bytearray = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _window_update(stream: int, more: int) -> bytes:
    return _frame(_WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def _field(name: str, value: str) -> bytes:
    """A literal field that is never indexed (RFC 7541, 6.2.3), because some hold tokens."""
    return b"\x10" + _string(name.encode()) + _string(value.encode())


def _string(text: bytes) -> bytes:
    """Without Huffman coding; the length as an integer with a prefix of seven bits (RFC 7541, 5.1, 5.2)."""
    length, head = len(text), bytearray()
    if length < 127:
        head.append(length)
    else:
        head.append(127)
        length -= 127
        while length >= 128:
            head.append(length & 127 | 128)
            length >>= 7
        head.append(length)
    return bytes(head) + text
