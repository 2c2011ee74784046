"""The breakers of all services: resets, changes of the configuration, excused failures, and reports."""

from __future__ import annotations

import random

from dataplane.gateway.policy.breaker import Trial
from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.circuit import CircuitReport, Open, Outcome
from dataplane.gateway.policy.resources import Circuit
from tests.unit.dataplane.gateway.policy.breaker_script import FAILURE, PLAIN, SUCCESS, Script

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
