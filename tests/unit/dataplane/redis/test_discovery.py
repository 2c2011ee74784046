"""Where a Cluster says that a key is."""

from __future__ import annotations

import pytest

from dataplane.redis.discovery import read_move


def test_a_move_names_the_slot_and_the_server() -> None:
    assert read_move("MOVED 3999 127.0.0.1:6381") == (3999, ("127.0.0.1", 6381))
    assert read_move("ASK 3999 ::1:6381") == (3999, ("::1", 6381))


@pytest.mark.parametrize("error", ["MOVED", "MOVED x y:1", "MOVED 1 nowhere"])
def test_what_names_none_is_told(error: str) -> None:
    with pytest.raises(ValueError):
        read_move(error)
