"""Bounded memory: which buckets are kept, and which are forgotten first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.buckets import OVERFLOW
from dataplane.gateway.policy.limiter import Limiter
from tests.unit.dataplane.gateway.policy.limiter_requests import T0, buckets_of, limit, take, taken


def held(limiter: Limiter) -> int:
    count = sum(buckets.size() for buckets in buckets_of(limiter))
    assert limiter._room.used == count
    return count


def test_buckets_are_bounded_and_those_in_use_are_kept() -> None:
    """Each caller has a token left, so any may be forgotten."""
    limiter, slow, other = Limiter(max_keys=100), limit(0.001, 2), limit(0.001, 2, "other")
    taken(limiter, slow, T0, at_most=1)
    for number in range(1000):
        assert take(limiter, slow if number % 2 else other, f"caller-{number}", T0) is None
        if number % 10 == 0:
            limiter.counter(slow).charge("alice", 0, T0)
        assert held(limiter) <= 102
    assert taken(limiter, slow, T0) == 1, "alice was in use all the time"
    assert taken(limiter, slow, T0, "caller-999") == 1
    assert taken(limiter, slow, T0, "caller-1") == 2, "forgotten long ago"


def test_a_limited_key_is_never_forgotten() -> None:
    limiter, slow, other = Limiter(max_keys=100), limit(0.001, 2), limit(0.001, 2, "other")
    assert taken(limiter, slow, T0) == 2
    for number in range(5000):
        take(limiter, slow, f"caller-{number}", T0)
        assert take(limiter, other, f"caller-{number}", T0) is None
    assert held(limiter) <= 102
    assert take(limiter, slow, "alice", T0) is not None


def test_when_all_keys_are_limited_new_ones_share_a_bucket() -> None:
    limiter, slow = Limiter(max_keys=100), limit(0.001, 1)
    passed = [number for number in range(1000) if take(limiter, slow, f"caller-{number}", T0) is None]
    assert passed == list(range(101)), "100 of their own, and one for all others"
    assert held(limiter) == 101
    assert [name for name in (OVERFLOW, "caller-0", "caller-99") if not taken(limiter, slow, T0, name)] == [
        OVERFLOW,
        "caller-0",
        "caller-99",
    ]
    limiter.counter(slow).give_back("caller-500", 1, T0)
    assert taken(limiter, slow, T0, "caller-501") == 1, (
        "what the shared bucket gets back is for all who share it"
    )
    assert taken(limiter, slow, T0 + 2100, "caller-700") == 1, "everybody's bucket is full by now"
    assert held(limiter) < 101


def test_full_buckets_are_forgotten_first() -> None:
    limiter, fast = Limiter(max_keys=1000), limit(10.0, 10)
    for number in range(400):
        take(limiter, fast, f"caller-{number}", T0 + number * 0.1)
    assert held(limiter) < 50, (
        "each is full again after 0.1 s; two times the 1 s that an empty one takes are kept"
    )


def test_many_full_buckets_are_dropped_piece_by_piece() -> None:
    limiter, fast = Limiter(max_keys=60_000), limit(10.0, 10)
    for number in range(9_000):
        take(limiter, fast, f"caller-{number}", T0)
    take(limiter, fast, "next", T0 + 2)
    before = held(limiter)
    for number in range(2_000):
        take(limiter, fast, f"later-{number}", T0 + 4)
        assert before - held(limiter) <= 8
        before = held(limiter)
    assert before < 2_010


def test_room_is_made_where_most_keys_are() -> None:
    limiter, flooded, quiet = Limiter(max_keys=1000), limit(0.001, 2, "flooded"), limit(0.001, 2, "quiet")
    for number in range(50):
        take(limiter, quiet, f"caller-{number}", T0)
    for number in range(5000):
        take(limiter, flooded, f"caller-{number}", T0)
    sizes = {buckets.limit.name: buckets.size() for buckets in buckets_of(limiter)}
    assert sizes == {"flooded": 950, "quiet": 50}


def test_no_limit_takes_all_the_room_from_others() -> None:
    """A client that chooses the values of a counted field must not have all new callers of other limits share one."""
    limiter, flooded, others = Limiter(max_keys=1000), limit(0.001, 1, "flooded"), limit(1.0, 3, "others")
    limiter.counter(others)
    for number in range(3000):
        take(limiter, flooded, f"made-up-{number}", T0)
    assert [taken(limiter, others, T0, f"caller-{number}") for number in range(50)] == [3] * 50
    assert held(limiter) <= 1101
    assert [taken(limiter, others, T0, f"caller-{number}") for number in range(50, 60)] == [3, *[0] * 9], (
        "shared"
    )
    assert [taken(limiter, others, T0 + 4, f"caller-{number}") for number in range(60, 99)] == [3] * 39, (
        "full again"
    )
    assert taken(limiter, flooded, T0, "made-up-0") == 0, "limited keys are kept"
    assert held(limiter) <= 1102


def test_the_reserve_is_bounded_whatever_the_number_of_limits() -> None:
    limiter = Limiter(max_keys=100)
    for number in range(40):
        which = limit(0.001, 1, f"l{number}")
        for caller in range(100):
            take(limiter, which, f"caller-{caller}", T0)
    assert held(limiter) <= 110 + 40, "and for each limit the bucket that new keys share"


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from([0, 0, 1, 2, 5])), max_size=80),
    st.integers(1, 3),
)
def test_forgetting_full_buckets_changes_no_answer(steps: list[tuple[str, int]], burst: int) -> None:
    """A limiter that keeps generations, against one bucket per caller kept for ever."""
    limiter, which, now = Limiter(), limit(1.0, burst), T0
    forever: dict[str, Limiter] = {}
    for key, quarters in steps:
        now += quarters / 4
        expected = take(forever.setdefault(key, Limiter()), which, key, now)
        assert (take(limiter, which, key, now) is None) == (expected is None)


def test_what_was_refused_is_remembered_for_all_limits_together() -> None:
    limiter, limits = Limiter(), [limit(0.001, 1, f"l{number}") for number in range(50)]
    counters = [limiter.counter(each) for each in limits]
    for counter in counters:
        for caller in range(2000):
            assert counter.take(f"caller-{caller}", T0) == 0 and counter.take(f"caller-{caller}", T0)
    kept = sum(len(buckets._refused) + len(buckets._refused_old) for buckets in buckets_of(limiter))
    assert kept <= 2 * 40_000
    assert all(counter.refused("caller-1999") == 1 for counter in counters)
