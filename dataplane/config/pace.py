"""How fast changes may follow each other.

A change takes a worker some tenths of a millisecond in which it serves nobody. Many in a row would show in the tail of
the latencies, so from some number on they are spread; what arrives at the control plane meanwhile comes as one. Changes
of instances count and do not wait: requests should go where somebody is.
"""

from __future__ import annotations

BURST = 10
"""Changes that may come one right after the other."""
SUSTAINED = 5.0
"""Changes a second while they keep coming."""


class Pace:
    """A token bucket as one number, like the rate limits' (generic cell rate algorithm, ITU-T I.371)."""

    def __init__(self, burst: int = BURST, per_second: float = SUSTAINED) -> None:
        self._interval = 1.0 / per_second
        self._slack = (burst - 1) * self._interval
        self._paid = 0.0
        """Until when the changes so far would have taken, had they been spread."""

    def wait(self, now: float) -> float:
        """Seconds that a change which is there at `now` has to wait; it is taken for granted that it then comes."""
        at = max(now, self._paid - self._slack)
        self._paid = max(self._paid, at) + self._interval
        return at - now
