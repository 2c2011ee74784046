"""Slows down whoever guesses passwords: after a few failures a username has to wait, longer each time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0
    until: float = 0.0


class Attempts:
    """Counts failures by username. Time is handed in: monotonic seconds.

    After `free` failures each further one makes the name wait 1, 2, 4 … up to `longest` seconds: short enough that
    nobody is locked out for good by somebody else's guesses. Failures are forgotten after `memory` seconds without
    one, and the oldest are when there are more than `most` names.
    """

    def __init__(
        self, *, free: int = 5, longest: float = 30.0, memory: float = 600.0, most: int = 10_000
    ) -> None:
        self._free = free
        self._longest = longest
        self._memory = memory
        self._most = most
        self._failures: dict[str, _Failures] = {}

    def begin(self, username: str, now: float) -> float:
        """Seconds that this name must wait; 0 lets it try.

        An attempt counts as failed until `succeeded` is told, so that attempts side by side gain nothing.
        """
        failures = self._failures.pop(username, None)
        if failures is None or now - failures.last > self._memory:
            failures = _Failures()
        if (wait := failures.until - now) <= 0:
            failures.count += 1
            failures.last = now
            failures.until = now + self._delay(failures.count)
        self._failures[username] = failures
        if len(self._failures) > self._most:
            del self._failures[next(iter(self._failures))]
        return max(0.0, wait)

    def succeeded(self, username: str) -> None:
        """Forget the failures of a name."""
        self._failures.pop(username, None)

    def _delay(self, count: int) -> float:
        return min(self._longest, 2.0 ** min(count - self._free, 30)) if count >= self._free else 0.0
