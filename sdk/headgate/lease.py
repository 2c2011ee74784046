"""When to do what to stay registered. Pure: time and chance come in as arguments.

A third of the lease is left between two keep-alives, so that two may fail before it ends; failures back off up to
five seconds, with jitter, so that a fleet does not return in step.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


@dataclass(slots=True)
class Lease:
    """One instance's lease: `id` is None while there is none. Times are monotonic seconds."""

    id: int | None = None
    expires: float = 0.0
    due: float = 0.0
    """When the next step is to be taken: a keep-alive if there is a lease, a registration if not."""
    ttl: float = 0.0
    """Seconds that the last registration or keep-alive gave."""
    failures: int = 0
    """Steps in a row that failed."""

    def alive(self, now: float) -> bool:
        """Whether the registry still holds the instance, as far as we can know."""
        return self.id is not None and now < self.expires

    def granted(self, lease: int, ttl: float, asked: float) -> None:
        """A registration or keep-alive that was sent at `asked` gave `ttl` seconds."""
        self.id, self.ttl = lease, ttl
        self.expires = asked + ttl
        self.due = asked + ttl / 3
        self.failures = 0

    def ended(self, now: float) -> None:
        """The lease is gone: register at once."""
        self.id = None
        self.due = now

    def failed(self, now: float, chance: float) -> None:
        """The step failed; `chance` is between 0 and 1. Without hope for the lease, the next step is a registration."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.failures)
        self.failures = min(self.failures + 1, 16)
        self.due = now + pause * (0.5 + chance / 2)
        if not self.alive(now):
            self.id = None
        else:
            # Look again when it ends, so that losing it is noticed on time.
            self.due = min(self.due, self.expires)
