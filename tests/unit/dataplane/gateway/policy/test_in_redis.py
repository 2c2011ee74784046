"""What a worker shows of a limit in Redis, and keeps of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from dataplane.gateway.policy import in_redis
from dataplane.gateway.policy.buckets import Buckets
from dataplane.gateway.policy.counter import Counter
from dataplane.gateway.policy.leased import Leased
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode, StoreFailure

LIMIT = Limit("l", 0.1, 5, LimitKey.SUBJECT, mode=LimitMode.REDIS)


def counter_of(limiter: Limiter, limit: Limit = LIMIT) -> in_redis.InRedis:
    found = limiter.counter(limit)
    assert isinstance(found, in_redis.InRedis)
    return found


def test_the_last_answers_are_reported() -> None:
    limiter = Limiter()
    counter = counter_of(limiter)
    counter.saw("alice", 3.0, 150.0, refused=False)
    counter.saw("bob", 0.0, 160.0, refused=True)
    counter.saw("bob", 0.0, 161.0, refused=True)
    rows = limiter.report(100.0)
    assert [(row.key, row.remaining, row.refused) for row in rows] == [
        ("subject:bob", 0.0, 2),
        ("subject:alice", 3.0, 0),
    ]
    assert counter.missing("alice", 100.0) == 50.0
    assert counter.remaining("alice", 150.0) == 5.0, "the window has passed"
    assert counter.remaining("nobody", 0.0) == 5.0
    assert limiter.reset("alice")
    assert not limiter.reset("alice")
    assert list(counter.keys()) == ["bob"]


def test_answers_are_forgotten_before_there_are_too_many() -> None:
    counter = counter_of(Limiter())
    for number in range(in_redis._MOST_SEEN * 3):
        counter.saw(str(number), 1.0, 10.0, refused=True)
    assert len(list(counter.keys())) <= in_redis._MOST_SEEN * 2
    assert counter.refused(str(in_redis._MOST_SEEN * 3 - 1)) == 1


def test_what_stands_in_is_what_the_limit_says() -> None:
    limiter = Limiter(share=0.5)
    for policy, passed in ((StoreFailure.OPEN, 9), (StoreFailure.LOCAL, 2)):
        limit = Limit(policy.value, 0.1, 4, LimitKey.SUBJECT, mode=LimitMode.REDIS, on_store_failure=policy)
        counter = counter_of(limiter, limit)
        assert [counter.take("alice", 0.0) == 0.0 for _ in range(9)].count(True) == passed


def test_a_change_of_the_mode_begins_afresh_and_one_of_the_rate_does_not() -> None:
    limiter = Limiter()
    counter = counter_of(limiter)
    faster = Limit("l", 0.2, 5, LimitKey.SUBJECT, mode=LimitMode.REDIS)
    limiter.adopt({"l": faster}, 0.0)
    assert limiter.counter(faster) is counter
    assert limiter.in_redis() == [faster]
    here = Limit("l", 0.2, 5, LimitKey.SUBJECT)
    limiter.adopt({"l": here}, 0.0)
    assert limiter.counter(here) is not counter
    assert limiter.in_redis() == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("before", "after"), list(permutations(LimitMode, 2)))
def test_a_limit_of_another_mode_is_counted_where_that_says(
    before: LimitMode, after: LimitMode, workers: int
) -> None:
    limiter = Limiter(share=1 / workers)
    for mode in (before, after, before):
        limit = replace(LIMIT, burst=100, mode=mode)
        limiter.adopt({"l": limit}, 0.0)
        kinds: dict[LimitMode, type[Counter]] = {
            LimitMode.LOCAL: Leased if workers > 1 else Buckets,
            LimitMode.FLEET: Leased,
            LimitMode.REDIS: in_redis.InRedis,
        }
        assert type(limiter.counter(limit)) is kinds[mode]
        assert limiter.leases is (kinds[mode] is Leased)
        assert [one.mode for one in limiter.in_redis()] == [LimitMode.REDIS] * (mode is LimitMode.REDIS)
        asked = {fleet: len(limiter.asks(0.0, fleet=fleet)) for fleet in (False, True)}
        assert asked == {
            False: int(mode is LimitMode.LOCAL and workers > 1),
            True: int(mode is LimitMode.FLEET),
        }
