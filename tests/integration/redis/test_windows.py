"""What the scripts compute in a real Redis, against a plain window in Python. Only the clock is the test's."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from dataplane.gateway.policy.window import MOST_MEMBERS, Answer, Naming, Window, reset
from dataplane.gateway.policy.window_scripts import SCRIPTS, SLOTS, digest
from tests.support.redis_server import RedisServer

START = 1_700_000_000.0


def limit(burst: int, per_second: float, **fields: Any) -> Limit:
    return Limit("l", per_second, burst, LimitKey.SUBJECT, mode=LimitMode.REDIS, **fields)


def _with_our_clock(script: str) -> str:
    """The time is the test's, and no key expires by another one."""
    timed = script.replace("redis.call('TIME')", "redis.call('LRANGE', 'clock', 0, 1)")
    return timed.replace("redis.call('PEXPIRE', name,", "redis.call('HSET', 'expiry', name,")


class Counts:
    """One key of a limit, in a Redis whose clock stands until it is moved."""

    def __init__(self, server: RedisServer, which: Limit) -> None:
        self._redis = server.client()
        self._scripts = {digest(script): _with_our_clock(script) for script in SCRIPTS}
        self._taken = 0
        self.now = START
        self.use(which)

    def use(self, which: Limit) -> None:
        """From now on the limit is this."""
        self.limit = which
        self.window = Window(which, Naming())
        self.name = self.window.name("alice")

    def take(self) -> Answer:
        self._taken += 1
        return Answer(self.run(self.window.take(self.name, b"id%d" % self._taken)))

    def give_back(self, answer: Answer, tokens: int | None = None, taken: int | None = None) -> None:
        """What the last take took, or the one of this number."""
        identity = b"id%d" % (taken or self._taken)
        cost = self.limit.cost
        self.run(self.window.give_back(self.name, identity, cost, tokens or cost, answer.slot))

    def charge(self, tokens: int) -> None:
        self.run(self.window.charge(self.name, tokens))

    def expires_in(self) -> float:
        return float(self._redis.hget("expiry", self.name) or 0) / 1000

    def run(self, command: bytes) -> list[int]:
        """Run a command, with its script's text in the place of the script's name."""
        self._redis.delete("clock")
        whole = math.floor(self.now)
        self._redis.rpush("clock", whole, round((self.now - whole) * 1e6))
        words = command.split(b"\r\n")[2::2]
        assert command.startswith(b"*%d\r\n" % len(words))
        if words[0] == b"EVALSHA":
            words = [b"EVAL", self._scripts[words[1]].encode(), *words[2:]]
        found = self._redis.execute_command(*words)  # type: ignore[no-untyped-call]
        return found if isinstance(found, list) else [0, 0, 0, 0]


@dataclass
class PlainWindow:
    """The rule in a few lines: at most `burst` tokens in `window` seconds."""

    burst: int
    window: float
    taken: deque[tuple[float, int]] = field(default_factory=deque)

    def used(self, now: float) -> int:
        while self.taken and self.taken[0][0] <= now - self.window + 1e-7:
            self.taken.popleft()
        return sum(tokens for _, tokens in self.taken)

    def take(self, cost: int, now: float) -> bool:
        if self.used(now) + cost > self.burst:
            return False
        self.taken.append((now, cost))
        return True


@pytest.mark.parametrize(("burst", "per_second", "cost"), [(10, 5.0, 1), (30, 3.0, 7), (1500, 500.0, 400)])
def test_members_are_the_window_exactly(
    server: RedisServer, burst: int, per_second: float, cost: int
) -> None:
    counts, chance = Counts(server, limit(burst, per_second, cost=cost)), random.Random(burst)
    plain = PlainWindow(burst, burst / per_second)
    for _ in range(400):
        counts.now += round(chance.expovariate(per_second / cost * 1.5), 6)
        answer = counts.take()
        assert (answer.wait == 0.0) == plain.take(cost, counts.now)
        assert answer.remaining == burst - plain.used(counts.now)
        assert server.client().zcard("rate_limit:l:alice") == plain.used(counts.now)


@pytest.mark.parametrize(("burst", "per_second", "cost"), [(5000, 1000.0, 100), (100_000, 28.0, 4000)])
def test_slots_never_admit_more_than_the_window_and_forget_a_hundredth_late(
    server: RedisServer, burst: int, per_second: float, cost: int
) -> None:
    counts, chance = Counts(server, limit(burst, per_second, cost=cost)), random.Random(burst)
    exact, longer = PlainWindow(burst, burst / per_second), PlainWindow(burst, burst / per_second * 1.0101)
    for _ in range(600):
        counts.now += round(chance.expovariate(per_second / cost * 1.5), 6)
        if counts.take().wait == 0.0:
            assert exact.take(cost, counts.now), "more than the burst in one window"
            longer.taken.append((counts.now, cost))
        else:
            assert longer.used(counts.now) + cost > burst, "refused, though a longer window had room"


def test_the_wait_is_never_too_short_and_never_longer_than_it_must_be(server: RedisServer) -> None:
    for which in (limit(20, 4.0, cost=3), limit(MOST_MEMBERS * 2, 900.0, cost=70)):
        counts, chance = Counts(server, which), random.Random(7)
        server.client().flushall()
        waits = 0
        for _ in range(300):
            answer = counts.take()
            if answer.wait:
                waits += 1
                counts.now += answer.wait - 2e-6
                assert counts.take().wait > 0.0
                counts.now += 4e-6
                assert counts.take().wait == 0.0
            counts.now += round(chance.expovariate(which.per_second / which.cost * 2), 6)
        assert waits > 20


@pytest.mark.parametrize("burst", [10, MOST_MEMBERS + 1])
def test_a_key_expires_with_its_window(server: RedisServer, burst: int) -> None:
    counts = Counts(server, limit(burst, burst / 60))
    counts.take()
    assert 59.0 < counts.expires_in() <= 60.0 * (1 + 1 / SLOTS) + 0.7
    counts.now += 62
    assert counts.take().remaining == burst - 1


@pytest.mark.parametrize("burst", [10, MOST_MEMBERS + 10])
def test_what_is_given_back_can_be_taken_again(server: RedisServer, burst: int) -> None:
    cost = burst // 2
    counts = Counts(server, limit(burst, burst / 60, cost=cost))
    counts.take()
    second = counts.take()
    assert counts.take().wait > 0.0
    counts.give_back(second, taken=2)
    assert counts.take().wait == 0.0
    assert counts.take().wait > 0.0


def test_only_what_is_there_is_given_back(server: RedisServer) -> None:
    counts = Counts(server, limit(5000, 50.0, cost=100))
    first = counts.take()
    counts.now += 200
    for _ in range(3):
        counts.give_back(first)
    assert counts.take().remaining == 4900


def test_a_cost_known_later_is_paid_by_those_who_come_next(server: RedisServer) -> None:
    """1,000 tokens a second, a bucket of 1,000: 3,500 tokens more take it below zero for two and a half seconds."""
    counts = Counts(server, limit(1000, 1000.0, cost=10, cost_header="x-cost"))
    assert not counts.window.by_members
    counts.take()
    counts.charge(3500)
    answer = counts.take()
    assert answer.remaining == 0
    assert 2.5 <= answer.wait <= 3.1
    counts.now += answer.wait
    assert counts.take().wait == 0.0


def test_an_overdraft_has_an_end(server: RedisServer) -> None:
    counts = Counts(server, limit(1000, 1000.0, cost_header="x-cost"))
    counts.charge(10**12 - 1)
    assert 49 < counts.take().wait < 53
    assert server.client().hlen(counts.name) < 60


def test_less_than_was_taken_comes_back(server: RedisServer) -> None:
    counts = Counts(server, limit(1000, 1.0, cost=100, cost_header="x-cost"))
    answer = counts.take()
    counts.give_back(answer, tokens=60)
    assert counts.take().remaining == 1000 - 40 - 100


@pytest.mark.parametrize(
    ("before", "after"), [(100, MOST_MEMBERS + 100), (MOST_MEMBERS + 100, 100), (10, 20), (5000, 9000)]
)
def test_a_changed_limit_takes_what_is_counted_with_it(server: RedisServer, before: int, after: int) -> None:
    counts = Counts(server, limit(before, before / 60))
    for _ in range(10):
        counts.take()
    counts.use(limit(after, after / 60))
    assert counts.take().remaining == after - 11


def test_a_smaller_limit_frees_nobody(server: RedisServer) -> None:
    counts = Counts(server, limit(5000, 50.0, cost=1000))
    for _ in range(5):
        counts.take()
    counts.use(limit(100, 1.0))
    assert counts.take().wait > 99
    counts.now += 50
    assert counts.take().wait > 0


def test_what_a_smaller_limit_takes_over_expires(server: RedisServer) -> None:
    counts = Counts(server, limit(5000, 50.0, cost=1000))
    for _ in range(5):
        counts.take()
    server.client().delete("expiry")
    counts.use(limit(100, 1.0))
    assert counts.take().wait > 99, "so that no take sets the time"
    assert 99 < counts.expires_in() < 101


@pytest.mark.parametrize("burst", [10, MOST_MEMBERS + 10])
def test_a_clock_that_goes_back_keeps_nobody_waiting_for_it(server: RedisServer, burst: int) -> None:
    counts = Counts(server, limit(burst, burst / 60, cost=burst // 2))
    for _ in range(2):
        assert counts.take().wait == 0.0
    counts.now -= 3600
    answer = counts.take()
    assert answer.remaining == 0, "what was taken counts"
    assert 59 < answer.wait < 62
    assert counts.expires_in() < 62
    counts.now += answer.wait
    assert counts.take().wait == 0.0


@pytest.mark.parametrize("burst", [10, MOST_MEMBERS + 10])
def test_a_clock_that_goes_back_a_little_frees_nobody(server: RedisServer, burst: int) -> None:
    counts, cost = Counts(server, limit(burst, burst / 60, cost=burst // 2)), burst // 2
    counts.take()
    counts.now -= 1
    assert counts.take().remaining == burst - 2 * cost
    answer = counts.take()
    assert 58 < answer.wait < 63


def test_an_overdraft_is_no_clock_that_goes_back(server: RedisServer) -> None:
    counts = Counts(server, limit(1000, 1000.0, cost_header="x-cost"))
    counts.charge(20_000)
    first = counts.take().wait
    for _ in range(10):
        counts.now += 1.0
        counts.charge(100)
    assert counts.take().wait <= first - 8


def test_an_order_resets_once(server: RedisServer) -> None:
    """Every worker sends it, some later than others."""
    counts = Counts(server, limit(1, 1 / 60))
    counts.take()
    counts.run(reset(counts.name, 41))
    assert counts.take().wait == 0.0
    counts.run(reset(counts.name, 41))
    assert counts.take().wait > 0.0
    counts.run(reset(counts.name, 42))
    assert counts.take().wait == 0.0


def test_del_resets_either_form(server: RedisServer) -> None:
    for burst in (1, MOST_MEMBERS + 1):
        counts = Counts(server, limit(burst, burst / 60, cost=burst))
        assert counts.take().wait == 0.0
        assert counts.take().wait > 0.0
        assert server.client().delete("rate_limit:l:alice") == 1
        assert counts.take().wait == 0.0
        server.client().flushall()
