"""Circuit breakers: stop asking a service that fails, try again carefully."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from dataplane.policy.resources import Circuit


class Outcome(Enum):
    """How an admitted request ended. ABANDONED: the client left; says nothing of the service."""

    SUCCESS = "success"
    FAILURE = "failure"
    ABANDONED = "abandoned"


class State(Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Open:
    """Refused: seconds until asking again makes sense."""

    __slots__ = ("retry_after",)

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after


class Trial(Protocol):
    """An admitted request, to be settled exactly once."""

    def settle(self, outcome: Outcome, now: float) -> None:
        """Tell how it ended."""


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
    """What operators see of one breaker. `last_state_change` is monotonic; None before the first."""

    service: str
    state: str
    last_state_change: float | None
    total_requests: int
    failed_requests: int
    rejected_requests: int
    recent_failures: int
    reason: str


class Breakers:
    """One breaker per service."""

    def admit(self, service: str, now: float) -> Trial | Open:
        """Let a request through, or not."""
        raise NotImplementedError

    def adopt(self, circuits: Mapping[str, Circuit]) -> None:
        """From now on these services' breakers exist, with these settings; state is carried by name."""
        raise NotImplementedError

    def reset(self, service: str, now: float) -> None:
        """Close the breaker and forget its failures; unknown services are ignored."""
        raise NotImplementedError

    def report(self, now: float) -> list[CircuitReport]:
        """Every breaker, by name."""
        raise NotImplementedError

    def drain(self) -> list[Transition]:
        """Transitions since the last call, oldest first."""
        raise NotImplementedError
