"""The owner's books, entry by entry: asks are made by hand, and what pools have is read."""

from __future__ import annotations

import math

import pytest

from headgate_api.leases.messages import LEASE, SHARE, SKEW, Answer, Ask, Limit, Want, WithoutOwner
from headgate_api.leases.owner import MOST_RESETS, Floors, Owner, first_floors

STRICT = Limit(10.0, 100, WithoutOwner.STRICT)
SHARED = Limit(10.0, 100)
KEY = "alice"


class Books:
    """An owner without a store, unless `floors` are given, and one clock."""

    def __init__(self, limit: Limit = STRICT, floors: Floors | None = None) -> None:
        self.now = 100.0
        self.owner = Owner(
            limit, 1, self.now, takeover=floors is not None, floors=floors, stored=floors is not None
        )
        self.stamps: dict[str, float] = {}
        self.answered: dict[str, float] = {}

    def ask(
        self, holder: str = "a", *wants: Want, after: float = 0.1, starter: int = 0, used: bool = True
    ) -> Answer:
        """An ask `after` so many seconds; `used`: its answer comes."""
        self.now += after
        stamp = self.stamps[holder] = self.stamps.get(holder, 0.0) + 1
        ask = Ask(stamp, self.answered.get(holder, -math.inf), starter, wants)
        answer = self.owner.ask(holder, ask, self.now)
        assert answer is not None
        if used:
            self.answered[holder] = stamp
        return answer

    def pool(self, key: str = KEY) -> float:
        self.owner.roll.flow(self.now)
        account = self.owner.accounts[key]
        account.flow(self.now)
        return account.pool

    def blank(self) -> float:
        self.owner.roll.flow(self.now)
        self.owner.blank.flow(self.now)
        return self.owner.blank.pool


def want(holds: float, back: float = 0.0, wants: float = 0.0, **more: float) -> Want:
    return Want(KEY, holds, back, wants, **more)  # type: ignore[arg-type]


def test_what_flowed_in_while_a_starter_was_out_is_not_gained_when_it_comes_back() -> None:
    books = Books()
    books.ask("a")
    books.ask("b")
    books.ask("a", want(25, wants=30), starter=25)
    before = books.pool()
    books.now += 60
    books.ask("a", starter=25, after=0)
    # It spent its starter just now.
    books.owner.leave("b", books.now)
    starters = 25 + 16
    assert books.pool() <= max(before, 100 - starters)
    books.now += 60
    assert books.pool() > 100 - starters


def test_no_more_is_taken_back_than_the_book_says_without_a_grant_that_was_lost() -> None:
    books = Books(Limit(0.001, 100, WithoutOwner.STRICT))
    books.ask()
    assert books.ask("a", want(0, wants=60), starter=25).grants[0].tokens == 60
    grant = books.ask("a", want(50, wants=80), starter=25, used=False).grants[0]
    assert grant.tokens == pytest.approx(15, abs=0.1)
    books.ask("a", want(0, back=1000, wants=0), starter=25)
    assert books.pool() == pytest.approx(50 + 15, abs=0.1)


def test_a_holder_that_holds_more_than_its_new_starter_is_not_forgotten() -> None:
    books = Books()
    books.ask("a")
    books.ask("a", starter=25)
    books.ask("b")
    answer = books.ask("a", want(25, wants=16), starter=25)
    assert answer.starter == 16 and not answer.grants[0].forget
    assert books.owner.accounts[KEY].excess == 9


def test_a_raised_burst_fills_at_the_rate_from_the_change_on() -> None:
    books = Books(Limit(10.0, 20, WithoutOwner.STRICT))
    books.ask("a", want(0, wants=1))
    # Nobody looks at the account for a long time.
    books.now += 3600
    books.owner.adopt(Limit(10.0, 1000, WithoutOwner.STRICT), books.now)
    assert books.pool() <= 20
    books.now += 3
    assert 30 < books.pool() <= 50


def test_a_lowered_burst_is_taken_out_of_every_pool_and_comes_back_at_the_rate() -> None:
    books = Books()
    books.ask("a", want(0, wants=60))
    before = books.pool()
    low = Limit(10.0, 30, WithoutOwner.STRICT)
    books.owner.adopt(low, books.now)
    # It lacked 25, so it has 5: with 35 that are held, and 15 for starters.
    assert before == 15 and books.pool() == pytest.approx(5 - 35 - 15)
    assert books.blank() == 30 - 15
    books.owner.adopt(STRICT, books.now)
    assert books.pool() == pytest.approx(5 - 35 - 15)
    assert books.blank() <= 30


def test_a_key_lacks_no_more_of_a_smaller_bucket_than_it_holds() -> None:
    # Per day: what it lacks otherwise would take days.
    books = Books(Limit(0.01, 1000, WithoutOwner.STRICT))
    books.ask("a", want(0, wants=500))
    for _ in range(3):
        books.ask("a", want(0, wants=500), starter=250)
    lower = Limit(0.001, 100, WithoutOwner.STRICT)
    books.owner.adopt(lower, books.now)
    books.ask("a", want(0), starter=250)
    books.ask("a", want(0), starter=250, after=LEASE)
    books.ask("a", want(0), starter=50, after=LEASE)
    assert books.pool() + books.owner.roll.starters >= -1
    # And who has used nothing has all of it.
    assert books.blank() + books.owner.roll.starters == 100


def test_a_lower_burst_takes_from_a_pool_what_it_is_lower_by() -> None:
    books = Books(Limit(0.001, 100, WithoutOwner.STRICT))
    books.ask("a", want(0, wants=20))
    before = books.pool()
    books.owner.adopt(Limit(0.001, 90, WithoutOwner.STRICT), books.now)
    assert books.pool() == pytest.approx(before - 10)


def test_many_silent_holders_are_looked_at_once_and_not_for_each_ask() -> None:
    books = Books(SHARED)
    books.ask("a")
    for number in range(40):
        books.ask(f"{number}", starter=1, after=0)
    books.ask("a", starter=10, after=LEASE * 3)
    books.ask("a", starter=10)
    roll = books.owner.roll
    assert set(roll._silent) <= {"a"} and len(roll._settled) == 40
    assert roll._settled_pace == pytest.approx(sum(member.pace for member in roll._settled.values()))
    # One of them asks, but is not known to be answered; another one leaves.
    books.ask("7", starter=1)
    books.owner.leave("8", books.now)
    books.blank()
    begin = roll.inflow
    books.now += 0.1
    books.blank()
    away = [member for holder, member in roll.members.items() if holder != "a"]
    gained = 0.1 * max(0.0, 10.0 - sum(member.pace for member in away))
    assert roll.inflow - begin == pytest.approx(gained)


def test_a_starter_that_the_owner_does_not_know_is_paid_by_all_keys() -> None:
    books = Books()
    books.ask("a", starter=20)
    assert books.blank() <= 100 - 20


def test_a_new_owner_leaves_their_share_to_holders_that_it_has_not_heard() -> None:
    fast = Limit(10.0, 100)
    books = Books(fast, Floors(0.0, {}, starters=25))
    assert books.owner.roll.unheard == 25
    books.now += LEASE * SKEW
    books.blank()
    begin = books.owner.roll.inflow
    books.now += 10
    books.blank()
    # Half of the rate: 25 of 50 tokens of starters.
    assert books.owner.roll.inflow - begin == pytest.approx(50)
    books.ask("old", starter=25, after=0)
    assert books.owner.roll.unheard == 0
    assert books.owner.roll.starters == 25


def test_a_silent_holder_is_taken_to_help_itself_to_its_share_from_the_lease_on() -> None:
    books = Books(SHARED)
    books.ask("a")
    books.ask("a", starter=25)
    heard = books.now - 0.1
    books.now = heard + LEASE
    books.blank()
    begin = books.owner.roll.inflow
    books.now += 10
    books.blank()
    assert books.owner.roll.inflow - begin == pytest.approx(50)


def test_until_an_answer_is_known_to_have_come_the_one_before_counts_too() -> None:
    books = Books(SHARED)
    books.ask("a")
    books.ask("a", starter=25)
    books.owner.adopt(Limit(1.0, 100, WithoutOwner.STRICT), books.now)
    books.ask("a", starter=25, used=False)
    member = books.owner.roll.members["a"]
    assert member.pace == pytest.approx(5.0)
    assert member.until >= books.now - 0.1 + SHARE
    books.answered["a"] = books.stamps["a"]
    books.ask("a", starter=25, used=False)
    assert member.pace == 0
    assert member.until == pytest.approx(books.now + LEASE * SKEW, abs=0.2)


def test_a_holder_is_dropped_when_its_starter_has_lapsed() -> None:
    books = Books()
    books.ask("a")
    books.owner.sweep(books.now + LEASE)
    assert "a" in books.owner.roll.members
    books.owner.sweep(books.now + LEASE * SKEW + 0.01)
    assert books.owner.roll.starters == 0


def test_an_owner_has_a_bounded_number_of_accounts_and_grants_nothing_beyond() -> None:
    owner = Owner(STRICT, 1, 0.0, takeover=False, stored=False, most=3)
    owner.ask("a", Ask(1, -math.inf, 0, ()), 0.0)
    wants = tuple(Want(f"key-{number}", 0.0, 0.0, 5.0) for number in range(5))
    answer = owner.ask("a", Ask(2, 1, 25, wants), 0.1)
    assert answer is not None
    assert [grant.tokens for grant in answer.grants] == [5, 5, 5, 0, 0]
    assert not answer.grants[4].forget
    assert len(owner.accounts) == 3


def test_no_ask_and_no_sweep_looks_at_all_accounts() -> None:
    owner = Owner(STRICT, 1, 0.0, takeover=False, stored=False)
    owner.ask("a", Ask(1, -math.inf, 0, ()), 0.0)
    for number in range(30):
        wants = tuple(Want(f"{number} {key}", 0.0, 0.0, 90.0) for key in range(100))
        owner.ask("a", Ask(number + 2.0, number + 1.0, 25, wants), 0.1)
    looked_at = [0]
    flow = type(owner.blank).flow

    class Counting(type(owner.blank)):  # type: ignore[misc]
        __slots__ = ()

        def flow(self, now: float) -> None:
            looked_at[0] += 1
            flow(self, now)

    for account in owner.accounts.values():
        account.__class__ = Counting
    owner.ask("b", Ask(1, -math.inf, 0, ()), 0.2)
    assert looked_at[0] <= 500
    looked_at[0] = 0
    owner.sweep(0.3, most=200)
    assert 0 < looked_at[0] <= 200


def test_a_joining_holder_learns_of_many_drained_keys_some_at_a_time() -> None:
    books = Books(Limit(0.001, 100, WithoutOwner.STRICT))
    books.ask("a")
    wants = tuple(Want(f"{key}", 0.0, 0.0, 100.0) for key in range(450))
    books.ask("a", *wants, starter=25)
    told: list[str] = []
    for _ in range(3):
        answer = books.ask("b")
        assert answer.starter == 0
        told += answer.drained
    assert len(set(told)) == 450
    assert books.ask("b").starter == 16


def test_the_bound_is_measured_by_what_holders_say_they_spent() -> None:
    books = Books(Limit(10.0, 100, WithoutOwner.STRICT))
    for _ in range(10):
        books.ask("a", want(0, spent=10.0), after=0.0)
    assert books.owner.roll.overshoot <= 0
    # Words may be LEASE old: that much of the rate is allowed for.
    books.ask("a", want(0, spent=20.0), after=0.0)
    assert books.owner.roll.overshoot <= 0
    books.ask("a", want(0, spent=5.0), after=0.0)
    assert books.owner.roll.overshoot == pytest.approx(5)


def test_what_a_holder_says_counts_after_it_was_away_too() -> None:
    books = Books(Limit(10.0, 100, WithoutOwner.STRICT))
    books.ask("a")
    books.ask("a", want(0, spent=500.0), after=LEASE + 1)
    assert books.owner.roll.overshoot == 500 - 100 - 10 * LEASE


def test_an_order_is_obeyed_once() -> None:
    books = Books(Limit(0.001, 100, WithoutOwner.STRICT))
    books.ask("a", want(0, wants=100))
    assert books.pool() < 1
    books.ask("a", want(0, reset=7))
    full = books.pool()
    assert full > 60
    books.ask("a", want(0, wants=100))
    books.ask("b", want(0, reset=7))
    assert books.pool() < full


def test_an_order_that_is_not_remembered_any_more_is_not_obeyed_again() -> None:
    books = Books(Limit(0.001, 100, WithoutOwner.STRICT))
    for revision in range(2, MOST_RESETS + 4):
        books.ask("a", want(0, reset=revision), after=0.0)
    books.ask("a", want(0, wants=100))
    empty = books.pool()
    books.ask("b", want(0, reset=2))
    assert books.pool() <= empty
    books.ask("b", want(0, reset=5000))
    assert books.pool() > empty


def test_what_a_holder_got_before_it_began_anew_is_spent_though_it_was_not_confirmed() -> None:
    books = Books(Limit(0.001, 100, WithoutOwner.STRICT))
    books.ask("a")
    books.ask("a", want(0, wants=60), starter=25, used=False)
    before = books.pool()
    answer = books.owner.ask("a", Ask(1.0, -math.inf, 0, (want(0),), run=1), books.now)
    assert answer is not None
    assert books.pool() <= before + 0.1


def test_a_starter_of_a_former_owner_may_be_used_for_as_long_as_any_until_an_answer_came() -> None:
    books = Books(STRICT, Floors(0.0, {}, starters=25))
    # When it was given, the limit may have been one that is shared.
    books.ask("a", starter=25, used=False)
    books.ask("b", after=LEASE * 2)
    books.owner.sweep(books.now)
    assert books.owner.roll.members["a"].until >= books.now + SHARE - LEASE * 3
    assert books.owner.roll.starters == 25


def test_more_than_all_starters_may_be_is_not_taken_from_others_whoever_states_it() -> None:
    books = Books(Limit(0.001, 100, WithoutOwner.STRICT))
    books.ask("a")
    books.ask("bad", starter=2**32 - 1)
    books.ask("worse", starter=2**32 - 1)
    books.ask("bad", starter=2**32 - 1)
    assert books.owner.roll.starters <= 50
    assert books.blank() >= 0
    assert books.ask("a", want(0, wants=10)).grants[0].tokens == 10


def test_starters_from_a_time_when_the_limit_was_shared_outlast_a_new_owner_of_a_strict_one() -> None:
    books = Books(STRICT, Floors(0.0, {}, starters=25, shared=True))
    books.now += LEASE * SKEW + 1
    books.blank()
    assert books.owner.roll.starters == 25
    books.now += SHARE * SKEW
    books.blank()
    assert books.owner.roll.starters == 0


def test_the_next_owner_learns_that_starters_may_be_shared_for_as_long_as_they_may() -> None:
    books = Books(SHARED, first_floors(SHARED))
    assert books.owner.reserve(books.now) is None, "the store says so already"
    books.owner.adopt(STRICT, books.now)
    assert books.owner.reserve(books.now) is None
    books.now += SHARE * SKEW
    reservation = books.owner.reserve(books.now)
    assert reservation is not None and not reservation.floors.shared
    books.owner.reserved(reservation)
    books.owner.adopt(SHARED, books.now)
    reservation = books.owner.reserve(books.now)
    assert reservation is not None and reservation.floors.shared


SLOW = Limit(0.01, 100, WithoutOwner.STRICT)
LOWER = Limit(0.01, 30, WithoutOwner.STRICT)


def test_a_burst_that_is_lowered_while_there_is_no_owner_frees_nobody() -> None:
    books = Books(LOWER, Floors(50.0, {KEY: 45.0, "bob": 95.0}, starters=25, burst=100))
    assert books.pool() == -15
    assert books.pool("bob") == min(25, 30 - 15)
    assert books.blank() == 5 - 15
    # What is stored is of the larger bucket until it is written anew.
    assert books.ask("a", Want("bob", 0.0, 0.0, 10.0)).grants[0].tokens == 0
    reservation = books.owner.reserve(books.now)
    assert reservation is not None
    assert reservation.floors == Floors(0.0, reservation.floors.keys, 25, 30)
    assert reservation.floors.keys == {KEY: 0.0, "bob": pytest.approx(13.5, abs=1.1)}
    books.owner.reserved(reservation)
    assert books.ask("a", Want("bob", 0.0, 0.0, 10.0)).grants[0].tokens > 0
    again = Books(LOWER, reservation.floors)
    assert again.pool("bob") == pytest.approx(13.5, abs=1.1)


def test_a_burst_that_is_lowered_has_all_floors_lowered_at_once() -> None:
    books = Books(SLOW, Floors(50.0, {KEY: 45.0, "bob": 48.0}, starters=0, burst=100))
    books.owner.adopt(Limit(0.01, 60, WithoutOwner.STRICT), books.now)
    reservation = books.owner.reserve(books.now)
    assert reservation is not None
    assert reservation.floors.burst == 60
    assert reservation.floors.keys[KEY] <= 5 and reservation.floors.keys["bob"] <= 8
    books.owner.reserved(reservation)
    assert books.owner.accounts[KEY].floor <= 5
    assert books.owner.reserve(books.now) is None or books.owner._lowered == 0
