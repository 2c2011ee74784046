"""Decides when a silent store is no longer asked, and when it is tried again. Pure: times are arguments.

An outage begins when a connection is lost or cannot be made, or when several writes in a row had no answer in time. It
ends when a try has been answered in time. Tries do not delay requests.
"""

from __future__ import annotations

from typing import Final

MOST_LATE: Final = 3
"""Writes in a row without an answer in time, after which the connection is given up."""
FIRST_PAUSE: Final = 0.05
"""Seconds between the first tries; doubles with each."""
LONGEST_PAUSE: Final = 2.0


class Outage:
    """The state of one server, as a worker sees it."""

    __slots__ = ("_late", "_tries", "denied", "lacks", "reason", "since")

    def __init__(self) -> None:
        self._late = 0
        self._tries = 0
        self.since: float | None = None
        """Time at which the outage began, Unix seconds; None without an outage."""
        self.reason = ""
        self.denied = False
        """The server answers, but refuses our credentials."""
        self.lacks = ""
        """The missing rule in our user's ACL: the server answers, but refuses. Empty: it does not answer."""

    def answered(self) -> None:
        """An answer came in time."""
        self._late = 0

    def late(self) -> bool:
        """A write had no answer in time. Returns whether to give up the connection."""
        self._late += 1
        return self._late >= MOST_LATE

    def failed(
        self, reason: str, wall: float, *, steady: bool = True, lacks: str = "", denied: bool = False
    ) -> bool:
        """The connection is lost, or a try has failed. Returns whether an outage began, or changed its kind.

        `steady`: the connection worked long enough before, so that the delays start again. A server that answers only
        tries is not tried more often than one that answers nothing.
        """
        self._late = 0
        self.reason = reason
        changed = (lacks, denied) != (self.lacks, self.denied)
        self.lacks, self.denied = lacks, denied
        if self.since is not None:
            return changed
        if steady:
            self._tries = 0
        self.since = wall
        return True

    def over(self) -> bool:
        """A try was answered, or there are no more questions. Returns whether an outage ended."""
        since, self.since = self.since, None
        self._late = 0
        self.reason = self.lacks = ""
        self.denied = False
        return since is not None

    def pause(self, chance: float) -> float:
        """Seconds until the next try; `chance` is uniform in [0, 1), so that workers do not try at the same time."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return pause * (0.5 + chance / 2)
