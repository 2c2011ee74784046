"""One service's circuit breaker (M. Nygard, Release It!, 2nd ed. 2018, section 5.2), a state machine without a clock.

    closed ──failures──▶ open ──a request after recovery_timeout──▶ half open ──enough successes──▶ closed
                           ◀──a trial fails, or is unsettled for half_open_timeout──┘

Closed, it opens at a failure when the window holds at least `failure_threshold` failures, at least `min_throughput`
requests, and at least the share `failure_ratio` of failures. A success never opens it.

Time passes only when it is told: a trial whose time is up fails *at* its deadline, however late that is noticed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import MutableMapping

from dataplane.gateway.policy.circuit_report import CircuitReport, Open, State, Transition
from dataplane.gateway.policy.resources import Circuit
from dataplane.gateway.policy.trials import ClosedTrial, HalfOpenTrial, Outcome, Trial


class Breaker:
    """The breaker of one service; it reports its changes to `log` and keeps its place in `doors`.

    `doors` holds, by service, the shared trial of every breaker that is closed.
    """

    __slots__ = (
        "_changed_at",
        "_doors",
        "_failed",
        "_failures",
        "_log",
        "_opened_at",
        "_pending",
        "_period",
        "_reason",
        "_rejected",
        "_service",
        "_state",
        "_successes",
        "_total",
        "circuit",
    )

    def __init__(
        self, service: str, circuit: Circuit, doors: MutableMapping[str, ClosedTrial], log: deque[Transition]
    ) -> None:
        self._service = service
        self._doors = doors
        self._log = log
        self.circuit = circuit
        self._state = State.CLOSED
        self._changed_at: float | None = None
        self._reason = ""
        self._total = self._failed = self._rejected = 0
        """Without those of the present closed period, which are in `_period`."""
        self._opened_at = 0.0
        self._failures = 0
        """Since it was closed last: those that opened it, and failed trials."""
        self._successes = 0
        """Of trials, since it became half open."""
        self._pending: list[HalfOpenTrial] = []
        self._period = self._begin_period()

    def admit(self, now: float) -> Trial | Open:
        """Let a request through, or not."""
        self._expire(now)
        if self._state is State.OPEN:
            wait = self._opened_at + self.circuit.recovery_timeout - now
            if wait > 0:
                return self._reject(wait)
            self._half_open(now)
        if self._state is State.HALF_OPEN:
            return self._admit_half_open(now)
        return self._period

    def failed(self, requests: int, failures: int, now: float) -> None:
        """A request failed while closed, the last of so many within the window: open if that is too much."""
        circuit = self.circuit
        if (
            failures >= circuit.failure_threshold
            and requests >= circuit.min_throughput
            and failures / requests >= circuit.failure_ratio
        ):
            self._end_period()
            self._open(failures, now)

    def settle(self, trial: HalfOpenTrial, outcome: Outcome, now: float) -> None:
        """A trial ended: perhaps too late, perhaps one of an earlier half-open period, perhaps once more."""
        self._expire(now)
        if trial.settled:
            return
        trial.settled = True
        self.count(outcome)
        if trial not in self._pending:
            return
        self._pending.remove(trial)
        if outcome is Outcome.FAILURE:
            self._open(self._failures + 1, now)
        elif outcome is Outcome.SUCCESS:
            self._successes += 1
            self._close_if_enough(now)

    def count(self, outcome: Outcome) -> None:
        """A request ended outside the present closed period, or says nothing of the service: totals only."""
        self._total += 1
        self._failed += outcome is Outcome.FAILURE

    def adopt(self, circuit: Circuit) -> None:
        """Go on with new settings in the present state. Deadlines of trials under way stay."""
        if circuit.failure_window != self.circuit.failure_window:
            self._period.stretch(circuit.failure_window)
        self.circuit = circuit

    def reset(self, now: float) -> None:
        """Close, and forget the failures; totals stay."""
        self._expire(now)
        if self._state is State.CLOSED:
            self._end_period()
            self._period = self._begin_period()
        else:
            self._close(now, "Circuit was reset")

    def retire(self) -> None:
        """The service is gone: whatever requests are still under way, their end is nobody's business any more."""
        self._doors, self._log = {}, deque(maxlen=0)

    @property
    def requests(self) -> int:
        """Ended so far."""
        return self._total + (self._period.requests if self._state is State.CLOSED else 0)

    def report(self, now: float) -> CircuitReport:
        """What operators see."""
        self._expire(now)
        closed = self._state is State.CLOSED
        return CircuitReport(
            self._service,
            self._state.value,
            self._changed_at,
            self._total + (self._period.requests if closed else 0),
            self._failed + (self._period.failures if closed else 0),
            self._rejected,
            self._period.recent(now)[1] if closed else self._failures,
            self._reason,
        )

    def _admit_half_open(self, now: float) -> Trial | Open:
        if self._close_if_enough(now):
            return self._period
        if len(self._pending) + self._successes >= self.circuit.half_open_requests:
            return self._reject(min(trial.deadline for trial in self._pending) - now)
        trial = HalfOpenTrial(self, now + self.circuit.half_open_timeout)
        self._pending.append(trial)
        return trial

    def _reject(self, wait: float) -> Open:
        self._rejected += 1
        return Open(wait)

    def _expire(self, now: float) -> None:
        """Fail the first trial whose time is up; then the breaker is open, and the others prove nothing."""
        if not self._pending:
            return
        first = min(self._pending, key=lambda trial: trial.deadline)
        if now >= first.deadline:
            first.settled = True
            self.count(Outcome.FAILURE)
            self._open(self._failures + 1, first.deadline)

    def _open(self, failures: int, at: float) -> None:
        self._pending = []
        self._failures = failures
        self._opened_at = at
        self._change(State.OPEN, at, f"Circuit opened after {failures} failures")

    def _half_open(self, now: float) -> None:
        self._successes = 0
        self._change(State.HALF_OPEN, now, f"Circuit tries again after {self.circuit.recovery_timeout:g} s")

    def _close_if_enough(self, now: float) -> bool:
        if self._successes < self.circuit.half_open_requests:
            return False
        self._close(now, f"Circuit closed after {self._successes} successful trials")
        return True

    def _close(self, now: float, reason: str) -> None:
        self._pending = []
        self._failures = 0
        self._period = self._begin_period()
        self._change(State.CLOSED, now, reason)

    def _begin_period(self) -> ClosedTrial:
        period = self._doors[self._service] = ClosedTrial(self, self.circuit.failure_window)
        return period

    def _end_period(self) -> None:
        period = self._period
        period.end()
        self._total += period.requests
        self._failed += period.failures
        self._doors.pop(self._service, None)

    def _change(self, new: State, at: float, reason: str) -> None:
        self._log.append(Transition(self._service, at, self._state, new, reason))
        self._state, self._changed_at, self._reason = new, at, reason
