"""Partitions of limits, and the choice of their owners. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

COUNT: Final = 64
"""Partitions. Never changed: control planes that disagree about it would own a limit twice."""


def partition_of(limit: str) -> int:
    """The partition of the limit of this name."""
    return int.from_bytes(blake2b(limit.encode(), digest_size=4).digest(), "big") % COUNT


def candidates(partition: int, members: Iterable[str]) -> list[str]:
    """The members in their order of preference as owner: by a hash of both, so that a member that comes or goes moves
    only its own partitions (rendezvous hashing)."""
    return sorted(members, key=lambda member: _weight(partition, member), reverse=True)


def _weight(partition: int, member: str) -> tuple[bytes, str]:
    return blake2b(f"{partition} {member}".encode(), digest_size=16).digest(), member
