"""Pieces of OTLP messages (protobuf) as bytes, for what differs between two requests.

The bytes of a message's fields may stand in any order and in several pieces. So a span is the piece that it shares with
others of its kind, made once by the generated classes (`opentelemetry.proto`), and pieces for its own values, written
here: a fifth of the time that the classes take for a whole span. Tests read the result with the generated classes.
"""

from __future__ import annotations

from typing import Final

MOST_TEXT: Final = 2048
"""Characters of a value; longer ones are cut."""
_PREPARED: Final = 160
"""Sizes of values for which the bytes before them are prepared."""


def varint(value: int) -> bytes:
    """A number that is not negative, seven bits a byte, the lowest first."""
    if value < 0x80:
        return bytes((value,))
    pieces = bytearray()
    while value >= 0x80:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


def sized(tag: bytes, content: bytes) -> bytes:
    """A field that is a message, a text or bytes."""
    return tag + varint(len(content)) + content


def utf8(text: str) -> bytes:
    """The text as a message may hold it: valid UTF-8, and not too long."""
    return text[:MOST_TEXT].encode("utf-8", "replace")


def cut(text: bytes) -> bytes:
    """The UTF-8 text, not too long."""
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT].decode("utf-8", "ignore").encode()


class TextAttribute:
    """An attribute (KeyValue) that is a text, within messages of one kind: the bytes for any value of it."""

    __slots__ = ("_before", "_name", "_tag")

    def __init__(self, tag: bytes, name: str) -> None:
        """`tag` is that of the message's field of attributes."""
        self._tag = tag
        self._name = sized(b"\x0a", name.encode())
        self._before = [self._prefix(size) for size in range(_PREPARED)]

    def write(self, value: bytes) -> bytes:
        """The attribute with this value, which is valid UTF-8."""
        size = len(value)
        return (self._before[size] if size < _PREPARED else self._prefix(size)) + value

    def _prefix(self, size: int) -> bytes:
        value = b"\x0a" + varint(size)
        value = b"\x12" + varint(len(value) + size) + value
        return self._tag + varint(len(self._name) + len(value) + size) + self._name + value


class NumberAttribute:
    """The same for an attribute that is a number, not negative."""

    __slots__ = ("_name", "_tag")

    def __init__(self, tag: bytes, name: str) -> None:
        self._tag = tag
        self._name = sized(b"\x0a", name.encode())

    def write(self, value: int) -> bytes:
        """The attribute with this value."""
        number = b"\x18" + varint(value)
        content = self._name + b"\x12" + varint(len(number)) + number
        return self._tag + varint(len(content)) + content
