from __future__ import annotations

import zlib

import pytest

from controlplane.limits import floors
from headgate_api.leases.owner import Floors


def test_floors_come_back_as_they_were_rounded_down() -> None:
    stored = {
        ("daily", "subject"): Floors(50.0, {"alice": 12.34567, "\ud800": 0.0}, 7, 100, True),
        ("daily", "address/64"): Floors(0.0, {}),
    }
    found = floors.decode(floors.encode(stored))
    assert found["daily", "subject"] == Floors(50.0, {"alice": 12.345, "\ud800": 0.0}, 7, 100, True)
    assert found["daily", "address/64"] == Floors(0.0, {})


@pytest.mark.parametrize(
    "value", [b"", b"x", zlib.compress(b"{"), zlib.compress(b"[1]"), zlib.compress(b"{}x")]
)
def test_what_cannot_be_read_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError):
        floors.decode(value)
