"""The schedule of registrations and keep-alives. Pure: time and randomness are arguments.

A keep-alive is due after a third of the lease, so that two may fail before it ends. After failures it backs off up to
five seconds, with jitter, so that the processes of a fleet do not retry at the same time.
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
    """Time of the next step: a keep-alive if there is a lease, otherwise a registration."""
    ttl: float = 0.0
    """The `ttl` of the last registration or keep-alive, in seconds."""
    failures: int = 0
    """Steps in a row that failed."""

    def alive(self, now: float) -> bool:
        """Whether the registry still has the instance, as far as this process knows."""
        return self.id is not None and now < self.expires

    def granted(self, lease: int, ttl: float, asked: float) -> None:
        """A registration or keep-alive sent at `asked` is valid for `ttl` seconds."""
        self.id, self.ttl = lease, ttl
        self.expires = asked + ttl
        self.due = asked + ttl / 3
        self.failures = 0

    def ended(self, now: float) -> None:
        """The lease has ended: register at once."""
        self.id = None
        self.due = now

    def failed(self, now: float, chance: float) -> None:
        """The step failed; `chance` is between 0 and 1. If the lease has ended by then, register next."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.failures)
        self.failures = min(self.failures + 1, 16)
        self.due = now + pause * (0.5 + chance / 2)
        if not self.alive(now):
            self.id = None
        else:
            # Wake at its end, so that its loss is noticed in time.
            self.due = min(self.due, self.expires)
