"""The rules of the decision, one by one: both ends of one limit, and what is said between them."""

from __future__ import annotations

import pytest

from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import LEASE, SKEW, Answer, Limit, WithoutOwner
from headgate_api.leases.owner import Floors, Owner

KEY = "alice"


class Pair:
    """An owner and holders with one clock, whose messages arrive at once."""

    def __init__(self, limit: Limit, holders: int = 1, stored: bool = False) -> None:
        self.now = 100.0
        self.owner = Owner(limit, 1, self.now, takeover=False, stored=stored)
        self.floors: Floors | None = None
        self.holders = [Holder(limit) for _ in range(holders)]
        self.exchange()
        if stored:
            store(self)
            self.exchange()

    def exchange(self, *which: int, lose: bool = False) -> list[Answer]:
        """A tenth of a second later the holders, or some, ask and are answered."""
        answers = []
        self.now += 0.1
        for index in which or range(len(self.holders)):
            holder = self.holders[index]
            ask = holder.ask(self.now)
            answer = self.owner.ask(str(index), ask, self.now) if ask is not None else None
            if answer is None:
                continue
            answers.append(answer)
            if lose:
                holder.lost()
            else:
                holder.answer(answer, self.now)
        return answers

    def spend(self, index: int, most: int = 1000) -> int:
        """How many of `most` requests are admitted at one holder."""
        holder = self.holders[index]
        holding = holder.holdings.get(KEY) or holder.open(KEY, self.now)
        return sum(holding.take(1.0, self.now) for _ in range(most))


def store(pair: Pair) -> None:
    """The store takes what the owner has to say."""
    reservation = pair.owner.reserve(pair.now)
    if reservation is not None:
        pair.floors = reservation.floors
        pair.owner.reserved(reservation)


SLOW = Limit(0.01, 100, WithoutOwner.STRICT)
"""Nothing worth mentioning flows in."""


def test_a_holder_has_a_starter_of_a_key_that_nobody_has_seen() -> None:
    assert Pair(SLOW).spend(0) == 25


def test_what_all_holders_get_is_the_burst_and_not_more() -> None:
    pair = Pair(Limit(1e-6, 20, WithoutOwner.STRICT), 3)
    admitted = 0
    for _ in range(20):
        admitted += sum(pair.spend(index) for index in range(3))
        pair.exchange()
    # Some of the last tokens may be starters of a holder that has asked since.
    assert 18 <= admitted <= 20


def test_a_holding_lapses_and_the_starter_is_left() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.SHARE))
    pair.spend(0)
    pair.exchange()
    holding = pair.holders[0].holdings[KEY]
    assert holding.tokens > 25
    pair.now += LEASE
    assert pair.spend(0) == 25


def test_the_book_outlasts_the_holding() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    pair.spend(0)
    pair.exchange()
    account = pair.owner.accounts[KEY]
    account.flow(pair.now + LEASE)
    assert account.excess > 0
    account.flow(pair.now + LEASE * SKEW)
    assert account.excess == 0


def test_a_strict_holder_refuses_everything_when_its_lease_is_over() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    pair.now += LEASE
    assert pair.spend(0) == 0


def test_a_holder_that_shares_gains_its_share_while_it_is_away() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.SHARE))
    assert pair.spend(0) == 25
    pair.now += LEASE * SKEW + 0.1
    # Half of the rate, as its starter is half of what all starters may be.
    assert pair.spend(0) == 4
    pair.now += 100
    assert pair.spend(0) == 25


def test_an_open_holder_admits_everything_while_it_is_away_and_owes_nothing() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.OPEN))
    pair.now += LEASE * SKEW
    assert pair.spend(0, 500) == 500
    assert pair.holders[0].holdings[KEY].tokens >= 0


def test_a_grant_that_was_lost_is_back_in_the_pool() -> None:
    pair = Pair(Limit(0.5, 20, WithoutOwner.STRICT))
    pair.spend(0)
    before = pair.owner.blank.pool
    pair.exchange(lose=True)
    assert pair.owner.accounts[KEY].pool < before
    answer = pair.exchange()[0]
    assert pair.owner.accounts[KEY].pool + answer.grants[0].tokens == pytest.approx(before, abs=0.2)


def test_an_answer_to_a_former_ask_is_not_used() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    pair.spend(0)
    late = pair.exchange(lose=True)[0]
    held = pair.holders[0].holdings[KEY].tokens
    pair.holders[0].answer(late, pair.now)
    assert pair.holders[0].holdings[KEY].tokens == held


def test_an_ask_that_comes_late_is_not_answered() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    pair.now += 0.6
    late = pair.holders[0].ask(pair.now)
    assert late is not None
    pair.holders[0].lost()
    pair.now += 0.6
    pair.exchange()
    assert pair.owner.ask("0", late, pair.now) is None


def test_a_grant_of_a_former_owner_is_not_used() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    former = pair.owner
    pair.owner = Owner(former.roll.limit, 2, pair.now, takeover=True, stored=False)
    pair.now += 0.6
    pair.exchange()
    pair.now += 0.6
    ask = pair.holders[0].ask(pair.now)
    assert ask is not None
    answer = former.ask("0", ask, pair.now)
    assert answer is not None
    until = pair.holders[0].until
    pair.holders[0].answer(answer, pair.now)
    assert pair.holders[0].until == until


def test_an_overdraft_is_paid_out_of_the_pool_once() -> None:
    pair = Pair(Limit(1, 30, WithoutOwner.STRICT))
    pair.spend(0, 1)
    pair.holders[0].overdraw(KEY, 100, pair.now)
    before = pair.owner.blank.pool
    for _ in range(3):
        pair.exchange(lose=True)
    assert pair.owner.accounts[KEY].pool < before - 80
    pair.exchange()
    assert pair.owner.accounts[KEY].pool > before - 101
    assert pair.spend(0) == 0


def test_both_ends_forget_a_key_that_nobody_spends_of() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.SHARE))
    pair.spend(0, 20)
    for _ in range(40):
        pair.exchange()
    assert not pair.holders[0].holdings
    pair.owner.sweep(pair.now)
    assert not pair.owner.accounts


def test_a_holder_that_joins_gets_a_starter_at_once_and_the_pool_pays_for_it() -> None:
    pair = Pair(Limit(0.5, 20, WithoutOwner.SHARE))
    pool = pair.owner.blank.pool
    pair.holders.append(Holder(pair.owner.roll.limit))
    pair.exchange(1)
    assert pair.holders[1].starter == 3
    pair.owner.sweep(pair.now)
    assert pair.owner.blank.pool == pytest.approx(pool - 3, abs=0.1)


def test_a_holder_that_joins_gets_no_starter_of_a_drained_key_and_those_of_others_soon() -> None:
    pair = Pair(Limit(0.5, 20, WithoutOwner.SHARE))
    for _ in range(5):
        pair.spend(0)
        pair.exchange()
    pair.holders.append(Holder(pair.owner.roll.limit))
    assert pair.exchange(1)[0].drained == (KEY,)
    assert pair.holders[1].starter == 0
    # The answer may be lost: the key is named until the holder knows.
    pair.now += 1
    assert pair.exchange(1, lose=True)[0].drained == ()
    pair.now += 1
    pair.exchange(1)
    assert pair.holders[1].starter == 3
    assert pair.spend(1) == 0


def test_an_owner_that_takes_over_grants_nothing_until_unknown_holdings_have_lapsed() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    pair.owner = Owner(pair.owner.roll.limit, 2, pair.now, takeover=True, stored=False)
    begin = pair.now
    while pair.now < begin + LEASE - 0.1:
        pair.spend(0)
        assert all(grant.tokens == 0 for answer in pair.exchange() for grant in answer.grants)
    pair.now += 0.5
    pair.exchange()
    assert pair.spend(0) > 0


def test_an_owner_of_a_slow_limit_grants_only_what_the_store_says_it_may_and_the_next_begins_there() -> None:
    pair = Pair(SLOW, stored=True)
    pair.spend(0)
    # Without a word in the store, the next owner begins with the burst less all starters: 50.
    assert pair.exchange()[0].grants[0].tokens == 25
    pair.spend(0)
    assert pair.exchange()[0].grants[0].tokens == 0
    store(pair)
    floors = pair.floors
    assert floors is not None and floors.keys == {KEY: pytest.approx(45, abs=0.1)}
    assert pair.exchange()[0].grants[0].tokens == 5
    successor = Owner(SLOW, 2, pair.now, takeover=True, floors=floors)
    assert successor.accounts[KEY].pool == floors.keys[KEY]


def test_an_answer_that_comes_when_the_lease_is_over_is_not_used() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    pair.now += 0.6
    ask = pair.holders[0].ask(pair.now)
    assert ask is not None
    answer = pair.owner.ask("0", ask, pair.now)
    assert answer is not None
    until = pair.holders[0].until
    pair.holders[0].answer(answer, pair.now + LEASE)
    assert pair.holders[0].until == until


def test_a_late_answer_does_not_revive_what_had_lapsed() -> None:
    pair = Pair(Limit(100, 1, WithoutOwner.STRICT))
    pair.spend(0)
    pair.exchange()
    holder = pair.holders[0]
    assert holder.holdings[KEY].tokens == 1
    pair.now += 1
    late = holder.ask(pair.now)
    assert late is not None
    pair.now += 1.5
    # Another one has got the token since the book of it was closed.
    answer = pair.owner.ask("0", late, pair.now)
    assert answer is not None
    holder.answer(answer, pair.now)
    assert holder.holdings[KEY].tokens == answer.grants[0].tokens


def test_a_holder_that_begins_anew_in_one_process_gets_no_second_starter_of_what_it_spent() -> None:
    pair = Pair(Limit(0.001, 100, WithoutOwner.STRICT))
    spent = 0
    for run in range(1, 8):
        spent += pair.spend(0)
        pair.exchange()
        spent += pair.spend(0)
        pair.holders[0].end()
        # It asks under the same name.
        pair.holders[0] = Holder(pair.owner.roll.limit, run=run)
        for _ in range(3):
            pair.exchange()
    assert spent <= 100
    assert len(pair.owner.roll.members) == 1


def test_a_late_ask_of_a_holder_that_began_anew_is_not_answered() -> None:
    pair = Pair(Limit(10, 100, WithoutOwner.STRICT))
    pair.now += 0.6
    late = pair.holders[0].ask(pair.now)
    assert late is not None
    pair.holders[0] = Holder(pair.owner.roll.limit, run=1)
    pair.exchange()
    assert pair.owner.ask("0", late, pair.now) is None


def test_the_highest_starter_of_a_holding_is_said_though_it_was_lowered_raised_and_lowered() -> None:
    holder = Holder(Limit(100, 100, WithoutOwner.STRICT))
    now = 100.0
    for starter in (10, 5, 20, 15):
        now += 0.6
        ask = holder.ask(now)
        assert ask is not None
        if starter == 15:
            holding = holder.open(KEY, now)
        holder.answer(Answer(ask.stamp, 1, starter, LEASE, 0.0, ()), now)
    assert holding.tokens == 20
    now += 0.6
    ask = holder.ask(now)
    assert ask is not None and ask.starter == 20


def test_an_owner_whose_epochs_began_anew_with_a_replaced_store_is_believed_when_it_answers_alone() -> None:
    pair = Pair(Limit(100, 100, WithoutOwner.STRICT))
    pair.owner.epoch = 1000
    pair.now += 0.6
    pair.exchange()
    pair.owner = Owner(pair.owner.roll.limit, 7, pair.now, takeover=False, stored=False)
    for _ in range(5):
        pair.now += 0.6
        pair.exchange()
        pair.holders[0].lost()
    assert pair.spend(0) > 0


def test_an_order_that_was_lost_on_the_way_is_said_again_until_it_is_answered() -> None:
    pair = Pair(SLOW)
    for _ in range(20):
        pair.spend(0)
        pair.exchange()
    assert pair.spend(0) == 0
    pair.holders[0].holdings[KEY].reset(7, pair.now)
    pair.now += 0.1
    assert pair.holders[0].ask(pair.now) is not None
    pair.holders[0].lost()
    pair.exchange()
    assert pair.spend(0) > 10
    ask = pair.holders[0].ask(pair.now + 0.1)
    assert ask is not None and [want.reset for want in ask.wants] == [0]


def test_an_order_that_the_former_owner_may_have_obeyed_is_not_obeyed_by_the_next() -> None:
    pair = Pair(SLOW)
    pair.spend(0)
    pair.exchange()
    floors = Floors(0.0, {KEY: 0.0}, starters=25)
    pair.owner = Owner(SLOW, 50, pair.now, takeover=True, floors=floors)
    for revision, full in ((40, False), (50, False), (51, True)):
        pair.spend(0)
        pair.holders[0].holdings[KEY].reset(revision, pair.now)
        pair.exchange()
        assert (pair.spend(0) > 10) == full


def test_what_was_spent_over_a_long_time_counts_less_what_flowed_in() -> None:
    pair = Pair(Limit(10, 100, WithoutOwner.SHARE))
    pair.spend(0, 20)
    pair.now += 0.1
    assert pair.holders[0].ask(pair.now) is not None
    pair.spend(0, 3)
    # Its turn comes late, as many keys are asked about.
    pair.now += LEASE + 0.2
    ask = pair.holders[0].ask(pair.now)
    assert ask is not None and ask.wants[0].spent == pytest.approx(3 - 10 * 0.2)


def test_a_holder_that_is_silent_keeps_its_share_as_long_as_the_limit_says_and_no_longer() -> None:
    pair = Pair(Limit(10, 100, share=30.0), holders=2)
    for _ in range(5):
        pair.exchange()
    silent, since = pair.holders[1], pair.now
    while pair.now < since + 29:
        pair.exchange(0)
    assert pair.spend(1) > 0, "it may be cut off, and serves"
    assert inflow(pair) == pytest.approx(10 - pair.owner.roll.limit.pace(silent.starter))
    while pair.now < since + 30 * SKEW + 0.2:
        pair.exchange(0)
    pair.owner.sweep(pair.now)
    assert pair.spend(1) == 0
    assert list(pair.owner.roll.members) == ["0"]
    assert inflow(pair) == pytest.approx(10), "the other one has all of it"


def inflow(pair: Pair) -> float:
    """Tokens that flow towards each pool within a second."""
    roll = pair.owner.roll
    roll.flow(pair.now)
    before = roll.inflow
    for _ in range(10):
        pair.exchange(0)
    roll.flow(pair.now)
    return roll.inflow - before
