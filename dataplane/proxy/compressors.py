"""Compressors for content codings, each for one body.

Levels and windows are for a proxy: no more CPU time per byte than gzip at its middle level, and little memory for each
body. docs/decisions/0018-compression.md has the figures.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import brotli

from dataplane.proxy.compression import Compressor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP_LEVEL: Final = 5
_GZIP_FRAME: Final = 16 + zlib.MAX_WBITS
_BROTLI_QUALITY: Final = 4
_BROTLI_WINDOW: Final = 17
_ZSTD: Final[Mapping[int, int]] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.window_log: 17,
}


class Gzip(Compressor):
    """RFC 1952."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FRAME)

    def process(self, data: bytes) -> bytes:
        return self._made.compress(data)

    def flush(self) -> bytes:
        return self._made.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._made.flush()


class Brotli(Compressor):
    """RFC 7932."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: Any = brotli.Compressor(quality=_BROTLI_QUALITY, lgwin=_BROTLI_WINDOW)

    def process(self, data: bytes) -> bytes:
        return bytes(self._made.process(data))

    def flush(self) -> bytes:
        return bytes(self._made.flush())

    def finish(self) -> bytes:
        return bytes(self._made.finish())


class Zstd(Compressor):
    """RFC 8878. The window is far below the 8 MB that every client must have room for (RFC 9659)."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made = zstd.ZstdCompressor(options=_ZSTD)

    def process(self, data: bytes) -> bytes:
        return self._made.compress(data)

    def flush(self) -> bytes:
        return self._made.flush(zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._made.flush()


_MAKERS: Final[Mapping[str, Callable[[], Compressor]]] = {"gzip": Gzip, "br": Brotli, "zstd": Zstd}


def make(coding: str) -> Compressor:
    """A compressor for a coding of `content_coding.CODINGS`."""
    return _MAKERS[coding]()
