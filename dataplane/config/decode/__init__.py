"""Decodes protobuf resources into frozen values, or into the list of their problems."""

from __future__ import annotations

from dataplane.config.decode.bundle import (
    LARGE_CHANGE,
    NOTHING,
    Bundle,
    Mismatch,
    Part,
    applied,
    difference,
    read_part,
    replayed,
    unpack,
    whole,
)
from dataplane.config.decode.keys import cache_key, sealed, unsealed
from dataplane.config.decode.resource import decode

__all__ = [
    "LARGE_CHANGE",
    "NOTHING",
    "Bundle",
    "Mismatch",
    "Part",
    "applied",
    "cache_key",
    "decode",
    "difference",
    "read_part",
    "replayed",
    "sealed",
    "unpack",
    "unsealed",
    "whole",
]
