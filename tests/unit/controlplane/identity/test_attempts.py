"""Back-off after wrong passwords; time is handed in."""

from __future__ import annotations

import pytest

from controlplane.identity import Attempts
from controlplane.identity.attempts import place


def failures(attempts: Attempts, name: str, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        assert attempts.begin((name, ""), now) == 0


def test_a_few_failures_cost_nothing_then_each_costs_twice_as_much() -> None:
    attempts = Attempts(free=3, longest=10)
    failures(attempts, "u", 3)
    now, waits = 0.0, []
    for _ in range(6):
        wait = attempts.begin(("u", ""), now)
        waits.append(wait)
        now += wait
        assert attempts.begin(("u", ""), now) == 0
    assert waits == [1, 2, 4, 8, 10, 10]


def test_waiting_is_not_made_longer_by_asking() -> None:
    attempts = Attempts(free=1, longest=30)
    failures(attempts, "u", 1)
    assert [attempts.begin(("u", ""), now) for now in (0.0, 0.25, 0.5)] == [1, 0.75, 0.5]


def test_success_forgets() -> None:
    attempts = Attempts(free=2)
    failures(attempts, "u", 2)
    assert attempts.begin(("u", ""), 0) > 0
    attempts.succeeded(("u", ""))
    failures(attempts, "u", 2)


def test_names_do_not_touch_one_another() -> None:
    attempts = Attempts(free=1)
    failures(attempts, "u", 1)
    assert attempts.begin(("other", ""), 0) == 0


def test_addresses_do_not_touch_one_another() -> None:
    attempts = Attempts(free=1)
    failures(attempts, "u", 1)
    assert attempts.begin(("u", ""), 0) > 0
    assert attempts.begin(("u", "192.0.2.7"), 0) == 0


def test_asking_how_long_counts_nothing() -> None:
    attempts = Attempts(free=1)
    assert [attempts.wait(("u", ""), 0) for _ in range(10)] == [0] * 10
    failures(attempts, "u", 1)
    assert [attempts.wait(("u", ""), now) for now in (0.0, 0.75, 2.0)] == [1, 0.25, 0]


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:aaaa::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:bbbb::2", "2001:db8:0:1::/64"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_what_counts_as_one_address(address: str, counted_as: str) -> None:
    assert place(address) == counted_as


def test_time_forgets() -> None:
    attempts = Attempts(free=2, memory=600)
    failures(attempts, "u", 2)
    failures(attempts, "u", 2, now=601.0)


def test_attempts_side_by_side_count_before_they_end() -> None:
    attempts = Attempts(free=5)
    assert [attempts.begin(("u", ""), 0) for _ in range(7)] == [0, 0, 0, 0, 0, 1, 1]


def test_no_more_names_are_kept_than_wanted() -> None:
    attempts = Attempts(free=1, most=100)
    for number in range(1000):
        attempts.begin((f"u{number}", ""), 0)
    assert attempts.begin(("u999", ""), 0) > 0, "the newest is remembered"
    assert attempts.begin(("u0", ""), 0) == 0, "the oldest is forgotten"


def test_very_many_failures_do_not_overflow() -> None:
    attempts = Attempts(free=1, longest=30)
    now = 0.0
    for _ in range(3000):
        now += attempts.begin(("u", ""), now)
    assert attempts.begin(("u", ""), now) <= 30
