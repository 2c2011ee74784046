"""A limit whose tokens are leased, with the owner at hand."""

from __future__ import annotations

import pytest

from dataplane.gateway.policy.buckets import Buckets
from dataplane.gateway.policy.leased import Leased, counts_by, terms
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from headgate_api.leases.messages import ASKING, LEASE, MOST_WANTS, Answer, WithoutOwner
from headgate_api.leases.messages import Limit as Terms
from headgate_api.leases.owner import Owner
from headgate_api.leases.successor import Share

KEY = "alice"


def limit(burst: int = 100, rate: float = 1.0, **fields: object) -> Limit:
    return Limit("callers", rate, burst, LimitKey.SUBJECT, **fields)  # type: ignore[arg-type]


class Node:
    """Workers and the owner of one limit; messages arrive at once."""

    def __init__(self, limit: Limit, workers: int = 2) -> None:
        self.now = 100.0
        self.limit = limit
        leased = terms(limit, workers)
        assert leased is not None
        self.owner = Owner(leased, 1, self.now, takeover=False, stored=False)
        self.woken = 0
        self.limiters = [Limiter(share=1 / workers) for _ in range(workers)]
        for limiter in self.limiters:
            limiter.wake = self._wake
            limiter.adopt({limit.name: limit}, self.now)
        for _ in range(3):
            self.exchange()

    def _wake(self) -> None:
        self.woken += 1

    def exchange(self) -> None:
        self.now += LEASE / 4
        for index, limiter in enumerate(self.limiters):
            for leased, ask in limiter.asks(self.now, fleet=self.limit.mode is LimitMode.FLEET):
                answer = self.owner.ask(str(index), ask, self.now)
                assert answer is not None
                limiter.answer(leased.limit.name, leased.counts_by, answer, self.now)

    def take(self, worker: int, most: int = 1, key: str = KEY) -> int:
        """How many of `most` requests are let through."""
        counter = self.limiters[worker].counter(self.limit)
        return sum(counter.take(key, self.now) == 0.0 for _ in range(most))


def test_what_is_leased_of_which_limit() -> None:
    assert terms(limit(), 1) is None, "one worker counts exactly by itself"
    assert terms(limit(), 2) == Terms(1.0, 100)
    assert terms(limit(burst=10), 2) is None, "a share would let no first request through"
    assert terms(limit(burst=10, mode=LimitMode.FLEET), 1) == Terms(1.0, 10)
    strict = limit(burst=1005, cost=10, mode=LimitMode.FLEET, without_owner="strict")
    assert terms(strict, 4) == Terms(0.1, 100, WithoutOwner.STRICT)
    assert terms(Limit("a", 0.0, 0, LimitKey.SUBJECT, max_concurrent=5), 2) is None
    assert terms(limit(mode=LimitMode.REDIS), 4) is None, "Redis has the bucket"


def test_what_has_a_bucket_is_named_in_full() -> None:
    assert counts_by(limit()) == "subject"
    several = Limit("a", 1, 9, ("address", "header", "claim:t"), header="x-a", address_prefix=56)
    assert counts_by(several) == "address/56,header:x-a,claim:t"


def test_workers_share_one_bucket() -> None:
    node = Node(limit(rate=0.001))
    admitted = 0
    for _ in range(30):
        admitted += node.take(0, 50) + node.take(1, 1)
        node.exchange()
    # What lapsed unspent is lost.
    assert 85 <= admitted <= 100


def test_a_cost_is_in_tokens_and_what_is_known_afterwards_is_settled() -> None:
    node = Node(limit(burst=1000, rate=0.001, cost=10))
    counter = node.limiters[0].counter(node.limit)
    assert counter.take(KEY, node.now) == 0.0
    before = counter.remaining(KEY, node.now)
    counter.charge(KEY, 25, node.now)
    assert counter.remaining(KEY, node.now) == pytest.approx(before - 25)
    counter.give_back(KEY, 5, node.now)
    assert counter.remaining(KEY, node.now) == pytest.approx(before - 20)
    assert node.limiters[0].admitted() == {"callers": 30.0}


def test_a_cost_that_comes_back_late_goes_to_the_owner() -> None:
    node = Node(limit(burst=1000, rate=0.001, cost=100, mode=LimitMode.FLEET))
    counter = node.limiters[0].counter(node.limit)
    spent = 0
    for _ in range(10):
        spent += node.take(0, 3)
        node.exchange()
    assert node.take(0, 10) == 0
    # None of them has cost more than a tenth after all.
    for _ in range(spent):
        counter.give_back(KEY, 90, node.now)
    node.exchange()
    node.exchange()
    assert node.take(0, 20) > 1


def test_retry_after_is_short_while_the_owner_may_have_some_and_never_too_early_afterwards() -> None:
    node = Node(limit(rate=0.01))
    counter = node.limiters[0].counter(node.limit)
    node.take(0, 50)
    assert 0 < counter.take(KEY, node.now) < 1
    for _ in range(20):
        node.take(0, 50)
        node.exchange()
    node.take(0, 50)
    wait = counter.take(KEY, node.now)
    assert 50 < wait <= 101
    assert counter.refused(KEY) > 0
    assert next(counter.keys()) == KEY


@pytest.mark.parametrize("without_owner", ["share", "strict"])
def test_retry_after_without_an_owner_is_when_the_share_has_a_token(without_owner: str) -> None:
    node = Node(limit(rate=1.0, mode=LimitMode.FLEET, without_owner=without_owner))
    counter = node.limiters[0].counter(node.limit)
    node.now += 3 * LEASE
    node.take(0, 100)
    wait = counter.take(KEY, node.now)
    if without_owner == "strict":
        assert wait == 5.0, "nobody knows when it has an owner again"
        return
    assert wait > 1, "a worker's share is a part of the rate"
    assert counter.take(KEY, node.now + 0.9 * wait) > 0
    node.now += wait
    assert counter.take(KEY, node.now) == 0.0


def test_the_owner_is_asked_when_a_pause_ends() -> None:
    node = Node(limit())
    before = node.woken
    assert node.take(0) == 1
    assert node.woken == before, "half of a starter is not spent"
    node.take(0, 20)
    woken = node.woken
    assert woken > before
    assert node.limiters[0].asking
    node.take(0, 20)
    assert node.woken == woken, "the owner is asked once"


def test_a_key_that_runs_low_is_asked_about_before_the_next_turn() -> None:
    node = Node(limit())
    limiter = node.limiters[0]
    node.take(0, 10)
    node.exchange()
    node.now += 0.001
    before = node.woken
    node.take(0, 10, key="bob")
    assert node.woken > before
    assert limiter.urgent
    assert not limiter.urgent_asks(node.now, fleet=True), "none of these is of the fleet"
    ((_, ask),) = limiter.urgent_asks(node.now, fleet=False)
    assert [want.key for want in ask.wants] == ["bob"]
    assert not limiter.urgent


def test_a_reset_names_a_limit_whose_bucket_is_not_full_though_the_worker_holds_its_starter_again() -> None:
    node = Node(limit(rate=0.1))
    assert node.take(0, 40) == 16
    for _ in range(40):
        node.exchange()
    assert not node.limiters[0].counter(node.limit).holder.holdings  # type: ignore[attr-defined]
    assert [found.name for found in node.limiters[0].reset(f"subject:{KEY}", 9, node.now)] == ["callers"]
    assert not node.limiters[1].reset(f"subject:{KEY}", 9, node.now), "nothing was spent there"
    node.exchange()
    assert node.owner.accounts[KEY].pool == pytest.approx(100 - 2 * 16)


def test_a_reset_does_not_name_a_bucket_that_is_full_again() -> None:
    node = Node(limit(rate=10))
    assert node.take(0, 10) == 10
    for _ in range(60):
        node.exchange()
    assert not node.limiters[0].reset(KEY, 9, node.now)


def test_an_order_to_reset_is_obeyed_once_however_many_workers_tell_it() -> None:
    node = Node(limit(rate=0.001))
    for _ in range(20):
        node.take(0, 50)
        node.exchange()
    assert node.take(0, 50) == 0
    for limiter in node.limiters:
        limiter.reset(f"subject:{KEY}", 7, node.now)
    admitted = 0
    for _ in range(20):
        admitted += node.take(0, 50)
        node.exchange()
    assert 60 <= admitted <= 100


def test_what_a_worker_lacks_is_carried_over_to_the_owner_and_back() -> None:
    small, large = limit(burst=10, rate=0.001), limit(burst=100, rate=0.001)
    limiter = Limiter(share=0.5)
    limiter.adopt({"callers": small}, 100.0)
    counter = limiter.counter(small)
    assert isinstance(counter, Buckets)
    assert sum(counter.take(KEY, 100.0) == 0.0 for _ in range(10)) == 5
    limiter.adopt({"callers": large}, 100.0)
    leased = limiter.counter(large)
    assert isinstance(leased, Leased) and leased.holder.holdings[KEY].tokens == pytest.approx(-5)
    limiter.adopt({"callers": small}, 100.0)
    assert limiter.counter(small).take(KEY, 100.0) > 0
    assert not limiter.leases


def test_answers_about_other_keys_and_from_nobody() -> None:
    node = Node(limit())
    limiter = node.limiters[0]
    node.now += 1
    ((leased, ask),) = limiter.asks(node.now, fleet=False)
    answer = node.owner.ask("0", ask, node.now)
    assert answer is not None
    until = leased.holder.until
    limiter.answer("callers", "address/64", answer, node.now)
    limiter.answer("other", "subject", answer, node.now)
    assert leased.holder.until == until
    limiter.answer("callers", "subject", Answer(ask.stamp, 0, 0, 0.0, 0.0, ()), node.now)
    node.now += 1
    assert limiter.asks(node.now, fleet=False), "refused, and asked anew"
    limiter.lost(fleet=False)
    node.now += 0.6
    assert limiter.asks(node.now, fleet=False)


def test_a_worker_whose_supervisor_is_gone_lets_nothing_through() -> None:
    node = Node(limit())
    assert node.take(0) == 1
    node.limiters[0].end()
    assert node.take(0) == node.take(0, key="new") == 0


def test_keys_that_nobody_uses_any_more_are_forgotten_as_fast_as_new_ones_come() -> None:
    node = Node(limit())
    for number in range(6000):
        node.take(0, key=f"{number}")
    holder = node.limiters[0]._leased["callers"].holder
    assert len(holder.holdings) == 6000
    node.now += 11
    for _ in range(45):
        node.limiters[0].tidy(node.now)
        node.exchange()
    assert not holder.holdings


def test_one_turn_asks_about_so_many_keys_of_all_limits_together_and_each_has_its_turn() -> None:
    limits = [Limit(f"{number}", 1.0, 100, LimitKey.SUBJECT) for number in range(5)]
    limiter, now = Limiter(share=0.5), 100.0
    limiter.adopt({each.name: each for each in limits}, now)
    for each in limits:
        for number in range(1500):
            limiter.counter(each).take(f"{number}", now)
    asked = set()
    for _ in range(5):
        now += 3
        asks = limiter.asks(now, fleet=False)
        assert len(asks) == 5, "or a lease would lapse"
        assert MOST_WANTS <= sum(len(ask.wants) for _, ask in asks) <= MOST_WANTS + 50
        asked |= {leased.limit.name for leased, ask in asks if len(ask.wants) > 100}
    assert len(asked) == 5


def test_what_is_remembered_of_refused_keys_is_bounded_for_all_limits_together() -> None:
    limits = [Limit(f"{number}", 1.0, 100, LimitKey.SUBJECT) for number in range(100)]
    limiter, now = Limiter(share=0.5), 100.0
    limiter.adopt({each.name: each for each in limits}, now)
    for number in range(5000):
        limiter.counter(limits[0]).take(f"{number}", now)
    counter = limiter._leased["0"]
    assert len(counter._refused) + len(counter._refused_old) <= 800


def test_retry_after_is_not_too_early_while_nobody_answers() -> None:
    node = Node(limit(rate=1.0, mode=LimitMode.FLEET))
    counter = node.limiters[0].counter(node.limit)
    node.now += LEASE * 2
    node.take(0, 100)
    wait = counter.take(KEY, node.now)
    # It has 25 or less of 50 parts of the rate.
    assert 1.9 < wait < 4
    node.now += wait - 0.1
    assert node.take(0) == 0
    node.now += 0.2
    assert node.take(0) == 1


class ManyLimits:
    """One worker with so many limits of the fleet, that nobody uses; messages arrive at once."""

    def __init__(self, count: int) -> None:
        self.now = 100.0
        self.limits = {
            f"l{n}": Limit(f"l{n}", 1.0, 100, LimitKey.SUBJECT, mode=LimitMode.FLEET) for n in range(count)
        }
        self.limiter = Limiter()
        self.limiter.adopt(self.limits, self.now)
        self.owners = {}
        for name, each in self.limits.items():
            leased = terms(each, 1)
            assert leased is not None
            self.owners[name] = Owner(leased, 1, self.now, takeover=False, stored=False)
        self.asked: dict[str, float] = {}
        """When each was asked about last."""

    def turn(self, seconds: float = ASKING) -> int:
        """How many asks one turn sends."""
        self.now += seconds
        asks = self.limiter.asks(self.now, fleet=True)
        for leased, ask in asks:
            name = leased.limit.name
            self.asked[name] = self.now
            answer = self.owners[name].ask("worker", ask, self.now)
            assert answer is not None
            self.limiter.answer(name, leased.counts_by, answer, self.now)
        return len(asks)


def test_quiet_limits_are_asked_about_in_several_turns() -> None:
    """All at once would delay requests by many milliseconds, in the worker and at the control plane."""
    node = ManyLimits(1000)
    assert node.turn() == 1000, "new ones at once"
    longest = 0.0
    for _ in range(100):
        assert node.turn() <= 250
        longest = max(longest, *(node.now - at for at in node.asked.values()))
        assert node.limiter.asking, "the next turn is not to be late"
    assert longest < LEASE / 2
    assert not node.limiter.away(node.now)


def test_new_limits_are_asked_about_in_several_turns_if_there_are_very_many() -> None:
    node = ManyLimits(2500)
    counts = [node.turn() for _ in range(3)]
    assert counts == [1000, 1000, 500]
    assert not node.limiter.joining


def test_a_worker_that_is_busy_asks_in_time_all_the_same() -> None:
    node = ManyLimits(1000)
    for _ in range(20):
        node.turn(LEASE / 2)
        assert not node.limiter.away(node.now + LEASE / 4)


def test_a_limit_that_is_used_does_not_wait_for_quiet_ones() -> None:
    node = ManyLimits(1000)
    node.turn()
    for _ in range(10):
        busy = node.limits["l7"]
        for _ in range(30):
            node.limiter.counter(busy).take("alice", node.now)
        node.turn()
        assert node.asked["l7"] == node.now


def test_few_quiet_limits_wait_for_their_time() -> None:
    node = ManyLimits(10)
    counts = [node.turn(LEASE / 4 + 0.01), node.turn(), node.turn(LEASE / 4)]
    assert counts == [10, 0, 10]
    assert not node.limiter.asking


SHARE = Share(10, 2.0, 10_000.0)


def successor(fleet: Limit, by: str = "subject") -> Limiter:
    """A worker that starts with the share of another one, at 100 seconds."""
    limiter = Limiter()
    limiter.succeed({("callers", by): SHARE}, 100.0)
    assert limiter.succeeds(100.0)
    limiter.adopt({"callers": fleet}, 100.0)
    return limiter


def test_a_successor_spends_the_share_until_it_is_answered() -> None:
    fleet = limit(mode=LimitMode.FLEET)
    limiter = successor(fleet)
    counter = limiter.counter(fleet)
    assert counter.take(KEY, 100.4) > 0
    taken = [counter.take(KEY, 100.4 + step / 10) == 0.0 for step in range(101)]
    assert 19 <= sum(taken) <= 20
    assert limiter.away(112.0) == ["callers"]
    assert counter.counts(112.0)
    ((leased, ask),) = limiter.asks(112.0, fleet=True)
    assert (ask.starter, ask.wants) == (0, ())
    limiter.answer("callers", "subject", Answer(ask.stamp, 3, 25, 3600.0, 1.0, ()), 112.0)
    assert not limiter.succeeds(112.0)
    assert sum(counter.take("bob", 112.0) == 0.0 for _ in range(50)) == 25
    assert leased.holder.run == ask.run


def test_overdrafts_and_orders_outlast_the_share() -> None:
    fleet = limit(mode=LimitMode.FLEET)
    limiter = successor(fleet)
    counter = limiter.counter(fleet)
    for key in ("spent", "overdrawn", "reset"):
        counter.take(key, 110.0)
    counter.charge("overdrawn", 50.0, 110.0)
    limiter.reset("reset", 7, 110.0)
    ((_, ask),) = limiter.asks(112.0, fleet=True)
    limiter.answer("callers", "subject", Answer(ask.stamp, 3, 25, 3600.0, 1.0, ()), 112.0)
    ((_, ask),) = limiter.asks(113.0, fleet=True)
    assert {(want.key, want.holds < 0, want.reset) for want in ask.wants} == {
        ("overdrawn", True, 0),
        ("reset", False, 7),
    }


def test_a_successor_without_answers_serves_until_the_share_lapses() -> None:
    fleet = limit(mode=LimitMode.FLEET)
    limiter = successor(fleet)
    assert limiter.counter(fleet).take(KEY, 9_999.0) == 0.0
    assert limiter.counter(fleet).take(KEY, 10_000.0) > 0
    assert not limiter.succeeds(10_000.0)


@pytest.mark.parametrize(
    "fleet",
    [
        limit(mode=LimitMode.FLEET, without_owner="strict"),
        limit(mode=LimitMode.FLEET, without_owner="open"),
        limit(),
    ],
)
def test_a_share_is_for_the_limits_that_share(fleet: Limit) -> None:
    assert not successor(fleet).succeeds(100.0)


def test_a_share_is_for_the_same_buckets() -> None:
    assert not successor(limit(mode=LimitMode.FLEET), "address/64").succeeds(100.0)


def test_the_limit_of_the_settings_is_there_before_the_share() -> None:
    fleet = limit(mode=LimitMode.FLEET)
    limiter = Limiter()
    limiter.adopt({"callers": fleet}, 100.0)
    counter = limiter.counter(fleet)
    ((_, before),) = limiter.asks(100.0, fleet=True)
    limiter.succeed({("callers", "subject"): SHARE}, 100.1)
    assert counter.take(KEY, 110.0) == 0.0
    ((_, after),) = limiter.asks(110.0, fleet=True)
    assert after.run > before.run
