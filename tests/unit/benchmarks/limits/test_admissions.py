"""What a service's log says of a limit: windows, ids, and utilisation."""

from __future__ import annotations

import pytest

from tests.benchmarks.limits.admissions import excess, fullest, logged, spans, utilisation


def at(*moments: float) -> list[tuple[float, float]]:
    """Requests that were admitted at these very moments."""
    return [(moment, moment) for moment in moments]


def test_requests_are_told_by_the_number_in_their_path() -> None:
    lines = ["10.001 a1 /even/0", "10.002 a2 /", "10.003 a3 /skewed/0", "10.004 a4 /even/2"]
    assert logged(lines, "/even") == {0: 10.001, 2: 10.004}


def test_a_retry_is_no_second_admission() -> None:
    # It has the id of the first attempt, which counts at its time.
    assert logged(["10.001 a1 /even/0", "11.000 a1 /even/0"], "/even") == {0: 10.001}


def test_the_fullest_window_is_found_wherever_it_begins() -> None:
    assert fullest(at(0.0, 4.0, 8.0, 9.0, 10.0, 13.9, 20.0), 10.0) == 5
    assert fullest(at(0.0, 10.0), 10.0) == 2
    assert fullest(at(0.0, 10.1), 10.0) == 1
    assert fullest(at(), 10.0) == 0


def test_several_at_one_moment_count_each() -> None:
    assert fullest(at(1.0, 1.0, 1.0, 2.0), 0.5) == 3


def test_a_request_counts_only_for_windows_that_contain_all_of_the_time_in_which_it_was_admitted() -> None:
    # The second one may have been admitted before the window that the others fill.
    others = [(2.0, 2.0), (4.0, 4.0), (5.0, 5.0)]
    assert fullest([(1.0, 3.5), *others], 3.0) == 3
    assert fullest([(3.5, 3.5), *others], 3.0) == 4


def test_a_request_that_took_longer_than_the_window_counts_for_none() -> None:
    assert fullest([(0.0, 60.0), (1.0, 1.0), (2.0, 2.0)], 10.0) == 2


def test_fullest_agrees_with_a_slow_count() -> None:
    requests = [(n * 0.37 % 7.0, n * 0.37 % 7.0 + n * 0.11 % 1.3) for n in range(200)]
    for seconds in (0.2, 1.0, 2.5, 10.0):
        slow = max(
            sum(begin >= start and end <= start + seconds for begin, end in requests) for start, _ in requests
        )
        assert fullest(requests, seconds) == slow


def test_the_bound_is_the_rate_over_the_window_and_the_burst() -> None:
    # 2 a second and 5 at once: 25 in ten seconds.
    kept = at(*[0.0] * 5, *(n / 2 for n in range(1, 41)))
    assert excess(kept, rate=2.0, burst=5, seconds=10.0) == 0
    assert excess([*kept, (10.0, 10.0), (10.0, 10.0)], rate=2.0, burst=5, seconds=10.0) == 2
    assert excess(at(1.0), rate=2.0, burst=5, seconds=10.0) == -24


def test_what_the_log_says_is_rounded_to_the_safe_side() -> None:
    assert spans([10.0, 10.5], {1: 10.75}) == [(10.5, 10.751)]


def test_utilisation_is_one_for_what_one_bucket_would_admit() -> None:
    # Five at once, then two a second of the four that are asked for.
    sent = [n / 4 for n in range(80)]
    tokens, admitted = 5.0, list[int]()
    for number in range(80):
        tokens = min(5.0, tokens + (0.5 if number else 0.0))
        if tokens >= 1:
            tokens -= 1
            admitted.append(number)
    assert utilisation(sent, admitted, rate=2.0, burst=5, since=0.0) == 1.0
    assert utilisation(sent, admitted[::2], rate=2.0, burst=5, since=0.0) == pytest.approx(0.5, abs=0.02)


def test_nothing_is_wasted_where_nothing_more_was_asked_for() -> None:
    assert utilisation([0.0, 1.0, 2.0], [0, 1, 2], rate=100.0, burst=10, since=0.0) == 1.0


def test_only_what_was_sent_since_then_counts() -> None:
    sent = [float(n) for n in range(20)]
    # Half of it was wasted at first, nothing later.
    admitted = [0, 2, 4, 6, 8, *range(10, 20)]
    assert utilisation(sent, admitted, rate=1.0, burst=1, since=10.0) == 1.0
    assert utilisation(sent, admitted, rate=1.0, burst=1, since=0.0) == 0.75


def test_without_any_requests_there_is_no_utilisation() -> None:
    assert utilisation([], [], rate=1.0, burst=1, since=0.0) == 0.0
