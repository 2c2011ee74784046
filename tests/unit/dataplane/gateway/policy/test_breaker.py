"""Circuit breakers as scripts: what happened when, and where the breaker stood then."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.circuit import CircuitReport, Outcome, State, Transition
from tests.unit.dataplane.gateway.policy.breaker_script import ABANDONED, FAILURE, SUCCESS, Script

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
