"""Compressors against the decoders that clients have."""

from __future__ import annotations

import random
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest

from dataplane.proxy.compressors import make
from dataplane.proxy.content_coding import CODINGS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def gunzip(data: bytes) -> bytes:
    made = zlib.decompressobj(16 + zlib.MAX_WBITS)
    return made.decompress(data)


def unbrotli(data: bytes) -> bytes:
    return bytes(brotli.Decompressor().process(data))


def unzstd(data: bytes) -> bytes:
    return zstd.ZstdDecompressor().decompress(data)


DECODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gunzip, "br": unbrotli, "zstd": unzstd}
TEXT = b"".join(b'{"id": %d, "name": "order %d"},\n' % (n, n * 7919 % 1000) for n in range(20_000))
NOISE = random.Random(1).randbytes(200_000)


def test_every_coding_has_a_compressor() -> None:
    assert set(CODINGS) == set(DECODERS)


@pytest.mark.parametrize("body", [b"", b"a", TEXT, NOISE], ids=["empty", "one byte", "text", "noise"])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_in_pieces_of_any_size(coding: str, body: bytes) -> None:
    sizes, made, out, at = random.Random(2), make(coding), b"", 0
    while at < len(body):
        size = sizes.choice((1, 100, 16_384))
        out += made.process(body[at : at + size])
        at += size
    out += made.finish()
    assert DECODERS[coding](out) == body
    if body is TEXT:
        assert len(out) < len(body) / 4


@pytest.mark.parametrize("coding", CODINGS)
def test_a_flush_shows_the_client_all_that_was_taken(coding: str) -> None:
    made, out, taken = make(coding), b"", b""
    for number in range(20):
        piece = b"message %d\n" % number
        taken += piece
        out += made.process(piece) + made.flush()
        assert DECODERS[coding](out) == taken
    assert DECODERS[coding](out + made.finish()) == taken
