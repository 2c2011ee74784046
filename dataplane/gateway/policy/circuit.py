"""What a circuit breaker says: its states, the outcomes that it hears of, its refusal, its log and its report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """The state of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Outcome(Enum):
    """The outcome of an admitted request."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABANDONED = "abandoned"
    """The client left: no evidence about the service."""
    EXCUSED = "excused"
    """It failed at an instance that is ejected or has left: that says nothing about the rest of the service."""


class Open:
    """Refused; `retry_after` is the seconds until a retry makes sense, not rounded."""

    __slots__ = ("retry_after",)

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state at monotonic time `at`, for the log."""

    service: str
    at: float
    old: State
    new: State
    reason: str


@dataclass(frozen=True, slots=True)
class CircuitReport:
    """The state of one breaker, as shown to operators. Totals count from its creation."""

    service: str
    state: str
    last_state_change: float | None
    """Monotonic time; None before the first."""
    total_requests: int
    """Admitted and ended, abandoned ones included."""
    failed_requests: int
    rejected_requests: int
    recent_failures: int
    """Within the window; while not closed, since it was last closed."""
    reason: str
    """The last change in words."""
