"""The circuit breaker of one service: stop sending to a service that fails, then probe it with a few requests.

    closed ──failures──▶ open ──first request after recovery_timeout──▶ half open ──enough successes──▶ closed
                           ◀──a trial fails, or is unsettled for half_open_timeout──┘

(M. Nygard, Release It!, 2nd ed. 2018, section 5.2.) Closed, a breaker opens at a failure when its window holds at least
`failure_threshold` failures, at least `min_throughput` requests, and at least the share `failure_ratio` of failures. A
success never opens it.

A state machine without a clock: time is an argument. A trial that passes its deadline fails *at* the deadline, however
late that is noticed. On the request path a closed breaker costs one look-up to admit and one addition to settle.

`Breaker` holds the states, `ClosedTrial` counts the requests of a closed period, `HalfOpenTrial` is one probe. The
gateway calls `breakers.Breakers`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from dataplane.gateway.policy.circuit import CircuitReport, Open, Outcome, State, Transition
from dataplane.gateway.policy.resources import Circuit

STEPS: Final = 10
"""Steps in a breaker's window, which moves on by whole steps. A request older than the window is never counted; one
younger than (1 - 1/STEPS) of it always is."""
_NEVER: Final = -math.inf

# Members of an enum are slow to reach through its class.
_SUCCESS: Final = Outcome.SUCCESS
_FAILURE: Final = Outcome.FAILURE
_EXCUSED: Final = Outcome.EXCUSED

_NEW: Final = CircuitReport("", State.CLOSED.value, None, 0, 0, 0, 0, "")


class Breaker:
    """The breaker of one service. Appends its transitions to `log`, and its trial to `closed` while it is closed."""

    __slots__ = (
        "_changed_at",
        "_closed",
        "_failed",
        "_failures",
        "_log",
        "_opened_at",
        "_pending",
        "_period",
        "_reason",
        "_rejected",
        "_reported",
        "_service",
        "_state",
        "_successes",
        "_total",
        "circuit",
    )

    def __init__(
        self, service: str, circuit: Circuit, closed: dict[str, ClosedTrial], log: deque[Transition]
    ) -> None:
        self._service = service
        self._closed = closed
        self._log = log
        self.circuit = circuit
        self._state = State.CLOSED
        self._changed_at: float | None = None
        self._reason = ""
        self._total = self._failed = self._rejected = 0
        """Excluding the current closed period, which is counted in `_period`."""
        self._opened_at = 0.0
        self._failures = 0
        """Since it was last closed: the failures that opened it, and failed trials."""
        self._successes = 0
        """Successful trials since it became half open."""
        self._pending: list[HalfOpenTrial] = []
        self._period = self._begin_period()
        self._reported = _NEW

    def admit(self, now: float) -> Trial | Open:
        """Admit a request, or refuse."""
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
        """A request failed while closed; the window now holds `requests` and `failures`. Open if they exceed the
        thresholds."""
        circuit = self.circuit
        if (
            failures >= circuit.failure_threshold
            and requests >= circuit.min_throughput
            and failures / requests >= circuit.failure_ratio
        ):
            self._end_period()
            self._open(failures, now)

    def settle(self, trial: HalfOpenTrial, outcome: Outcome, now: float) -> None:
        """A trial ended. It may be late, of an earlier half-open period, or settled before."""
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
        """Count a request in the totals only: it ended outside the current closed period, or was abandoned."""
        self._total += 1
        self._failed += outcome is _FAILURE or outcome is _EXCUSED

    def excuse(self, failures: int) -> None:
        """Move this many failures of the closed period to the totals only."""
        self._total += failures
        self._failed += failures

    def adopt(self, circuit: Circuit) -> None:
        """Use new settings, in the current state. Trials in flight keep their deadlines."""
        if circuit.failure_window != self.circuit.failure_window:
            self._period.stretch(circuit.failure_window)
        self.circuit = circuit

    def reset(self, now: float) -> None:
        """Close and forget the failures; totals stay."""
        self._expire(now)
        if self._state is State.CLOSED:
            self._end_period()
            self._period = self._begin_period()
        else:
            self._close(now, "Circuit was reset")

    def retire(self) -> None:
        """The service was removed: requests still in flight settle without effect."""
        self._closed, self._log = {}, deque(maxlen=0)

    def twin(self) -> Breaker:
        """A breaker in the same state that shares nothing with this one."""
        twin = Breaker(self._service, self.circuit, {}, deque(maxlen=0))
        twin._state, twin._changed_at, twin._reason = self._state, self._changed_at, self._reason
        twin._total, twin._failed, twin._rejected = self._total, self._failed, self._rejected
        twin._opened_at, twin._failures, twin._successes = self._opened_at, self._failures, self._successes
        twin._pending = [trial.twin(twin) for trial in self._pending]
        twin._period = self._period.twin(twin)
        return twin

    @property
    def requests(self) -> int:
        """Requests that have ended."""
        return self._total + (self._period.requests if self._state is State.CLOSED else 0)

    def report(self, now: float) -> CircuitReport:
        """The figures for operators."""
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

    def changed_report(self, now: float) -> CircuitReport | None:
        """The report, if it differs from the previous return value; a new breaker counts as reported."""
        last = self._reported
        if (
            last.total_requests == self._total + self._period.requests
            and last.rejected_requests == self._rejected
            and last.last_state_change == self._changed_at
            and not last.recent_failures
            and not self._pending
        ):
            return None
        report = self.report(now)
        if report == last:
            return None
        self._reported = report
        return report

    def _admit_half_open(self, now: float) -> Trial | Open:
        if self._close_if_enough(now):
            return self._period
        if len(self._pending) + self._successes >= self.circuit.half_open_requests:
            return self._reject(min(trial.deadline for trial in self._pending) - now)
        trial = HalfOpenTrial(self, self.circuit.half_open_timeout, now)
        self._pending.append(trial)
        return trial

    def _reject(self, wait: float) -> Open:
        self._rejected += 1
        return Open(wait)

    def _expire(self, now: float) -> None:
        """Fail the first trial past its deadline. That opens the breaker, so the other trials no longer count.

        A trial that waits for its client is replaced by another one instead: it says nothing about the service.
        """
        while self._pending:
            first = min(self._pending, key=_deadline)
            if now < first.deadline:
                return
            first.settled = True
            if first.waits_for_client:
                self._pending.remove(first)
                self.count(Outcome.ABANDONED)
            else:
                self.count(Outcome.FAILURE)
                self._open(self._failures + 1, first.deadline)

    def _open(self, failures: int, at: float) -> None:
        self._pending = []
        self._failures = failures
        self._opened_at = at
        self._change(State.OPEN, at, f"Circuit opened after {failures} failures")

    def _half_open(self, now: float) -> None:
        self._successes = 0
        self._change(State.HALF_OPEN, now, f"Circuit half open after {self.circuit.recovery_timeout:g} s")

    def _close_if_enough(self, now: float) -> bool:
        if self._successes < self.circuit.half_open_requests:
            return False
        trials = "trial" if self._successes == 1 else "trials"
        self._close(now, f"Circuit closed after {self._successes} successful {trials}")
        return True

    def _close(self, now: float, reason: str) -> None:
        self._pending = []
        self._failures = 0
        self._period = self._begin_period()
        self._change(State.CLOSED, now, reason)

    def _begin_period(self) -> ClosedTrial:
        period = self._closed[self._service] = ClosedTrial(self, self.circuit.failure_window)
        return period

    def _end_period(self) -> None:
        period = self._period
        period.end()
        self._total += period.requests
        self._failed += period.failures
        self._closed.pop(self._service, None)

    def _change(self, new: State, at: float, reason: str) -> None:
        self._log.append(Transition(self._service, at, self._state, new, reason))
        self._state, self._changed_at, self._reason = new, at, reason


class Trial:
    """An admitted request. The holder settles it exactly once on every path.

    A base class instead of a protocol, because it is on the request path: mypyc compiles the call to a C call.
    """

    __slots__ = ()

    def settle(self, outcome: Outcome, now: float) -> None:
        """Report the outcome."""
        raise NotImplementedError


class ClosedTrial(Trial):
    """The trial that all requests of a closed period share: the window itself, so a request allocates nothing.

    It cannot detect a request settled twice; the holder must not do that. Requests that end after the period count in
    the totals only.
    """

    __slots__ = ("_breaker", "_ended", "_marks", "_step", "_step_ends", "failures", "requests")

    def __init__(self, breaker: Breaker, window: float) -> None:
        self._breaker = breaker
        self._step = window / STEPS
        self._step_ends = _NEVER
        """`_NEVER` before the first step and after the period, so that the request path needs one comparison."""
        self._marks = deque([(0, 0)], STEPS)
        """(requests, failures) at the start of each step in the window."""
        self._ended = False
        self.requests = 0
        """Ended in this period with success or failure."""
        self.failures = 0

    def settle(self, outcome: Outcome, now: float) -> None:
        """Count one request."""
        if now >= self._step_ends:
            if self._ended:
                self._breaker.count(outcome)
                return
            self._move(now)
        if outcome is _SUCCESS:
            self.requests += 1
        elif outcome is _FAILURE:
            self.requests += 1
            self.failures += 1
            self._breaker.failed(*self.recent(now), now)
        else:
            self._breaker.count(outcome)

    def recent(self, now: float) -> tuple[int, int]:
        """(requests, failures) within the window that ends at `now`."""
        if now >= self._step_ends and not self._ended:
            self._move(now)
        requests, failures = self._marks[0]
        return self.requests - requests, self.failures - failures

    def twin(self, breaker: Breaker) -> ClosedTrial:
        """A copy that belongs to `breaker`."""
        twin = ClosedTrial(breaker, 0.0)
        twin._step, twin._step_ends, twin._ended = self._step, self._step_ends, self._ended
        twin._marks = deque(self._marks, STEPS)
        twin.requests, twin.failures = self.requests, self.failures
        return twin

    def stretch(self, window: float) -> None:
        """Change the length of the window. Its content counts as if it had just happened."""
        self._marks = deque([self._marks[0]], STEPS)
        self._step = window / STEPS
        self._step_ends = _NEVER

    def excuse(self, failures: int, now: float) -> int:
        """Forget up to so many failures of the window; returns how many. The remaining failures count as the
        oldest."""
        failures = min(failures, self.recent(now)[1])
        self.requests -= failures
        self.failures -= failures
        requests, failed = self.requests, self.failures
        marks = [(min(each[0], requests), min(each[1], failed)) for each in self._marks]
        self._marks = deque(marks, STEPS)
        return failures

    def end(self) -> None:
        """End the closed period."""
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
    """One probing request of a half-open period. Settling it again has no effect."""

    __slots__ = ("_breaker", "_timeout", "deadline", "settled", "waits_for_client")

    def __init__(self, breaker: Breaker, timeout: float, now: float) -> None:
        """It has `timeout` seconds."""
        self._breaker = breaker
        self._timeout = timeout
        self.deadline = now + timeout
        """Monotonic time at which it ends unless settled: it fails, or is abandoned while it waits for the client."""
        self.waits_for_client = False
        """The request's body has not come whole."""
        self.settled = False

    def twin(self, breaker: Breaker) -> HalfOpenTrial:
        """A copy that belongs to `breaker`."""
        twin = HalfOpenTrial(breaker, self._timeout, 0.0)
        twin.deadline, twin.waits_for_client = self.deadline, self.waits_for_client
        return twin

    def sent(self, now: float) -> None:
        """The request has been sent whole. The service's time begins here."""
        if not self.settled:
            self.waits_for_client = False
            self.deadline = now + self._timeout

    def settle(self, outcome: Outcome, now: float) -> None:
        """Report the outcome."""
        self._breaker.settle(self, outcome, now)


def _deadline(trial: HalfOpenTrial) -> float:
    return trial.deadline
