"""Which control plane a data plane tries first, and which one next."""

from __future__ import annotations

from collections import Counter

from dataplane.config.stream.order import after_loss, preferred

ADDRESSES = [f"10.0.0.{number}:50051" for number in range(1, 5)]


def test_a_node_has_its_own_order_and_keeps_it() -> None:
    order = preferred(ADDRESSES, "gw-1")
    assert sorted(order) == ADDRESSES
    assert preferred(reversed(ADDRESSES), "gw-1") == order


def test_a_fleet_spreads() -> None:
    first = Counter(preferred(ADDRESSES, f"gw-{number}")[0] for number in range(1000))
    assert all(200 < count < 300 for count in first.values())


def test_those_of_one_that_is_gone_spread_over_the_others() -> None:
    gone = ADDRESSES[0]
    theirs = [number for number in range(1000) if preferred(ADDRESSES, f"gw-{number}")[0] == gone]
    second = Counter(after_loss(gone, ADDRESSES, f"gw-{number}")[0] for number in theirs)
    assert gone not in second
    assert all(count > 50 for count in second.values()) and len(second) == 3


def test_one_that_lost_the_connection_comes_last() -> None:
    order = after_loss(ADDRESSES[2], ADDRESSES, "gw-1")
    assert order[-1] == ADDRESSES[2]
    assert order[:-1] == [address for address in preferred(ADDRESSES, "gw-1") if address != ADDRESSES[2]]
    assert after_loss("only:1", ["only:1"], "gw-1") == ["only:1"]
