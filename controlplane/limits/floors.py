"""Data in the store for the next owner of a partition: the limits that had an owner, and their floors. Pure.

/headgate/limits/v1/floors/<partition>    compressed JSON, one object for all limits of the partition
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping

from controlplane.limits.claims import ROOT
from headgate_api.leases.owner import Floors

Name = tuple[str, str]
"""A limit, and the identity of its buckets."""
Stored = Mapping[Name, Floors]

LARGEST = 16 * 1024 * 1024
"""Bytes, not compressed."""


def key_of(partition: int) -> str:
    """The key of a partition's floors."""
    return f"{ROOT}floors/{partition:02}"


def encode(stored: Stored) -> bytes:
    """The value. Amounts are rounded down."""
    rows = [
        [
            limit,
            counts_by,
            _down(floors.blank),
            {key: _down(floor) for key, floor in floors.keys.items()},
            floors.starters,
            floors.burst,
            floors.shared,
        ]
        for (limit, counts_by), floors in sorted(stored.items())
    ]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)


def decode(value: bytes) -> dict[Name, Floors]:
    """The inverse. Raises ValueError."""
    try:
        unpacked = zlib.decompressobj().decompress(value, LARGEST)
        return {
            (str(limit), str(counts_by)): Floors(
                float(blank),
                {str(key): float(floor) for key, floor in keys.items()},
                int(starters),
                int(burst),
                bool(shared),
            )
            for limit, counts_by, blank, keys, starters, burst, shared in json.loads(unpacked)
        }
    except (zlib.error, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"floors cannot be read: {error}") from None


def _down(tokens: float) -> float:
    return math.floor(tokens * 1000) / 1000
