"""The rate at which changes are applied.

Applying a change blocks a worker for some tenths of a millisecond. A long run of changes would raise the tail latency,
so after a burst they are spaced out; the control plane merges what arrives meanwhile into one delta. Changes of
instances count but do not wait, because traffic should follow them at once.
"""

from __future__ import annotations

BURST = 10
"""Changes that may follow each other without a wait."""
SUSTAINED = 5.0
"""Changes a second while they keep coming."""


class Pace:
    """A token bucket as one number, like the rate limits (generic cell rate algorithm, ITU-T I.371)."""

    def __init__(self, burst: int = BURST, per_second: float = SUSTAINED) -> None:
        self._interval = 1.0 / per_second
        self._slack = (burst - 1) * self._interval
        self._paid = 0.0
        """Theoretical arrival time of the next change, in monotonic seconds."""

    def wait(self, now: float) -> float:
        """Seconds to wait before applying a change that arrives at `now`, in monotonic seconds. Counts the change."""
        at = max(now, self._paid - self._slack)
        self._paid = max(self._paid, at) + self._interval
        return at - now
