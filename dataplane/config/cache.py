"""The last good configuration on disk, so that a data plane can start while its control plane is away.

Format: one line `headgate-cache <version> <sha256 of the payload> <bytes of the payload>`, then the payload. A new file
is written beside the old one, forced to the disk and renamed over it, so that a reader, and a process killed at any
moment, finds either the old or the new. Whatever is wrong with the cache is a warning: it never stops a data plane.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path

VERSION = 1
MAX_BYTES = 256 * 1024 * 1024
"""A file above this is not read: nothing this version writes comes near."""

_log = logging.getLogger(__name__)


class CacheError(Exception):
    """Why the cache cannot be read or written."""


class Cache:
    """One file in a folder that only its owner may enter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "table"
        self.warnings = 0
        """How often reading or writing failed since the start."""
        self.problem = ""
        """The latest of these, in words; empty after a success."""

    def load(self) -> bytes | None:
        """The payload of the last `save`, or None with a warning when there is none that can be trusted."""
        try:
            payload = _verified(self._read())
        except FileNotFoundError:
            return None
        except (OSError, CacheError) as error:
            self.distrust(str(error))
            return None
        self.problem = ""
        return payload

    def save(self, payload: bytes) -> None:
        """Replace the file. Blocks for the disk; never raises OSError, but warns."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_leftovers()
            self._replace(_header(payload), payload)
        except OSError as error:
            self.distrust(str(error))
        else:
            self.problem = ""

    def distrust(self, reason: str) -> None:
        """Count and log that the cache is of no use now."""
        self.warnings += 1
        self.problem = f"config cache {self._file}: {reason}"
        _log.warning("%s", self.problem)

    def _read(self) -> bytes:
        # Not followed, not waited for: a link or a pipe in its place is not ours.
        descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check(os.fstat(descriptor))
        except CacheError:
            os.close(descriptor)
            raise
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def _replace(self, *pieces: bytes) -> None:
        beside = self._folder / f"table.{os.getpid()}.tmp"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(descriptor)
            beside.rename(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        _sync_folder(self._folder)

    def _remove_leftovers(self) -> None:
        """What a process killed while writing left behind."""
        for leftover in self._folder.glob("table.*.tmp"):
            leftover.unlink(missing_ok=True)


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        raise CacheError("is not a regular file of sensible size")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise CacheError("could have been written by another user")


def _header(payload: bytes) -> bytes:
    return f"headgate-cache {VERSION} {hashlib.sha256(payload).hexdigest()} {len(payload)}\n".encode()


def _verified(content: bytes) -> bytes:
    header, newline, payload = content.partition(b"\n")
    words = header.split(b" ")
    if not newline or len(words) != 4 or words[0] != b"headgate-cache":
        raise CacheError("is not a Headgate cache")
    if words[1] != str(VERSION).encode():
        raise CacheError(f"has format {words[1][:20].decode(errors='replace')}, this version reads {VERSION}")
    if header + newline != _header(payload):
        raise CacheError("is damaged: its checksum does not fit")
    return payload


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
