"""Admitted requests, as a circuit breaker sees them: handed out when they begin, settled when they end."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import Protocol

STEPS = 10
"""Of a breaker's window, which moves on by whole steps. What is older than the window is never counted, what is younger
than (1 - 1/STEPS) of it always is."""

_NEVER = -math.inf


class Outcome(Enum):
    """How an admitted request ended. ABANDONED: the client left, which says nothing of the service."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABANDONED = "abandoned"


# Members of an enum are slow to reach through its class.
_SUCCESS = Outcome.SUCCESS
_FAILURE = Outcome.FAILURE


class Trial:
    """An admitted request. Whoever holds it settles it once, whatever happens.

    A base class and no protocol, as it is on the request path: compiled, a call of it is a call of C.
    """

    __slots__ = ()

    def settle(self, outcome: Outcome, now: float) -> None:
        """Tell how it ended."""
        raise NotImplementedError


class Owner(Protocol):
    """The breaker behind a trial."""

    def failed(self, requests: int, failures: int, now: float) -> None:
        """A request of the present closed period failed; so many ended within the window, that one included."""

    def count(self, outcome: Outcome) -> None:
        """A request ended that says nothing of the present state; it counts in the totals."""

    def settle(self, trial: HalfOpenTrial, outcome: Outcome, now: float) -> None:
        """A trial of a half-open period ended."""


class ClosedTrial(Trial):
    """The one trial that all requests of a closed period share: it is the window, so nothing is made per request.

    Being shared it cannot tell a second `settle` of one request from the first of another: settling once is up to the
    holder. Requests that end after the period count in the totals and nowhere else.
    """

    __slots__ = ("_ended", "_marks", "_owner", "_step", "_step_ends", "failures", "requests")

    def __init__(self, owner: Owner, window: float) -> None:
        self._owner = owner
        self._step = window / STEPS
        self._step_ends = _NEVER
        """In the past before the first step and after the period, so that one comparison serves the request path."""
        self._marks = deque([(0, 0)], STEPS)
        """Requests and failures at the begin of each step in the window."""
        self._ended = False
        self.requests = 0
        """Ended with success or failure in this period."""
        self.failures = 0

    def settle(self, outcome: Outcome, now: float) -> None:
        """Count one request's end."""
        if now >= self._step_ends:
            if self._ended:
                self._owner.count(outcome)
                return
            self._move(now)
        if outcome is _SUCCESS:
            self.requests += 1
        elif outcome is _FAILURE:
            self.requests += 1
            self.failures += 1
            self._owner.failed(*self.recent(now), now)
        else:
            self._owner.count(outcome)

    def recent(self, now: float) -> tuple[int, int]:
        """Requests and failures within the window that ends `now`."""
        if now >= self._step_ends and not self._ended:
            self._move(now)
        requests, failures = self._marks[0]
        return self.requests - requests, self.failures - failures

    def stretch(self, window: float) -> None:
        """The window has another length from now on: what it holds counts as if it had just happened."""
        self._marks = deque([self._marks[0]], STEPS)
        self._step = window / STEPS
        self._step_ends = _NEVER

    def end(self) -> None:
        """The closed period is over."""
        self._ended = True
        self._step_ends = _NEVER

    def _move(self, now: float) -> None:
        if self._step_ends == _NEVER:
            self._step_ends = now + self._step
            return
        steps = int((now - self._step_ends) // self._step) + 1
        self._step_ends += steps * self._step
        self._marks.extend([(self.requests, self.failures)] * min(steps, STEPS))


class HalfOpenTrial(Trial):
    """One of the few requests that show whether the service is back. Settling it again changes nothing."""

    __slots__ = ("_owner", "deadline", "settled")

    def __init__(self, owner: Owner, deadline: float) -> None:
        self._owner = owner
        self.deadline = deadline
        """Monotonic time; unsettled by then it has failed."""
        self.settled = False

    def settle(self, outcome: Outcome, now: float) -> None:
        """Tell how it ended."""
        self._owner.settle(self, outcome, now)
