"""The cache file: the last good configuration, with which a data plane starts while no control plane can be reached. A
second file of this format has the shares of its workers (`supervisor.share_record`).

Format: one line `headgate-cache <version>`, then records: 4 bytes of length (big endian), the SHA-256 of the payload,
the payload. A record is one change, the first one from an empty configuration; `decode` reads the payloads.

Records are appended. After a SIGKILL at any moment, every record is there for which `append` had returned. A new file
is written beside the old one, fsynced and renamed over it. A problem with the cache is a warning; it never stops a
data plane.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

VERSION = 2
MAX_BYTES = 256 * 1024 * 1024
"""Largest file that is read, in bytes."""
LEAST_GROWTH = 256 * 1024
"""Bytes of changes after the first record below which the file never counts as grown."""

_HEADER = f"headgate-cache {VERSION}\n".encode()
_FRAME = struct.Struct(">I32s")

_log = logging.getLogger(__name__)


class CacheError(Exception):
    """The cache cannot be read or written."""


class Cache:
    """One file in a folder that only its owner may enter. Methods may block on the disk; none raises OSError."""

    def __init__(self, folder: Path, name: str = "table") -> None:
        self._folder = folder
        self._file = folder / name
        self._first = self._end = 0
        """Offsets of the ends of the first and the last record; 0 when nothing may be appended to the file."""
        self.warnings = 0
        """Failed reads and writes since the start."""
        self.problem = ""
        """The last failure; empty after a success."""
        self._logged = ""
        """The last failure that was logged; empty after a successful write."""

    @property
    def whole(self) -> bool:
        """Whether every record in the file is valid, so that more may be appended."""
        return self._end > 0

    @property
    def grown(self) -> bool:
        """Whether the appended changes are larger than the first record."""
        return self._end - self._first > max(self._first, LEAST_GROWTH)

    def load(self) -> list[bytes]:
        """All records before the first damaged one, which is a warning."""
        self._first = self._end = 0
        try:
            content = self._read()
            at = _start(content)
        except FileNotFoundError:
            return []
        except (OSError, CacheError) as error:
            self.warn(str(error))
            return []
        self.problem = ""
        return self._records(content, at)

    def append(self, record: bytes) -> bool:
        """Append a record; False, with a warning, when that fails: then nothing more may be appended."""
        frame = _framed(record)
        return self._attempt(lambda: self._extend(frame))

    def replace(self, record: bytes) -> bool:
        """Replace the file with one that holds this record; False, with a warning, when that fails."""
        content = _HEADER + _framed(record)
        return self._attempt(lambda: self._rewrite(content))

    def clear(self) -> bool:
        """Remove the file; False, with a warning, when that fails."""
        return self._attempt(self._remove)

    def sync(self) -> None:
        """fsync the file. Records appended since the last call survive the end of the process, but not a power loss."""
        try:
            with open(_opened(self._file, os.O_RDONLY), "rb") as file:
                os.fsync(file.fileno())
        except FileNotFoundError:
            return
        except (OSError, CacheError) as error:
            self.warn(str(error))

    def warn(self, reason: str) -> None:
        """Count a failure, and log it unless it is the same as before: failed writes are repeated every second."""
        self.warnings += 1
        self.problem = f"config cache {self._file}: {reason}"
        if self.problem != self._logged:
            self._logged = self.problem
            _log.warning("%s", self.problem)

    def _attempt(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except (OSError, CacheError) as error:
            self._first = self._end = 0
            self.warn(str(error))
            return False
        if self._logged:
            self._logged = ""
            _log.info("config cache %s is written again", self._file)
        self.problem = ""
        return True

    def _read(self) -> bytes:
        with open(_opened(self._file, os.O_RDONLY), "rb") as file:
            return file.read()

    def _records(self, content: bytes, at: int) -> list[bytes]:
        records: list[bytes] = []
        while at < len(content):
            if (record := _record_at(content, at)) is None:
                self._first = 0
                self.warn(f"is damaged: record {len(records) + 1} is truncated or has a wrong checksum")
                return records
            records.append(record)
            at += _FRAME.size + len(record)
            self._first = self._first or at
        self._end = at if records else 0
        return records

    def _extend(self, frame: bytes) -> None:
        with open(_opened(self._file, os.O_WRONLY | os.O_APPEND), "ab") as file:
            if os.fstat(file.fileno()).st_size != self._end:
                raise CacheError("was changed by another process")
            file.write(frame)
        self._end += len(frame)

    def _rewrite(self, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_leftovers()
        beside = self._folder / f"{self._file.name}.{os.getpid()}.tmp"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            beside.rename(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        _sync_folder(self._folder)
        self._first = self._end = len(content)

    def _remove(self) -> None:
        self._first = self._end = 0
        try:
            self._file.unlink(missing_ok=True)
        except OSError:
            # A file system that is read-only says so even if there is no file.
            if os.path.lexists(self._file):
                raise

    def _remove_leftovers(self) -> None:
        """Remove temporary files of processes that were killed while writing."""
        for leftover in self._folder.glob(f"{self._file.name}.*.tmp"):
            leftover.unlink(missing_ok=True)


def _opened(file: Path, flags: int) -> int:
    # Do not follow a symbolic link, and do not block on a FIFO, in place of the file.
    descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(descriptor))
    except CacheError:
        os.close(descriptor)
        raise
    return descriptor


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        raise CacheError(f"is not a regular file of at most {MAX_BYTES} bytes")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise CacheError("is owned or writable by another user")


def _framed(record: bytes) -> bytes:
    return _FRAME.pack(len(record), hashlib.sha256(record).digest()) + record


def _record_at(content: bytes, at: int) -> bytes | None:
    """The record at this offset; None when it is truncated or its checksum is wrong."""
    if len(content) < at + _FRAME.size:
        return None
    length, checksum = _FRAME.unpack_from(content, at)
    record = content[at + _FRAME.size :][:length]
    return record if len(record) == length and hashlib.sha256(record).digest() == checksum else None


def _start(content: bytes) -> int:
    """Offset of the first record. Raises CacheError for another format."""
    header, newline, _ = content.partition(b"\n")
    words = header.split(b" ")
    if not newline or words[0] != b"headgate-cache" or len(words) < 2:
        raise CacheError("is not a Headgate cache")
    if header + newline != _HEADER:
        raise CacheError(f"has format {words[1][:20].decode(errors='replace')}, this version reads {VERSION}")
    return len(_HEADER)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
