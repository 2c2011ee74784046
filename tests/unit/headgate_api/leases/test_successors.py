"""Workers and data planes that start while no owner answers: they serve the share of the one before, and the bound
holds."""

from __future__ import annotations

import os
import random

import pytest

from headgate_api.leases.messages import SHARE, Limit, WithoutOwner
from headgate_api.leases.successor import Successor
from tests.support.lease_planes import Planes

LIMIT = Limit(10.0, 100)
SPEEDS = (0.9951, 1.0, 1.0049)


def settled(limit: Limit = LIMIT, nodes: int = 2, workers: int = 1) -> Planes:
    """A fleet with its starters, whose buckets were emptied, and whose owner has just gone."""
    planes = Planes(limit)
    for _ in range(nodes):
        planes.join(workers)
    planes.turns(3.0)
    spend_all(planes)
    planes.turns(0.3)
    spend_all(planes)
    planes.reach(False)
    return planes


def spend_all(planes: Planes) -> int:
    """All requests that any worker admits now."""
    most = 2 * planes.limit.burst
    return sum(
        planes.spend(plane, index, key, most)
        for plane in planes.planes
        for index in range(len(plane.workers))
        for key in planes.keys
    )


def away(planes: Planes, seconds: float) -> int:
    """Time without an owner, with more requests than can be admitted."""
    admitted, until = 0, planes.now + seconds
    while planes.now < until:
        planes.turns(0.1)
        admitted += spend_all(planes)
        planes.check()
    return admitted


def test_a_data_plane_that_is_restarted_serves_its_share_and_no_more() -> None:
    planes = settled()
    away(planes, 4.0)
    first = planes.planes[0]
    planes.start(first)
    (holder,) = (holder for _, holder in first.workers)
    assert isinstance(holder, Successor)
    assert planes.spend(first, 0, "alice", 10) == 0
    before, start = planes.meters["alice"].admitted, planes.now
    share = holder._share
    assert share is not None and share.starter == 16
    while planes.now < start + 10.0:
        planes.now += 0.01
        planes.spend(first, 0, "alice", 1)
    admitted = planes.meters["alice"].admitted - before
    assert share.pace == LIMIT.pace(16)
    assert share.pace * 9.6 <= admitted <= share.pace * 10.0


def test_a_key_that_was_not_requested_for_long_has_a_full_share_and_no_more() -> None:
    planes = settled()
    away(planes, 4.0)
    first = planes.planes[0]
    planes.start(first)
    planes.turns(30.0)
    assert planes.spend(first, 0, "alice", 100) == 16


def test_a_worker_in_place_of_one_that_died_serves_its_share() -> None:
    planes = settled(workers=2)
    away(planes, 4.0)
    first = planes.planes[0]
    planes.end_worker(first, 1)
    planes.turns(6.0)
    assert planes.spend(first, 1, "alice", 100) > 0
    away(planes, 5.0)


def test_a_worker_that_dies_while_its_owner_answers_leaves_nothing() -> None:
    planes = settled(workers=2)
    planes.end_worker(planes.planes[0], 1)
    assert not isinstance(planes.planes[0].workers[1][1], Successor)


def test_restarts_in_a_row_serve_something_each_time() -> None:
    planes = settled(workers=2)
    away(planes, 4.0)
    for _ in range(4):
        planes.start(planes.planes[0])
        assert away(planes, 8.0) > 0
        planes.goodbye(planes.planes[0])
        assert away(planes, 8.0) > 0


@pytest.mark.parametrize("how", ["copied", "reboot", "lapsed", "strict", "connected"])
def test_without_a_record_that_counts_there_is_no_share(how: str) -> None:
    short = Limit(10.0, 100, share=20.0)
    planes = settled(Limit(10.0, 100, WithoutOwner.STRICT) if how == "strict" else short)
    plane = planes.planes[0]
    if how != "connected":
        away(planes, 4.0)
    match how:
        case "copied":
            plane = planes.copied(plane)
        case "reboot":
            planes.reboot(plane)
        case "lapsed":
            away(planes, 20.0)
            planes.start(plane)
        case _:
            planes.start(plane)
    planes.turns(10.0)
    assert planes.spend(plane, 0, "alice", 100) == 0


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("after", [0.0, 1.0, 2.5, 5.0, 30.0])
def test_the_owner_comes_back_at_any_moment(after: float, over: bool) -> None:
    planes = settled(workers=2)
    away(planes, 4.0)
    planes.start(planes.planes[0])
    away(planes, after)
    planes.reach(True)
    if over:
        planes.take_over()
    admitted = away(planes, 15.0)
    assert admitted > 0
    assert not planes.planes[0].shares.former
    assert all(holder.starter for plane in planes.planes for _, holder in plane.workers) or over
    assert planes.planes[0].disk is None


def test_what_the_owner_has_taken_back_is_spent_by_no_later_process() -> None:
    """The owner hears the first message of the last process, which gets no answer; another data plane takes all that
    flows in."""
    planes = settled()
    away(planes, 4.0)
    first = planes.planes[0]
    planes.start(first)
    planes.reach(True)
    away(planes, 3.0)
    planes.start(first)
    before = len(planes.asks)
    planes.tick(first, 0)
    planes.hear(before)
    first.reachable = False
    away(planes, 20.0)


def test_a_share_stays_reserved_while_messages_arrive_and_answers_do_not() -> None:
    """The end of another worker is told; then a data plane that is connected takes all that flows in."""
    planes = settled(workers=2)
    away(planes, 4.0)
    first, second = planes.planes
    planes.start(first)
    second.reachable = first.reachable = True
    before = len(planes.asks)
    planes.end_worker(first, 1)
    planes.hear(before)
    first.reachable = False
    away(planes, 20.0)
    planes.turns(6.0)
    assert [planes.spend(first, index, "alice", 100) for index in (0, 1)] == [10, 10]


KINDS = (
    ["pass", "spend", "all", "tick", "hear", "answer"] * 3
    + ["exchange"] * 8
    + ["supervise"] * 4
    + ["storm", "crash"] * 3
    + ["turns", "wait", "cut", "cut", "start", "start", "worker", "goodbye", "outage"]
    + ["reboot", "copy", "over", "lost", "store", "sweep"]
)


def step(planes: Planes, kind: str, which: int, amount: int) -> None:
    plane = planes.planes[which % len(planes.planes)]
    index = amount % len(plane.workers)
    key = planes.keys[amount % 4 == 0]
    match kind:
        case "pass":
            planes.now += amount * 0.005
        case "wait":
            planes.now += amount * 0.2
        case "spend":
            planes.spend(plane, index, key, amount)
        case "all":
            spend_all(planes)
        case "storm":
            for _ in range(3):
                spend_all(planes)
                planes.turns(0.1)
            spend_all(planes)
        case "crash":
            plane.reachable = False
            planes.turns(2.3)
            spend_all(planes)
            planes.start(plane)
        case "outage":
            planes.reach(amount % 3 > 0)
        case "tick":
            planes.tick(plane, index)
        case "hear":
            planes.hear(amount)
        case "answer":
            planes.answer(amount)
        case "exchange":
            planes.now += 0.1
            planes.exchange(plane, index)
        case "supervise":
            planes.supervise(plane)
        case "turns":
            planes.turns(amount * 0.1)
        case "cut":
            plane.reachable = not plane.reachable
        case "start":
            planes.start(plane)
        case "worker":
            planes.end_worker(plane, index)
        case "goodbye":
            planes.goodbye(plane)
        case "reboot":
            planes.reboot(plane)
        case "copy":
            if len(planes.planes) < 5:
                planes.copied(plane)
        case "over":
            planes.take_over()
        case "lost":
            plane.workers[index][1].lost()
        case "store":
            planes.store()
        case _:
            planes.owner.sweep(planes.now)


def test_the_bound_holds_in_any_history() -> None:
    for seed in range(int(os.environ.get("LEASES_HISTORIES", "200")) // 5):
        chance = random.Random(seed)
        rate, burst = chance.choice((0.1, 1.0, 10.0, 100.0)), chance.choice((7, 20, 100))
        planes = Planes(Limit(rate, burst, share=chance.choice((SHARE, 12.0))))
        for _ in range(chance.randint(1, 3)):
            planes.join(chance.randint(1, 2), chance.choice(SPEEDS))
        planes.turns(2.0)
        for turn in range(200):
            kind = chance.choice(KINDS)
            step(planes, kind, chance.randrange(8), chance.randrange(41))
            try:
                planes.check()
            except AssertionError:
                raise AssertionError(f"seed {seed}, step {turn}: {kind}") from None
