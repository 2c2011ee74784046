"""Histories that once broke the bound of test_bound.py, and the rules that prevent them."""

from __future__ import annotations

import math

import pytest

from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import LEASE, SKEW, Ask, Limit, Want, WithoutOwner
from headgate_api.leases.owner import Floors, Owner
from tests.unit.headgate_api.leases.test_bound import BURSTS, SHARES, Step, play

JOINED: list[Step] = [("exchange", 0, 0), ("exchange", 1, 0)] * 8
TAKEN_OVER: list[Step] = [("over", 0, 0)] + [("exchange", 0, 0), ("exchange", 1, 0)] * 30
ONE_INSTANT: list[Step] = [
    ("wait", 0, 1),
    ("all", 0, 1),
    ("tick", 0, 0),
    ("hear", 0, 0),
    ("storm", 0, 0),
]
"""A holder that asks about one key runs low of another before the clock moves on. The stream breaks, and the answer
still arrives."""


@pytest.mark.parametrize("mode", [WithoutOwner.STRICT, WithoutOwner.SHARE])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("burst", BURSTS)
@pytest.mark.parametrize("before", [JOINED, JOINED + TAKEN_OVER], ids=["first", "next"])
def test_no_answer_is_used_for_another_ask_of_the_same_instant(
    mode: WithoutOwner, share: float, burst: int, before: list[Step]
) -> None:
    play(Limit(10.0, burst, mode, share), [1.0, 1.0], before + ONE_INSTANT)


CREDIT: list[Step] = [
    ("storm", 0, 19),
    ("exchange", 2, 0),
    ("wait", 0, 1),
    ("storm", 0, 19),
    ("refund", 0, 25),
    ("quiet", 0, 21),
    ("over", 0, 0),
    ("exchange", 0, 0),
]
"""A holder gives tokens back that flowed in again since, and says so to a new owner that does not know the holdings of
others yet."""


@pytest.mark.parametrize("mode", [WithoutOwner.STRICT, WithoutOwner.SHARE])
@pytest.mark.parametrize("burst", BURSTS)
def test_no_credit_is_granted_while_holdings_of_the_previous_owner_last(
    mode: WithoutOwner, burst: int
) -> None:
    play(Limit(100.0, burst, mode), [1.0, 1.0, 1.0], CREDIT)


def test_two_asks_never_have_one_stamp_or_one_would_use_the_answer_to_the_other() -> None:
    limit = Limit(10, 1, WithoutOwner.STRICT)
    owner, holder = Owner(limit, 1, 100.0, takeover=False, stored=False), Holder(limit)
    assert not holder.open("alice", 100.0).take(1.0, 100.0)
    ask = holder.ask(100.0)
    assert ask is not None
    answer = owner.ask("0", ask, 100.0)
    assert answer is not None and answer.grants[0].tokens == 1
    holder.lost()
    # Another key runs low before the clock moves on.
    holder.away_from = math.inf
    assert not holder.open("bob", 100.0).take(1.0, 100.0)
    assert holder.ask(100.0) is None
    holder.answer(answer, 100.0)
    assert not holder.holdings["bob"].tokens
    later = holder.ask(100.0 + 1e-6)
    assert later is not None and [want.key for want in later.wants] == ["bob"]


def test_a_new_owner_learns_of_no_credit_before_it_knows_all_holdings() -> None:
    limit = Limit(0.01, 100, WithoutOwner.STRICT)
    owner = Owner(limit, 2, 100.0, takeover=True, floors=Floors(10.0, {}, starters=0))
    # The holder spent and gave back these tokens while others were granted as many.
    wants = (Want("alice", 0.0, 0.0, 0.0, credit=50.0),)
    owner.ask("a", Ask(1.0, -math.inf, 0, wants), 100.1)
    assert owner.accounts["alice"].pool == 10
    owner.ask("a", Ask(2.0, 1.0, 0, wants), 100.0 + LEASE * SKEW)
    assert owner.accounts["alice"].pool == pytest.approx(60)
