"""What a circuit breaker tells: its answer to a request, its changes of state, its figures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Open:
    """Refused; `retry_after` is the seconds until asking again makes sense, not rounded."""

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
    """What operators see of one breaker. Totals are since it was made."""

    service: str
    state: str
    last_state_change: float | None
    """Monotonic time; None before the first."""
    total_requests: int
    """Let through and ended, the abandoned too."""
    failed_requests: int
    rejected_requests: int
    recent_failures: int
    """Within the window; while not closed, since it was closed last."""
    reason: str
    """The last change in words."""
