"""Passive ejection as scripts: what failed when, and who takes requests then."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.gateway.policy.ejection import Ejector
from dataplane.gateway.policy.resources import Circuit

CIRCUIT = Circuit(recovery_timeout=30.0)


class Script:
    """Instances of one service, all of them healthy."""

    def __init__(self, instances: str, circuit: Circuit = CIRCUIT) -> None:
        self.instances = list(instances)
        self.ejector = Ejector(circuit)

    def taking(self) -> str:
        return "".join(self.ejector.available(self.instances))

    def fail(self, instance: str, times: int = 1, now: float = 0.0) -> int:
        found = 0
        for _ in range(times):
            found = self.ejector.failed(instance, len(self.taking()), now) or found
        return found


def test_five_failures_in_a_row_eject() -> None:
    script = Script("ab")
    assert script.fail("a", 4) == 0 and script.taking() == "ab"
    assert script.fail("a") == 5 and script.taking() == "b"


def test_a_success_in_between_starts_anew() -> None:
    script = Script("ab")
    script.fail("a", 4)
    script.ejector.succeeded("a")
    assert script.fail("a", 4) == 0 and script.taking() == "ab"


def test_it_comes_before_a_breaker_with_a_lower_threshold_opens() -> None:
    assert Script("ab", Circuit(failure_threshold=2)).fail("a", 2) == 2
    assert Script("ab", Circuit(failure_threshold=1_000)).fail("a", 5) == 5


@pytest.mark.parametrize(
    ("instances", "left"), [("a", "a"), ("ab", "b"), ("abc", "bc"), ("abcd", "cd"), ("abcde", "cde")]
)
def test_at_most_half_are_ejected_and_never_the_last(instances: str, left: str) -> None:
    script = Script(instances)
    for instance in instances:
        script.fail(instance, 20)
    assert script.taking() == left


def test_it_returns_when_its_time_is_up() -> None:
    script = Script("ab")
    script.fail("a", 5, now=100.0)
    assert script.ejector.next_return == 130.0
    assert not script.ejector.reinstate(129.9) and script.taking() == "b"
    assert script.ejector.reinstate(130.0) and script.taking() == "ab"
    assert script.ejector.next_return == math.inf


def test_one_failure_ejects_an_instance_that_has_just_returned_and_for_longer() -> None:
    script = Script("ab")
    now, lasted = 0.0, []
    script.fail("a", 5, now)
    for _ in range(12):
        end = script.ejector.next_return
        lasted.append(end - now)
        now = end
        script.ejector.reinstate(now)
        script.fail("a", 1, now)
    assert lasted == [30.0 * min(times, 10) for times in range(1, 13)]


def test_a_success_ends_the_probation() -> None:
    script = Script("ab")
    script.fail("a", 5)
    script.ejector.reinstate(30.0)
    script.ejector.succeeded("a")
    assert script.fail("a", 4, 31.0) == 0 and script.fail("a", 1, 32.0) == 5


def test_what_is_told_are_the_failures_since_the_last_ejection() -> None:
    script = Script("ab")
    assert script.fail("a", 5) == 5
    script.ejector.reinstate(30.0)
    assert script.fail("a", 1, 30.0) == 1


def test_ejections_are_forgotten_in_time() -> None:
    script = Script("ab")
    script.fail("a", 5)
    script.ejector.reinstate(30.0)
    script.fail("a", 1, 60.0)
    assert script.ejector.next_return == 60.0 + 30.0


def test_late_failures_of_an_ejected_instance_change_nothing() -> None:
    script = Script("ab")
    script.fail("a", 5)
    assert script.fail("a", 100, 1.0) == 0 and script.ejector.next_return == 30.0


def test_ejections_end_when_others_become_unfit() -> None:
    script = Script("abcd")
    script.fail("a", 5)
    script.fail("b", 5)
    assert script.taking() == "cd"
    script.instances = ["a", "b", "c"]
    assert script.taking() == "abc" and not script.ejector.ejected


def test_instances_that_are_gone_are_forgotten() -> None:
    script = Script("abcd")
    script.fail("a", 5)
    script.fail("b", 3)
    script.ejector.keep("cd")
    assert not script.ejector.ejected and not script.ejector.streaks
    assert script.ejector.next_return == math.inf


def test_ejections_are_carried_over_other_settings() -> None:
    script = Script("ab")
    script.fail("a", 5)
    script.ejector.adopt(Circuit(failure_threshold=3, recovery_timeout=5.0))
    assert script.taking() == "b" and script.ejector.next_return == 30.0


EVENTS = st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.floats(0, 20)), max_size=200)


@given(st.integers(1, 6), EVENTS)
def test_half_of_them_always_take_requests(count: int, events: list[tuple[str, bool, float]]) -> None:
    script, now = Script("abcdef"[:count], Circuit(failure_threshold=2)), 0.0
    for instance, good, passed in events:
        now += passed
        script.ejector.reinstate(now)
        if instance in script.taking():
            if good:
                script.ejector.succeeded(instance)
            else:
                script.fail(instance, 1, now)
        assert 2 * len(script.taking()) >= count
        assert script.ejector.next_return > now
