"""The lease's schedule, without a clock."""

from __future__ import annotations

from headgate.lease import LONGEST_PAUSE, Lease


def test_starts_with_a_registration_that_is_due_at_once() -> None:
    lease = Lease(due=100.0)
    assert lease.id is None
    assert not lease.alive(100.0)


def test_a_third_of_the_lease_lies_between_two_keep_alives() -> None:
    lease = Lease()
    lease.granted(7, 15.0, asked=100.0)
    assert lease.alive(114.9)
    assert not lease.alive(115.0)
    assert lease.due == 105.0


def test_the_lease_counts_from_the_question_not_the_answer() -> None:
    lease = Lease()
    lease.granted(7, 15.0, asked=100.0)  # however long the answer took
    assert lease.expires == 115.0


def test_a_failed_keep_alive_is_repeated_soon_while_the_lease_lives() -> None:
    lease = Lease()
    lease.granted(7, 15.0, asked=100.0)
    lease.failed(105.0, chance=1.0)
    assert lease.id == 7
    assert lease.due == 105.2


def test_failures_back_off_to_a_bound_and_keep_jitter() -> None:
    lease = Lease()
    pauses = []
    for _ in range(10):
        lease.failed(0.0, chance=1.0)
        pauses.append(lease.due)
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[-1] == LONGEST_PAUSE
    lease.failed(0.0, chance=0.0)
    assert lease.due == LONGEST_PAUSE / 2


def test_ten_thousand_failures_do_not_overflow() -> None:
    lease = Lease()
    for _ in range(10_000):
        lease.failed(0.0, chance=1.0)
    assert lease.due == LONGEST_PAUSE


def test_losing_the_lease_is_noticed_when_it_ends() -> None:
    lease = Lease()
    lease.granted(7, 6.0, asked=0.0)
    for _ in range(5):
        lease.failed(5.0, chance=1.0)
    assert lease.due == 6.0


def test_after_the_lease_has_passed_the_next_step_is_a_registration() -> None:
    lease = Lease()
    lease.granted(7, 6.0, asked=0.0)
    lease.failed(6.0, chance=0.5)
    assert lease.id is None


def test_a_lease_that_the_registry_ended_is_taken_anew_at_once() -> None:
    lease = Lease()
    lease.granted(7, 6.0, asked=0.0)
    lease.ended(2.0)
    assert (lease.id, lease.due) == (None, 2.0)


def test_success_forgets_the_failures() -> None:
    lease = Lease()
    lease.failed(0.0, 1.0)
    lease.granted(7, 6.0, asked=0.0)
    lease.failed(1.0, chance=1.0)
    assert lease.due == 1.2
