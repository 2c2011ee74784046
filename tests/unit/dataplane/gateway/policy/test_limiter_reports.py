"""What operators see of the buckets, and fill again."""

from __future__ import annotations

from dataclasses import replace

from dataplane.gateway.policy.in_redis import InRedis
from dataplane.gateway.policy.limiter import Limiter
from dataplane.gateway.policy.resources import Limit, LimitKey, LimitMode
from tests.unit.dataplane.gateway.policy.limiter_requests import T0, limit, shown, take, taken


def names(limits: list[Limit]) -> list[str]:
    return [limit.name for limit in limits]


def test_a_reset_fills_a_callers_buckets_in_all_limits() -> None:
    limiter = Limiter()
    limits = [limit(name="a"), limit(name="b"), limit(name="c", key=LimitKey.ADDRESS)]
    for each in limits:
        taken(limiter, each, T0)
        taken(limiter, each, T0, "bob")
    assert names(limiter.reset("subject:alice")) == ["a", "b"]
    assert [taken(limiter, each, T0) for each in limits] == [3, 3, 0]
    assert names(limiter.reset("alice")) == ["a", "b", "c"]
    assert all(bucket.refused == 0 for bucket in limiter.report(T0) if bucket.key.endswith("alice"))
    assert [taken(limiter, each, T0) for each in limits] == [3, 3, 3]
    assert {bucket.refused for bucket in limiter.report(T0) if bucket.key.endswith("alice")} == {1}
    assert [taken(limiter, each, T0, "bob") for each in limits] == [0, 0, 0]
    assert limiter.reset("nobody") == limiter.reset("") == limiter.reset("subject:") == []


def test_the_report_shows_the_emptiest_first() -> None:
    limiter, address = Limiter(), limit(name="by-address", key=LimitKey.ADDRESS)
    taken(limiter, limit(), T0, at_most=1)
    taken(limiter, address, T0, "10.0.0.1")
    for _ in range(4):
        take(limiter, address, "10.0.0.1", T0)
    first, second = limiter.report(T0)
    assert shown(first) == ("by-address", "address:10.0.0.1", 0, 5)
    assert shown(second) == ("l", "subject:alice", 2, 0)


def test_empty_is_meant_in_proportion_to_the_burst() -> None:
    limiter = Limiter()
    taken(limiter, limit(0.01, 100, "wide"), T0, at_most=70)
    taken(limiter, limit(0.01, 2, "narrow"), T0, at_most=1)
    assert [bucket.name for bucket in limiter.report(T0)] == ["wide", "narrow"], "30 of 100, 1 of 2"


def test_the_report_is_bounded_and_never_misses_the_refused() -> None:
    limiter, slow = Limiter(), limit(0.001, 1)
    for _ in range(2):
        take(limiter, slow, "flood", T0)
    for number in range(20_000):
        take(limiter, slow, f"caller-{number}", T0)
    report = limiter.report(T0)
    assert len(report) == 100
    assert shown(report[0]) == ("l", "subject:flood", 0, 1)
    assert len(limiter.report(T0, most=3)) == 3
    assert Limiter().report(T0) == []


def test_refusals_are_counted_as_long_as_the_bucket_lives() -> None:
    limiter, slow = Limiter(max_keys=10), limit(0.001, 1)
    for number in range(50):
        take(limiter, slow, "alice", T0)
        take(limiter, slow, f"caller-{number}", T0)
    assert shown(limiter.report(T0)[0]) == ("l", "subject:alice", 0, 49)


def test_a_long_key_of_several_parts_is_reset_as_it_is_shown() -> None:
    """Only its parts are shortened, so it may be longer than any part."""
    limiter, which = Limiter(), limit(0.001, 1, key=("subject", "address"))
    key = f"{'s' * 120},203.0.113.9"
    for named in (f"subject,address:{key}", key):
        assert limiter.counter(which).take(key, T0) == 0 and limiter.counter(which).take(key, T0)
        assert limiter.report(T0)[0].key == f"subject,address:{key}"
        assert len(limiter.reset(named)) == 1


def test_a_limit_that_many_exhaust_does_not_hide_the_others() -> None:
    limiter, flooded, calm = Limiter(), limit(0.001, 1, "flooded"), limit(0.001, 10, "calm")
    for number in range(1000):
        take(limiter, flooded, f"caller-{number}", T0)
    for number in range(3):
        take(limiter, calm, f"caller-{number}", T0)
    report = limiter.report(T0)
    assert len(report) == 100
    assert [bucket.name for bucket in report[-3:]] == ["calm"] * 3


def test_a_report_says_where_a_bucket_is_counted() -> None:
    fleet = replace(limit(1, 100, "fleet"), mode=LimitMode.FLEET)
    redis = replace(limit(1, 100, "redis"), mode=LimitMode.REDIS)
    under_way = Limit("under-way", 0, 0, LimitKey.SUBJECT, max_concurrent=2)
    for share, place in ((1.0, "node"), (0.5, "worker")):
        limiter = Limiter(share=share)
        limiter.adopt({one.name: one for one in (fleet, redis, under_way)}, T0)
        for one in (limit(1, 4, "small"), limit(1, 100, "large"), fleet, redis):
            take(limiter, one, "alice", T0)
        counter = limiter.counter(redis)
        assert isinstance(counter, InRedis)
        counter.missed("alice")
        among = limiter.concurrency(under_way)
        assert among is not None and among.enter("alice")
        found = {bucket.name: (bucket.place, bucket.away) for bucket in limiter.report(T0)}
        assert found == {
            "small": (place, False),
            # Where workers lease from a supervisor, it has not answered yet.
            "large": ("node", share < 1),
            "fleet": ("fleet", True),
            "redis": ("redis", True),
            "under-way": (place, False),
        }
        assert limiter.away(T0) == ["fleet", "redis"], "the supervisor is not meant"
        counter.saw("alice", 3.0, T0 + 9, refused=False)
        assert limiter.away(T0) == ["fleet"]


def test_a_report_on_many_limits_is_made_in_steps() -> None:
    """Else requests would wait for it, with 10,000 limits for tens of milliseconds."""
    limiter = Limiter()
    for number in range(1000):
        taken(limiter, limit(0.001, 3, f"l{number}"), T0, at_most=1)
    taken(limiter, limit(0.001, 3, "l777"), T0)
    steps = sum(1 for _ in limiter.survey(T0))
    assert steps == 7
    assert shown(limiter.report(T0)[0])[:3] == ("l777", "subject:alice", 0)


def test_a_limit_that_changes_while_a_report_is_made_is_left_out_of_it() -> None:
    limiter = Limiter()
    limits = {f"l{n}": limit(0.001, 3, f"l{n}") for n in range(200)}
    limits |= {f"m{n}": Limit(f"m{n}", 0, 0, LimitKey.SUBJECT, max_concurrent=2) for n in range(2)}
    limiter.adopt(limits, T0)
    for each in limits.values():
        if each.per_second:
            taken(limiter, each, T0, at_most=1)
        else:
            among = limiter.concurrency(each)
            assert among is not None and among.enter("alice")
    steps = limiter.survey(T0, most=1000)
    next(steps)
    gone = ("l1", "l199", "m1")
    kept = {name: each for name, each in limits.items() if name not in gone}
    limiter.adopt({**kept, "l2": replace(limits["l2"], key=LimitKey.ADDRESS)}, T0)
    found: list[str] = []
    try:
        while True:
            next(steps)
    except StopIteration as end:
        found = [bucket.name for bucket in end.value]
    assert sorted(found) == sorted(kept.keys() - {"l2"})
