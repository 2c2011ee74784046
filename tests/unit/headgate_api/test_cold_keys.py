"""A key that nobody has seen: a client that stays below the burst is not refused, as long as the pool has tokens."""

from __future__ import annotations

import pytest

from headgate_api.leases.messages import Limit, WithoutOwner
from tests.support.lease_fleet import Fleet

ONE_WAY = (0.0005, 0.0025)
"""Seconds that a message takes."""
BETWEEN = 0.001
"""Seconds between two requests of a client that waits for each response."""
SEEDS = range(12)
LIMIT = Limit(2.0, 100)


def fleet(limit: Limit, nodes: int, seed: int) -> Fleet:
    """One that nobody sends requests to, with all its holders known."""
    quiet = Fleet(limit, [0.0] * nodes, seed=seed, delay=ONE_WAY)
    quiet.run(3.0 + seed * 0.037)
    return quiet


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("burst", [100, 1000])
def test_requests_one_after_another_pass_up_to_what_no_other_holder_has(nodes: int, burst: int) -> None:
    limit = Limit(burst / 50, burst, WithoutOwner.SHARE)
    most = burst - (nodes - 1) * (limit.reserve // (nodes + 1))
    for seed in SEEDS:
        simulated = fleet(limit, nodes, seed)
        assert simulated.send(simulated.nodes[0], "cold", most, BETWEEN) == most


def test_a_key_does_not_wait_for_the_turn_of_busy_ones() -> None:
    for seed in SEEDS:
        simulated = fleet(LIMIT, 2, seed)
        first = simulated.nodes[0]
        for key in ("busy", "busier", "cold"):
            assert simulated.send(first, key, 60, 2 * BETWEEN) == 60


def test_a_key_without_tokens_is_asked_about_at_the_usual_pace() -> None:
    simulated = fleet(LIMIT, 2, 1)
    first = simulated.nodes[0]
    simulated.send(first, "cold", 200, BETWEEN)
    before = simulated.asked
    simulated.send(first, "cold", 1000, BETWEEN)
    # Ten a second by this one, two a second by the other.
    assert simulated.asked - before <= 13


def test_requests_that_come_faster_than_any_answer_have_a_starter() -> None:
    simulated = fleet(LIMIT, 2, 1)
    first = simulated.nodes[0]
    assert simulated.send(first, "cold", 60, every=0.0) == first.holder.starter == 16
    simulated.run(0.02)
    assert simulated.send(first, "cold", 40, BETWEEN) == 40
