"""The journal: the configuration on disk, as a snapshot and the changes after it.

A change is appended before a worker gets it, so that a restart finds everything that was ever served. Appending costs
as much as the change. When the changes outgrow the snapshot, a new snapshot replaces the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from dataplane.config.cache import Cache
from dataplane.config.decode import NOTHING, Bundle, replayed, sealed, unsealed, whole
from dataplane.config.table import TableError


class Journal:
    """The configuration in the cache file. Every method may block on the disk; one call at a time, except `sync`."""

    def __init__(self, cache: Cache, key: bytes = b"") -> None:
        """`key` encrypts private keys (`decode.cache_key`); without it, one of this process only does."""
        self._cache = cache
        self._key = key or os.urandom(32)
        self._held: Bundle | None = None
        """The configuration on disk; None when it is unknown and the file must be replaced."""
        self._refused = False
        """Whether the last write failed."""

    @property
    def refused(self) -> bool:
        """Whether the last write failed and should be tried again."""
        return self._refused

    def load(self, *, before_last: bool = False) -> Bundle | None:
        """The configuration on disk, or the one before the last change; None, with a warning, if it is not valid."""
        records = self._cache.load()
        if before_last:
            del records[-1:]
        if not records:
            return None
        try:
            bundle = unsealed(replayed(records), self._key)
        except TableError as error:
            self._cache.warn(str(error))
            return None
        self._held = bundle if self._cache.whole and not before_last else None
        return bundle

    def warn(self, reason: str) -> None:
        """Count and log that the loaded configuration is invalid."""
        self._cache.warn(reason)

    def write(self, served: Bundle, bundle: Bundle, parts: Iterable[bytes]) -> None:
        """Append `parts`, the difference from `served` to `bundle`."""
        record = b"".join(sealed(part, self._key) for part in parts)
        if served is NOTHING:
            done = self._cache.replace(record)
        else:
            # After a failure, only `compact` tries again, not every change.
            ready = self._held is served or (not self._refused and self.compact(served))
            done = ready and self._cache.append(record)
        self._note(bundle, done)

    def compact(self, served: Bundle) -> bool:
        """Make the file hold exactly `served`, with few changes after the snapshot. False when the write fails."""
        if self._held is served and not self._cache.grown:
            return True
        done = (
            self._cache.clear()
            if served is NOTHING
            else self._cache.replace(sealed(whole(served), self._key))
        )
        self._note(served, done)
        return done

    def sync(self) -> None:
        """fsync the file: changes written since the last call survive the end of the process, but not a power loss."""
        self._cache.sync()

    def _note(self, bundle: Bundle, done: bool) -> None:
        self._held = bundle if done else None
        self._refused = not done
