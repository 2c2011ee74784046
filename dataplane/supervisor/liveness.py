"""Liveness of a worker: it sends a frame every second, and answers every change in time.

Silence is counted in ticks of the supervisor, not in seconds of a clock. A supervisor that was stopped itself, or that
got no CPU for a while, makes no ticks, so it does not kill its workers when it resumes.
"""

from __future__ import annotations

TICK = 1.0
"""Seconds between two ticks. Workers send statistics as often."""
START_TIMEOUT = 30.0
"""Seconds from the start of the process to its first frame: imports on a busy machine take long."""
ANSWER_TIMEOUT = 60.0
"""Seconds in which a worker must answer a change, or the SERVE frame."""


class Liveness:
    """Counts for one worker. `heard` is called for every frame, `tick` every TICK seconds."""

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds of silence after which the worker counts as dead."""
        self._timeout = timeout
        self._limit = max(timeout, START_TIMEOUT)
        self._silent = 0.0
        self._unanswered = 0.0

    def heard(self) -> None:
        """A frame arrived: the worker's event loop runs."""
        self._silent, self._limit = 0.0, self._timeout

    def tick(self, *, settled: bool) -> str:
        """The reason the worker counts as dead; empty while it is alive. `settled`: no answer of it is due."""
        if self._silent >= self._limit:
            return f"sent nothing for {self._silent:g} s"
        self._silent += TICK
        if settled:
            self._unanswered = 0.0
        elif self._unanswered >= ANSWER_TIMEOUT:
            return f"no answer for {self._unanswered:g} s"
        else:
            self._unanswered += TICK
        return ""
