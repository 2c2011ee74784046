"""When a store that does not answer is asked no more, and when it is tried again. Pure: times come in.

An outage begins when a connection is lost or cannot be made, or when several writes in a row had no answer in time. It
ends when a try has been answered in time. The tries cost no request anything.
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
        """When the outage began, Unix seconds; None while there is none."""
        self.reason = ""
        self.denied = False
        """The server answers, and refuses our credentials."""
        self.lacks = ""
        """What our user's ACL lacks, as an ACL rule says it: the server answers, and refuses. Empty: it is away."""

    def answered(self) -> None:
        """An answer came in time."""
        self._late = 0

    def late(self) -> bool:
        """A write had no answer in time; whether the connection is to be given up."""
        self._late += 1
        return self._late >= MOST_LATE

    def failed(
        self, reason: str, wall: float, *, steady: bool = True, lacks: str = "", denied: bool = False
    ) -> bool:
        """The connection is lost, or a try has failed; whether an outage has begun with it, or is of another kind now.

        `steady`: all was well before for long enough, so that tries may begin anew. A server that answers tries and
        nothing else is not tried more often than one that answers nothing.
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
        """A try was answered, or nothing is asked any more; whether an outage has ended with it."""
        since, self.since = self.since, None
        self._late = 0
        self.reason = self.lacks = ""
        self.denied = False
        return since is not None

    def pause(self, chance: float) -> float:
        """Seconds until the next try; `chance` is uniform in [0, 1), so that workers do not come together."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return pause * (0.5 + chance / 2)
