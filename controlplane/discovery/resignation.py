"""When the elected control plane leaves discovery to another one, because its own sources do not answer it. Pure.

The others may have access that it lacks: to the API server, or to DNS. Where all lack it, they take turns more and more
rarely.
"""

from __future__ import annotations

FIRST, LONGEST = 60.0, 600.0
"""Seconds of silence until the lead is given up; doubles with each time."""


class Resignation:
    """Of one control plane, over all its terms."""

    def __init__(self) -> None:
        self._patience = FIRST
        self._silent_since: float | None = None

    def begin(self) -> None:
        """A term begins."""
        self._silent_since = None

    def due_in(self, now: float, *, answered: bool | None) -> float | None:
        """Seconds until the lead is to be given up; None while sources answer, or it is not known yet whether they do
        (`answered`)."""
        if answered is not False:
            self._silent_since = None
            self._patience = FIRST if answered else self._patience
            return None
        if self._silent_since is None:
            self._silent_since = now
        return max(0.0, self._silent_since + self._patience - now)

    def resign(self) -> None:
        """The lead is given up."""
        self._patience = min(2 * self._patience, LONGEST)
