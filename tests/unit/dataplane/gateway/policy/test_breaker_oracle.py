"""The breaker against one that keeps everything and works out its state anew each time."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.breaker import Trial
from dataplane.gateway.policy.circuit import Open, Outcome
from dataplane.gateway.policy.resources import Circuit
from tests.unit.dataplane.gateway.policy.breaker_script import ABANDONED, FAILURE, SUCCESS, Script


class Request:
    """One admitted request, as the oracle remembers it."""

    def __init__(self, period: int, deadline: float | None) -> None:
        self.period, self.deadline, self.ended = period, deadline, False


class Dumb:
    """A breaker that keeps everything for ever and works out its state anew each time.

    `period` grows at every change of state; requests belong to the period they were admitted in.
    """

    def __init__(self, circuit: Circuit, now: float) -> None:
        self.circuit = circuit
        self.state, self.period, self.since, self.origin = "closed", 0, now, now
        self.events: list[tuple[int, float, Outcome]] = []
        self.trials: list[Request] = []
        self.failures = self.total = self.failed = self.rejected = 0

    def become(self, state: str, at: float) -> None:
        self.state, self.period, self.since, self.origin = state, self.period + 1, at, at
        self.trials = []
        if state == "closed":
            self.failures = 0

    def pass_time(self, now: float) -> None:
        late = [trial for trial in self.trials if trial.deadline is not None and trial.deadline <= now]
        if late:
            first = min(late, key=lambda trial: trial.deadline or 0.0)
            first.ended = True
            self.total, self.failed, self.failures = self.total + 1, self.failed + 1, self.failures + 1
            self.become("open", first.deadline or 0.0)

    def admit(self, now: float) -> Request | float:
        self.pass_time(now)
        if self.state == "open" and now - self.since < self.circuit.recovery_timeout:
            self.rejected += 1
            return self.since + self.circuit.recovery_timeout - now
        if self.state == "open":
            self.become("half_open", now)
        if self.state == "half_open":
            if len(self.trials) + self.successes() >= self.circuit.half_open_requests:
                self.rejected += 1
                return min(trial.deadline or 0.0 for trial in self.trials) - now
            self.trials.append(Request(self.period, now + self.circuit.half_open_timeout))
            return self.trials[-1]
        return Request(self.period, None)

    def successes(self) -> int:
        return sum(period == self.period and outcome is SUCCESS for period, _, outcome in self.events)

    def settle(self, request: Request, outcome: Outcome, now: float) -> None:
        self.pass_time(now)
        if request.ended:
            return
        request.ended = True
        self.total += 1
        self.failed += outcome is FAILURE
        if request.period != self.period:
            return
        self.events.append((self.period, now, outcome))
        if self.state == "half_open":
            self.trials.remove(request)
            if outcome is FAILURE:
                self.failures += 1
                self.become("open", now)
            elif self.successes() >= self.circuit.half_open_requests:
                self.become("closed", now)
        elif outcome is FAILURE:
            requests, failures = self.window(now)
            if (
                failures >= self.circuit.failure_threshold
                and requests >= self.circuit.min_throughput
                and failures / requests >= self.circuit.failure_ratio
            ):
                self.failures = failures
                self.become("open", now)

    def window(self, now: float) -> tuple[int, int]:
        """Requests and failures of the last ten steps, counted from the period's begin."""
        width = self.circuit.failure_window / 10
        step = (now - self.origin) // width
        recent = [
            outcome
            for period, at, outcome in self.events
            if period == self.period and (at - self.origin) // width > step - 10 and outcome is not ABANDONED
        ]
        return len(recent), recent.count(FAILURE)

    def reset(self, now: float) -> None:
        self.pass_time(now)
        self.become("closed", now)

    def figures(self, now: float) -> tuple[str, int, int, int, int]:
        self.pass_time(now)
        recent = self.window(now)[1] if self.state == "closed" else self.failures
        return self.state, self.total, self.failed, self.rejected, recent


OUTCOMES = st.sampled_from([SUCCESS, SUCCESS, SUCCESS, FAILURE, FAILURE, ABANDONED])
STEPS = st.one_of(
    st.just(("admit",)),
    st.tuples(st.just("request"), OUTCOMES),
    st.tuples(st.just("request"), OUTCOMES),
    st.tuples(st.just("settle"), st.integers(0, 5), OUTCOMES),
    st.tuples(st.just("wait"), st.sampled_from([0.25, 0.75, 1.0, 2.5, 5.0, 7.25, 30.0])),
    st.just(("reset",)),
)


@settings(max_examples=500)
@given(
    st.lists(STEPS, max_size=80),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(1, 8),
    st.sampled_from([5.0, 10.0, 20.0]),
)
def test_it_does_what_the_dumb_breaker_does(
    steps: list[tuple[Any, ...]], threshold: int, trials: int, ratio: float, throughput: int, window: float
) -> None:
    script = Script(
        failure_threshold=threshold,
        half_open_requests=trials,
        failure_ratio=ratio,
        min_throughput=throughput,
        failure_window=window,
    )
    dumb = Dumb(script.circuit, script.now)
    script.report  # noqa: B018  begins the first step of the window, as the oracle does
    admitted: list[tuple[Trial, Request]] = []
    for step in steps:
        match step:
            case ("wait", seconds):
                script.now += seconds
            case ("reset",):
                script.breakers.reset("svc", script.now)
                dumb.reset(script.now)
            case ("admit" | "request", *outcomes):
                ours, theirs = script.breakers.admit("svc", script.now), dumb.admit(script.now)
                if isinstance(ours, Open):
                    assert ours.retry_after == theirs
                    continue
                assert isinstance(theirs, Request)
                admitted.append((ours, theirs))
                for outcome in outcomes:
                    ours.settle(outcome, script.now)
                    dumb.settle(theirs, outcome, script.now)
            case ("settle", back, outcome) if back < len(admitted):
                trial, request = admitted[-1 - back]
                # A shared trial is settled once per request, that is its holder's part; others as often as one likes.
                if request.deadline is not None or not request.ended:
                    trial.settle(outcome, script.now)
                    dumb.settle(request, outcome, script.now)
        report = script.report
        assert dumb.figures(script.now) == (
            report.state,
            report.total_requests,
            report.failed_requests,
            report.rejected_requests,
            report.recent_failures,
        )
