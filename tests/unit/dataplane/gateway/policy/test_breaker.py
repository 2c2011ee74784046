"""Circuit breakers as scripts: what happened when, and where the breaker stood then. The oracle is at the end."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.breaker import CircuitReport, Open, Outcome, State, Transition, Trial
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.resources import Circuit

SUCCESS, FAILURE, ABANDONED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.ABANDONED
PLAIN = Circuit(
    failure_threshold=3,
    failure_ratio=0.5,
    failure_window=10.0,
    min_throughput=2,
    recovery_timeout=30.0,
    half_open_timeout=5.0,
    half_open_requests=1,
)


class Script:
    """One service's breaker, and a clock that is set by hand."""

    def __init__(self, circuit: Circuit = PLAIN, **changes: Any) -> None:
        self.now = 1000.0
        self.circuit = replace(circuit, **changes)
        self.breakers = Breakers()
        self.breakers.adopt({"svc": self.circuit})

    def at(self, now: float) -> Script:
        self.now = now
        return self

    def adopt(self, **changes: Any) -> None:
        self.circuit = replace(self.circuit, **changes)
        self.breakers.adopt({"svc": self.circuit})

    def admit(self) -> Trial:
        trial = self.breakers.admit("svc", self.now)
        assert not isinstance(trial, Open), f"refused for {trial.retry_after} s"
        return trial

    def refused(self) -> float:
        answer = self.breakers.admit("svc", self.now)
        assert isinstance(answer, Open)
        return answer.retry_after

    def request(self, outcome: Outcome, times: int = 1) -> None:
        for _ in range(times):
            self.admit().settle(outcome, self.now)

    def settle(self, trial: Trial, outcome: Outcome) -> None:
        trial.settle(outcome, self.now)

    def trip(self) -> Script:
        self.request(FAILURE, self.circuit.failure_threshold)
        assert self.state == "open"
        return self

    def half_open(self) -> Trial:
        """Trip, wait, and take the first trial."""
        self.trip()
        self.now += self.circuit.recovery_timeout
        trial = self.admit()
        assert self.state == "half_open"
        return trial

    @property
    def report(self) -> CircuitReport:
        (report,) = self.breakers.report(self.now)
        return report

    @property
    def state(self) -> str:
        return self.report.state


# --- closed


def test_it_is_closed_at_first() -> None:
    script = Script()
    assert script.report == CircuitReport("svc", "closed", None, 0, 0, 0, 0, "")
    assert script.breakers.drain() == []


def test_it_opens_at_the_failure_that_reaches_the_threshold() -> None:
    script = Script()
    script.request(FAILURE, 2)
    assert script.state == "closed"
    script.request(FAILURE)
    assert script.state == "open"
    assert script.report.reason == "Circuit opened after 3 failures"
    assert script.breakers.drain() == [
        Transition("svc", 1000.0, State.CLOSED, State.OPEN, "Circuit opened after 3 failures")
    ]
    assert script.breakers.drain() == []


def test_it_stays_closed_below_the_throughput() -> None:
    script = Script(failure_threshold=1, min_throughput=4)
    script.request(FAILURE, 3)
    assert script.state == "closed"
    script.request(FAILURE)
    assert script.state == "open"


def test_it_stays_closed_below_the_ratio() -> None:
    script = Script()
    script.request(SUCCESS, 6)
    script.request(FAILURE, 5)
    assert script.state == "closed"
    script.request(FAILURE)
    assert script.state == "open", "6 of 12"


def test_the_ratio_is_met_exactly_even_where_floats_are_not() -> None:
    script = Script(failure_ratio=0.1, failure_threshold=1, min_throughput=30)
    script.request(SUCCESS, 27)
    script.request(FAILURE, 3)
    assert script.state == "open", "3 of 30"


def test_a_success_never_opens_it() -> None:
    script = Script(failure_threshold=2, min_throughput=4, failure_ratio=0.0)
    script.request(FAILURE, 3)
    script.request(SUCCESS, 10)
    assert script.state == "closed"
    script.request(FAILURE)
    assert script.state == "open"


def test_abandoned_requests_say_nothing() -> None:
    script = Script()
    script.request(ABANDONED, 50)
    script.request(FAILURE, 2)
    assert script.report == CircuitReport("svc", "closed", None, 52, 2, 0, 2, "")
    script.request(FAILURE)
    assert script.state == "open", "the abandoned do not count for the ratio either"


def test_old_failures_are_forgotten() -> None:
    script = Script()
    script.request(FAILURE, 2)
    script.at(1010.0).request(FAILURE, 2)
    assert script.state == "closed"
    assert script.report.recent_failures == 2
    assert script.report.failed_requests == 4
    assert script.at(1e9).report.recent_failures == 0


def test_failures_within_nine_tenths_of_the_window_are_always_counted() -> None:
    script = Script()
    script.request(FAILURE)
    script.at(1004.0).request(FAILURE)
    script.at(1008.9).request(FAILURE)
    assert script.state == "open"


def test_the_window_moves_on_at_the_very_moment() -> None:
    script = Script()
    script.request(FAILURE, 2)
    script.at(1009.5).request(SUCCESS)
    script.at(1010.0).request(FAILURE)
    assert (script.state, script.report.recent_failures) == ("closed", 1)
    assert script.at(1019.5).report.recent_failures == 1
    assert script.at(1020.0).report.recent_failures == 0


def test_closed_requests_share_one_trial() -> None:
    script = Script()
    assert script.admit() is script.admit()


@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 15), st.sampled_from([SUCCESS, FAILURE])), max_size=60))
def test_the_window_is_as_exact_as_it_says(events: list[tuple[float, Outcome]]) -> None:
    script, failures = Script(failure_threshold=10_000), []
    for gap, outcome in events:
        script.now += gap
        script.request(outcome)
        if outcome is FAILURE:
            failures.append(script.now)
        surely = sum(script.now - at < 0.9 * 10 - 1e-6 for at in failures)
        at_most = sum(script.now - at < 10 + 1e-6 for at in failures)
        assert surely <= script.report.recent_failures <= at_most


# --- open


def test_open_it_refuses_until_the_recovery_timeout() -> None:
    script = Script().trip()
    assert script.refused() == 30.0
    assert script.at(1010.0).refused() == 20.0
    assert script.at(1029.9).refused() == pytest.approx(0.1)
    assert script.report.rejected_requests == 3
    assert script.report.recent_failures == 3
    assert script.report.last_state_change == 1000.0
    assert script.at(1e6).state == "open", "it tries again when there is something to try"


def test_it_tries_again_with_the_first_request_after_the_timeout() -> None:
    script = Script().trip().at(1030.0)
    script.admit()
    assert script.state == "half_open"
    assert script.report.last_state_change == 1030.0


def test_requests_that_end_while_it_is_open_count_in_the_totals_only() -> None:
    script = Script()
    before = script.admit()
    script.trip()
    for outcome in (SUCCESS, FAILURE, ABANDONED):
        script.settle(before, outcome)
    assert script.state == "open"
    assert script.report == CircuitReport(
        "svc", "open", 1000.0, 6, 4, 0, 3, "Circuit opened after 3 failures"
    )


# --- half open


def test_a_successful_trial_closes_it() -> None:
    script = Script()
    trial = script.half_open()
    script.settle(trial, SUCCESS)
    assert script.report == CircuitReport(
        "svc", "closed", 1030.0, 4, 3, 0, 0, "Circuit closed after 1 successful trial"
    )
    assert [change.new.value for change in script.breakers.drain()] == ["open", "half_open", "closed"]
    script.request(FAILURE, 2)
    assert script.state == "closed", "what was before is forgotten"


def test_a_failed_trial_opens_it_again_and_goes_on_counting() -> None:
    script = Script()
    script.settle(script.half_open(), FAILURE)
    assert script.report.reason == "Circuit opened after 4 failures"
    assert script.refused() == 30.0
    script.settle(script.at(1060.0).admit(), FAILURE)
    assert script.report.reason == "Circuit opened after 5 failures"


def test_one_trial_at_a_time() -> None:
    script = Script()
    trial = script.half_open()
    assert script.refused() == 5.0
    assert script.at(1032.0).refused() == 3.0
    script.settle(trial, SUCCESS)
    script.admit()


def test_several_trials_must_all_succeed() -> None:
    script = Script(half_open_requests=3)
    first = script.half_open()
    second, third = script.admit(), script.admit()
    script.refused()
    script.settle(first, SUCCESS)
    script.refused()
    script.settle(second, SUCCESS)
    assert script.state == "half_open"
    script.settle(third, SUCCESS)
    assert script.report.reason == "Circuit closed after 3 successful trials"


def test_one_failure_among_several_trials_is_enough() -> None:
    script = Script(half_open_requests=3)
    first = script.half_open()
    second, third = script.admit(), script.admit()
    script.settle(first, SUCCESS)
    script.settle(second, FAILURE)
    assert script.state == "open"
    script.at(1060.0).admit()
    script.settle(third, SUCCESS)
    script.settle(third, FAILURE)
    assert script.state == "half_open", "a trial of the half-open period before proves nothing now"
    script.admit()


def test_an_abandoned_trial_frees_its_place() -> None:
    script = Script()
    trial = script.half_open()
    script.refused()
    script.settle(trial, ABANDONED)
    assert script.state == "half_open"
    script.settle(script.admit(), SUCCESS)
    assert script.state == "closed"


def test_settling_a_trial_again_changes_nothing() -> None:
    script = Script(half_open_requests=2)
    trial = script.half_open()
    for _ in range(3):
        script.settle(trial, SUCCESS)
    assert script.state == "half_open"
    script.settle(trial, FAILURE)
    assert script.state == "half_open"
    assert (script.report.total_requests, script.report.failed_requests) == (4, 3)


def test_a_trial_that_is_never_settled_fails_at_its_deadline() -> None:
    script = Script()
    script.half_open()
    assert script.at(1034.9).state == "half_open"
    assert script.at(1035.0).state == "open"
    assert script.report.last_state_change == 1035.0
    assert script.report.failed_requests == 4


def test_a_deadline_that_nobody_noticed_counts_from_when_it_was() -> None:
    script = Script()
    script.half_open()
    assert script.at(1045.0).refused() == 20.0, "open since 1035"
    script = Script()
    script.half_open()
    script.at(1070.0).admit()
    assert [change.at for change in script.breakers.drain()] == [1000.0, 1030.0, 1035.0, 1070.0]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_trial_settled_too_late_has_failed_already(outcome: Outcome) -> None:
    script = Script()
    trial = script.half_open()
    script.at(1035.0).settle(trial, outcome)
    assert script.report == CircuitReport(
        "svc", "open", 1035.0, 4, 4, 0, 4, "Circuit opened after 4 failures"
    )
    next_trial = script.at(1065.0).admit()
    script.settle(trial, SUCCESS)
    assert script.state == "half_open"
    script.settle(next_trial, SUCCESS)
    assert script.state == "closed"


# --- reset


def test_a_reset_closes_an_open_breaker() -> None:
    script = Script().trip().at(1001.0)
    script.breakers.reset("svc", script.now)
    assert script.report == CircuitReport("svc", "closed", 1001.0, 3, 3, 0, 0, "Circuit was reset")
    script.request(FAILURE, 2)
    assert script.state == "closed"


def test_a_reset_forgets_the_failures_of_a_closed_breaker() -> None:
    script = Script()
    script.request(FAILURE, 2)
    under_way = script.admit()
    script.breakers.reset("svc", script.now)
    assert script.report == CircuitReport("svc", "closed", None, 2, 2, 0, 0, "")
    script.settle(under_way, FAILURE)
    assert (script.report.recent_failures, script.report.failed_requests) == (0, 3)
    assert script.breakers.drain() == []


def test_trials_from_before_a_reset_prove_nothing() -> None:
    script = Script(half_open_requests=2)
    first = script.half_open()
    second = script.admit()
    script.breakers.reset("svc", script.now)
    script.settle(first, FAILURE)
    assert script.state == "closed"
    assert script.at(1100.0).state == "closed", "and their deadlines mean nothing"
    script.settle(second, FAILURE)
    script.request(FAILURE, 2)
    assert script.state == "closed"


def test_resetting_what_is_not_there_is_nothing() -> None:
    script = Script()
    script.breakers.reset("unknown", script.now)
    assert len(script.breakers.report(script.now)) == 1


# --- changes of the configuration


def test_state_is_carried_over_changes() -> None:
    script = Script()
    script.request(FAILURE, 2)
    under_way = script.admit()
    script.adopt()
    script.adopt(min_throughput=3)
    script.settle(under_way, FAILURE)
    assert script.state == "open"
    script.adopt(failure_threshold=9)
    assert script.state == "open"


def test_a_lower_threshold_holds_from_the_next_failure() -> None:
    script = Script()
    script.request(FAILURE, 2)
    script.adopt(failure_threshold=1)
    assert script.state == "closed"
    script.request(FAILURE)
    assert script.state == "open"


def test_an_open_breaker_recovers_by_the_new_timeout() -> None:
    script = Script().trip()
    script.adopt(recovery_timeout=5.0)
    assert script.at(1004.0).refused() == 1.0
    script.adopt(recovery_timeout=60.0)
    assert script.refused() == 56.0


def test_fewer_trials_than_have_succeeded_close_it() -> None:
    script = Script(half_open_requests=3)
    script.settle(script.half_open(), SUCCESS)
    script.settle(script.admit(), SUCCESS)
    script.adopt(half_open_requests=2)
    assert script.admit() is script.admit()
    assert script.state == "closed"


def test_fewer_trials_than_are_under_way_let_no_more_through() -> None:
    script = Script(half_open_requests=3)
    trials = [script.half_open(), script.admit(), script.admit()]
    script.adopt(half_open_requests=1)
    assert script.refused() == 5.0
    script.settle(trials[0], SUCCESS)
    assert script.state == "closed"
    script.settle(trials[1], FAILURE)
    assert script.report.recent_failures == 0


def test_another_window_keeps_what_is_in_it() -> None:
    script = Script()
    script.request(FAILURE)
    script.at(1020.0).request(FAILURE, 2)
    script.adopt(failure_window=100.0)
    assert script.report.recent_failures == 2
    assert script.at(1100.0).report.recent_failures == 2
    script.adopt(failure_window=1.0)
    assert script.report.recent_failures == 2
    assert script.at(1102.0).report.recent_failures == 0


def test_a_service_that_is_gone_takes_its_breaker_along() -> None:
    script = Script()
    under_way = script.admit()
    trial = script.half_open()
    script.breakers.drain()
    script.breakers.adopt({})
    assert script.breakers.report(script.now) == []
    script.settle(trial, FAILURE)
    script.settle(under_way, FAILURE)
    assert script.breakers.drain() == []
    script.adopt()
    assert script.report == CircuitReport("svc", "closed", None, 0, 0, 0, 0, "")


def test_a_closed_breaker_of_a_service_that_is_gone_admits_nothing_more() -> None:
    script = Script(failure_threshold=1, min_throughput=1)
    before = script.admit()
    script.breakers.adopt({})
    assert script.admit() is not before
    script.request(FAILURE, 4)
    assert script.state == "closed", "the defaults hold"


def test_what_a_vanished_breaker_does_does_not_touch_its_successor() -> None:
    script = Script()
    old = script.admit()
    script.breakers.adopt({})
    script.adopt()
    for _ in range(3):
        script.settle(old, FAILURE)
    assert script.state == "closed"
    assert script.admit() is script.admit()
    assert script.breakers.drain() == []


def test_services_do_not_share_breakers() -> None:
    breakers = Breakers()
    breakers.adopt({"b": PLAIN, "a": PLAIN})
    for _ in range(3):
        trial = breakers.admit("a", 0.0)
        assert not isinstance(trial, Open)
        trial.settle(FAILURE, 0.0)
    assert isinstance(breakers.admit("a", 0.0), Open)
    assert not isinstance(breakers.admit("b", 0.0), Open)
    assert [report.service for report in breakers.report(0.0)] == ["a", "b"]


def test_a_service_nobody_announced_has_the_default_settings() -> None:
    breakers = Breakers()
    for _ in range(5):
        trial = breakers.admit("new", 0.0)
        assert not isinstance(trial, Open)
        trial.settle(FAILURE, 0.0)
    assert isinstance(breakers.admit("new", 0.0), Open)


# --- the oracle


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


# --- failures that are excused


def test_excused_failures_count_in_the_totals_only() -> None:
    script = Script()
    script.request(FAILURE, 2)
    script.request(SUCCESS, 2)
    script.breakers.excuse("svc", 2, script.now)
    script.admit().settle(Outcome.EXCUSED, script.now)
    assert (script.report.total_requests, script.report.failed_requests) == (5, 3)
    assert script.report.recent_failures == 0
    script.request(FAILURE, 2)
    assert script.state == "closed"
    script.request(FAILURE)
    assert script.state == "open"


def test_no_more_is_excused_than_the_window_holds() -> None:
    script = Script()
    script.request(FAILURE, 2)
    script.now += 11.0
    script.request(FAILURE)
    script.breakers.excuse("svc", 5, script.now)
    assert script.report.recent_failures == 0
    for _ in range(12):
        script.now += 1.0
        assert script.report.recent_failures == 0


def test_an_excused_trial_frees_its_place() -> None:
    script = Script()
    script.half_open().settle(Outcome.EXCUSED, script.now)
    assert script.state == "half_open"
    script.breakers.excuse("svc", 3, script.now)
    script.request(SUCCESS)
    assert script.state == "closed"


def test_changes_are_the_reports_that_differ_from_the_last_ones() -> None:
    """Against a dumb comparison of all reports, over whatever a breaker can go through."""
    luck = random.Random(7)
    circuit = Circuit(failure_threshold=3, failure_window=10, recovery_timeout=5, half_open_timeout=2)
    breakers, names, now = Breakers(), [f"s{number}" for number in range(20)], 0.0
    breakers.adopt(dict.fromkeys(names, circuit))
    trials: list[Trial] = []
    told = {report.service: report for report in breakers.report(now)}
    for _ in range(3000):
        now += luck.choice((0.0, 0.1, 1.0, 3.0))
        for _ in range(luck.randrange(3)):
            found = breakers.admit(luck.choice(names[:15]), now)
            if not isinstance(found, Open):
                trials.append(found)
        while trials and luck.random() < 0.7:
            trials.pop(luck.randrange(len(trials))).settle(luck.choice(list(Outcome)), now)
        if luck.random() < 0.05:
            breakers.reset(luck.choice(names), now)
        if luck.random() < 0.05:
            breakers.excuse(luck.choice(names), luck.randrange(1, 4), now)
        # The changes are asked for first: a report may itself let a trial expire.
        changes = breakers.changes(now)
        every = {report.service: report for report in breakers.report(now)}
        assert {change.service for change in changes} == {name for name in names if told[name] != every[name]}
        told.update((change.service, change) for change in changes)
        assert told == every
