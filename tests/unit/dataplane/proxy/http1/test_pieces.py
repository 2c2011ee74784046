"""How much is parsed at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.proxy.http1.pieces import AHEAD, PIECE, piece_end
from dataplane.proxy.messages import CHUNKED

SHORT = b"GET / HTTP/1.1\r\n\r\n"


def body(length: int, received: int = 0) -> Any:
    return cast(Any, SimpleNamespace(request=SimpleNamespace(length=length), received=received))


def test_between_requests_a_piece_is_short() -> None:
    assert piece_end(None, SHORT * 100, 18) == 18 + PIECE
    assert piece_end(None, SHORT, 0) == len(SHORT)


def test_a_body_of_known_length_is_one_piece() -> None:
    assert piece_end(body(5_000, 1_000), b"x" * 9_000, 100) == 4_100
    assert piece_end(body(5_000), b"x" * 900, 100) == 900


@pytest.mark.parametrize("chunks", [b"", b"a\r\n0123456789\r\n" * 200])
def test_behind_a_body_in_chunks_no_more_than_so_many_requests_are_read(chunks: bytes) -> None:
    data = chunks + b"0\r\n\r\n" + SHORT * 100
    end = piece_end(body(CHUNKED), data, 0)
    assert end >= PIECE and data[:end].count(SHORT) <= max(AHEAD, PIECE // len(SHORT))
