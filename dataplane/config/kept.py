"""The configuration on disk, brought along change by change.

A change is written before a worker gets it, so that whatever was served is found after a restart. That costs what the
change costs; now and then, when the changes have grown larger than the whole, they are replaced by it.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.config.cache import Cache
from dataplane.config.decode import NOTHING, Bundle, replayed, whole
from dataplane.config.table import TableError


class Kept:
    """What the cache holds. Everything here may block for the disk; one call at a time, but for `sync`."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._held: Bundle | None = None
        """What is on disk; None when that may be anything, and has to be replaced."""
        self._refused = False
        """Whether the disk refused the last writing."""

    @property
    def refused(self) -> bool:
        """Whether the last writing failed, and is to be tried again."""
        return self._refused

    def load(self, *, before_last: bool = False) -> Bundle | None:
        """What is on disk, or was before the last change; None, with a warning, when that cannot be trusted."""
        records = self._cache.load()
        if before_last:
            del records[-1:]
        if not records:
            return None
        try:
            bundle = replayed(records)
        except TableError as error:
            self._cache.distrust(str(error))
            return None
        self._held = bundle if self._cache.whole and not before_last else None
        return bundle

    def distrust(self, reason: str) -> None:
        """Warn that what was loaded is of no use."""
        self._cache.distrust(reason)

    def write(self, served: Bundle, bundle: Bundle, parts: Iterable[bytes]) -> None:
        """Keep `bundle`, to which `parts` lead from `served`."""
        record = b"".join(parts)
        if served is NOTHING:
            done = self._cache.replace(record)
        else:
            # A disk that refuses is asked again by `tend`, and not at every change.
            ready = self._held is served or (not self._refused and self.tend(served))
            done = ready and self._cache.append(record)
        self._note(bundle, done)

    def tend(self, served: Bundle) -> bool:
        """Have exactly what is served on disk, in not too many pieces; False when the disk refuses."""
        if self._held is served and not self._cache.grown:
            return True
        done = self._cache.clear() if served is NOTHING else self._cache.replace(whole(served))
        self._note(served, done)
        return done

    def sync(self) -> None:
        """Make what is on disk outlive a loss of power too."""
        self._cache.sync()

    def _note(self, bundle: Bundle, done: bool) -> None:
        self._held = bundle if done else None
        self._refused = not done
