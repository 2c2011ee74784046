"""The record of the workers' shares on disk, for the next process of this data plane (`headgate_api.leases.shares`).

The process before and its workers must have ended for certain: each of them has the folder open and locked as long as
it may spend leased tokens. A record counts within one boot of one host, and in the folder in which it was written: a
copy of the folder must not look like a predecessor.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from dataplane.config.cache import Cache
from headgate_api.leases.messages import SHARE
from headgate_api.leases.shares import Row
from headgate_api.leases.successor import Share


def open_folder(folder: Path) -> int:
    """A descriptor of the folder, which is made if it does not exist; -1 if that fails."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1


class ShareRecord:
    """One file beside the cached configuration. A folder that cannot be locked has none."""

    def __init__(self, folder: Path, folder_fd: int) -> None:
        """`folder_fd`: from `open_folder`; workers inherit it, and share the lock."""
        self._cache = Cache(folder, "shares")
        self._fd = folder_fd
        self._place = _place(folder_fd)

    def take_over(self, run: str, now: float, workers: int) -> tuple[str, list[Row]]:
        """The run of the process before and the shares of its workers; `run` if there are none.

        A record that cannot be replaced is not used: it may be there because it could not be removed.
        """
        found, rows = self._read(now, workers) if self._lock() else ("", [])
        if rows and self.write(found, rows):
            return found, rows
        self.clear()
        return run, []

    def write(self, run: str, rows: list[Row]) -> bool:
        """Replace the record; False if that fails, or another process may spend leased tokens of this folder."""
        return self._lock() and self._cache.replace(json.dumps([self._place, run, rows]).encode())

    def clear(self) -> bool:
        """Remove the record; whether there is none now."""
        return self._cache.clear()

    def _read(self, now: float, workers: int) -> tuple[str, list[Row]]:
        try:
            place, run, found = json.loads(self._cache.load()[0])
            rows = [Row(worker, limit, by, Share(*share)) for worker, limit, by, share in found]
            lasting = [row for row in rows if now < row.share.until <= now + SHARE]
            kept = [row for row in lasting if int(row.worker.partition(".")[0]) < workers]
        except (AttributeError, IndexError, ValueError, TypeError):
            return "", []
        return (str(run), kept) if place == self._place else ("", [])

    def _lock(self) -> bool:
        """Also called later: processes of an earlier run may end after this one has started."""
        try:
            if self._place is not None:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return self._place is not None


def _place(folder_fd: int) -> list[str | int] | None:
    """Identifies boot, clock and folder; None where that is impossible."""
    try:
        folder = os.fstat(folder_fd)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        clock = str(Path("/proc/self/ns/time").readlink())
        return [boot, clock, folder.st_dev, folder.st_ino]
    except OSError:
        return None
