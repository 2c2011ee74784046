"""The leases of the workers of one server, in memory that all of them share. So leases of dead workers can be ended.

The server's master makes it before it forks. Each worker has a slot of its own, so no lock is needed.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable

SLOTS = 256
"""Workers with the same number modulo SLOTS share a slot; the lease of the older one then ends by itself."""
_ENTRY = struct.Struct("<qq")
"""Process id and lease. Both 0: the slot is empty."""
_LENGTH = struct.Struct("<Q")
_NAME = SLOTS * _ENTRY.size
"""The offset of the instance's id, after its length."""
_LONGEST = 1024
"""Bytes of an id."""
_LEFT = -1
"""In place of the process id: the worker is ending, and has left its lease to a successor."""


class Shares:
    """Leases by worker, and the instance that they are for."""

    def __init__(self) -> None:
        """In the master."""
        self._memory = mmap.mmap(-1, _NAME + _LENGTH.size + _LONGEST)

    @property
    def instance_id(self) -> str:
        """The instance that the workers hold; empty before one holds it."""
        start = _NAME + _LENGTH.size
        (length,) = _LENGTH.unpack_from(self._memory, _NAME)
        return self._memory[start : start + length].decode()

    def hold(self, number: int, lease: int, instance_id: str) -> None:
        """The calling worker holds the instance under a lease."""
        name = instance_id.encode()[:_LONGEST]
        start = _NAME + _LENGTH.size
        self._memory[start : start + len(name)] = name
        _LENGTH.pack_into(self._memory, _NAME, len(name))
        self._write(number, os.getpid(), lease)

    def leave(self, number: int, lease: int) -> None:
        """The calling worker ends, and its lease does not."""
        self._write(number, _LEFT, lease)

    def clear(self, numbers: Iterable[int]) -> None:
        """The leases of these workers have ended."""
        for number in numbers:
            self._write(number, 0, 0)

    def dead(self) -> dict[int, int]:
        """The leases of workers that have ended, by slot."""
        entries = enumerate(_ENTRY.iter_unpack(self._memory[:_NAME]))
        return {number: lease for number, (pid, lease) in entries if lease and not _lives(pid)}

    def rest(self) -> list[int]:
        """All leases. Once the master stops, each of its workers has ended or been killed; a killed one may still
        look alive, because nobody has waited for it."""
        return [lease for _, lease in _ENTRY.iter_unpack(self._memory[:_NAME]) if lease]

    def _write(self, number: int, pid: int, lease: int) -> None:
        _ENTRY.pack_into(self._memory, number % SLOTS * _ENTRY.size, pid, lease)


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
