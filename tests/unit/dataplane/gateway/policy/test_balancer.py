"""Who gets the next request: shares by weight, even spread, the less busy, the same caller to the same instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.gateway.policy.balancer import Balancer, make_balancer
from dataplane.gateway.policy.resources import LoadBalancer

ROUND_ROBIN, LEAST_REQUEST, IP_HASH = (
    LoadBalancer.ROUND_ROBIN,
    LoadBalancer.LEAST_REQUEST,
    LoadBalancer.IP_HASH,
)
ADDRESSES = [f"10.{number // 250}.0.{number % 250}" for number in range(3000)]


@dataclass(eq=False, slots=True)
class Endpoint:
    id: str
    weight: int = 1
    in_flight: int = 0

    def __repr__(self) -> str:
        return self.id


def endpoints(*weights: int) -> list[Endpoint]:
    return [Endpoint("abcdefghijklmnopqrstuvwxyz"[number], weight) for number, weight in enumerate(weights)]


def picks(balancer: Balancer[Endpoint], count: int) -> str:
    return "".join(repr(balancer.pick("10.0.0.1")) for _ in range(count))


@pytest.mark.parametrize("kind", list(LoadBalancer))
def test_nobody_is_picked_from_none(kind: LoadBalancer) -> None:
    nobody: list[Endpoint] = []
    assert make_balancer(kind, nobody).pick("10.0.0.1") is None
    assert make_balancer(kind, nobody).another("10.0.0.1", ()) is None


@pytest.mark.parametrize("kind", list(LoadBalancer))
def test_a_single_one_is_always_picked(kind: LoadBalancer) -> None:
    (only,) = endpoints(7)
    balancer = make_balancer(kind, [only], start=3)
    assert balancer.pick("10.0.0.1") is balancer.pick("::1") is only
    assert balancer.another("10.0.0.1", ()) is only
    assert balancer.another("10.0.0.1", {only}) is None


@pytest.mark.parametrize("kind", list(LoadBalancer))
@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1), (1000, 1, 1)])
def test_another_one_is_any_but_those_tried(kind: LoadBalancer, weights: tuple[int, ...]) -> None:
    group = endpoints(*weights)
    balancer = make_balancer(kind, group)
    tried: list[Endpoint] = []
    while (endpoint := balancer.another("10.0.0.1", tried)) is not None:
        assert endpoint not in tried
        tried.append(endpoint)
    assert sorted(map(repr, tried)) == sorted(map(repr, group))


# --- round robin


@pytest.mark.parametrize(
    ("weights", "turns"),
    [
        ((1, 1), "abab"),
        ((1, 1, 1), "abcabc"),
        ((7, 7), "abab"),
        ((2, 1), "aab"),
        ((5, 1, 1), "aaabaca"),
        ((1, 3), "babb"),
    ],
)
def test_everybody_in_turn_by_weight(weights: tuple[int, ...], turns: str) -> None:
    assert picks(make_balancer(ROUND_ROBIN, endpoints(*weights)), len(turns)) == turns


def test_workers_begin_at_different_places() -> None:
    assert [picks(make_balancer(ROUND_ROBIN, endpoints(1, 1, 1), start), 3) for start in range(4)] == [
        "abc",
        "bca",
        "cab",
        "abc",
    ]


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
def test_each_gets_its_share_in_every_round(weights: list[int]) -> None:
    balancer = make_balancer(ROUND_ROBIN, endpoints(*weights))
    counts = Counter(picks(balancer, sum(weights)))
    assert counts == {endpoint.id: endpoint.weight for endpoint in endpoints(*weights)}


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
def test_turns_are_evenly_spread(weights: list[int]) -> None:
    """Between two turns of one endpoint lie at most twice as many picks as if they were spread perfectly."""
    total = sum(weights)
    sequence = picks(make_balancer(ROUND_ROBIN, endpoints(*weights)), 2 * total)
    for endpoint in endpoints(*weights):
        turns = [place for place, name in enumerate(sequence) if name == endpoint.id]
        assert all(
            after - before <= 2 * total / endpoint.weight + len(weights) for before, after in pairwise(turns)
        )


@settings(max_examples=30)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=26))
def test_weights_of_any_size_are_kept_within_a_thousandth(weights: list[int]) -> None:
    group = endpoints(*weights)
    balancer = make_balancer(ROUND_ROBIN, group)
    rounds = 20_000
    counts = Counter(picks(balancer, rounds))
    for endpoint in group:
        assert abs(counts[endpoint.id] / rounds - endpoint.weight / sum(weights)) < 0.002
        assert counts[endpoint.id] > 0


# --- least request


def test_the_less_busy_of_two_is_picked() -> None:
    a, b = group = endpoints(1, 1)
    balancer = make_balancer(LEAST_REQUEST, group)
    a.in_flight = 3
    assert picks(balancer, 4) == "bbbb"
    b.in_flight = 4
    assert picks(balancer, 4) == "aaaa"


def test_equals_take_turns() -> None:
    assert Counter(picks(make_balancer(LEAST_REQUEST, endpoints(1, 1, 1)), 30)) == {"a": 10, "b": 10, "c": 10}


def test_idle_instances_share_by_weight() -> None:
    assert Counter(picks(make_balancer(LEAST_REQUEST, endpoints(3, 1)), 40)) == {"a": 30, "b": 10}


def test_busy_is_meant_in_proportion_to_the_weight() -> None:
    a, b = group = endpoints(4, 1)
    a.in_flight, b.in_flight = 3, 1
    assert picks(make_balancer(LEAST_REQUEST, group), 10) == "a" * 10
    a.in_flight = 5
    assert picks(make_balancer(LEAST_REQUEST, group), 10) == "b" * 10


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 26])
def test_a_stuck_instance_is_avoided_whoever_it_is(count: int) -> None:
    """Everybody is compared with everybody, so the one that hangs gets nothing while others are idle."""
    for stuck in range(count):
        group = endpoints(*[1] * count)
        group[stuck].in_flight = 1000
        assert group[stuck].id not in picks(make_balancer(LEAST_REQUEST, group), 5000)


@pytest.mark.parametrize("weights", [(1,) * 4, (1,) * 26, (5, 3, 1, 1)])
def test_load_stays_level(weights: tuple[int, ...]) -> None:
    """Requests that never end pile up in proportion to the weights."""
    group = endpoints(*weights)
    balancer = make_balancer(LEAST_REQUEST, group)
    for _ in range(100 * sum(weights)):
        endpoint = balancer.pick("10.0.0.1")
        assert endpoint is not None
        endpoint.in_flight += 1
    assert all(abs(endpoint.in_flight / endpoint.weight - 100) <= 5 for endpoint in group)


def test_another_one_is_the_least_busy() -> None:
    a, b, c = group = endpoints(1, 1, 1)
    b.in_flight, c.in_flight = 2, 1
    balancer = make_balancer(LEAST_REQUEST, group)
    assert balancer.another("10.0.0.1", [a]) is c
    b.weight = 4
    assert balancer.another("10.0.0.1", [a]) is b, "in proportion to its weight"


# --- ip hash


def homes(group: Sequence[Endpoint]) -> dict[str, str]:
    balancer = make_balancer(IP_HASH, group)
    return {address: repr(balancer.pick(address)) for address in ADDRESSES}


def test_an_address_stays_where_it_is_on_every_worker_and_in_any_order() -> None:
    group = endpoints(1, 2, 3, 4)
    assert homes(group) == homes(group[::-1])


def test_the_choice_is_the_same_on_every_machine() -> None:
    """Pinned: data planes of different versions run side by side during an upgrade."""
    balancer = make_balancer(IP_HASH, endpoints(1, 1, 1))
    found = [repr(balancer.pick(address)) for address in ("10.0.0.1", "10.0.0.2", "192.0.2.7", "2001:db8::1")]
    assert found == ["b", "a", "c", "c"]


@settings(max_examples=20)
@given(st.integers(2, 8), st.data())
def test_when_one_leaves_only_its_callers_move(count: int, data: st.DataObject) -> None:
    group = endpoints(*[data.draw(st.integers(1, 5)) for _ in range(count)])
    gone = data.draw(st.sampled_from(group))
    before = homes(group)
    after = homes([endpoint for endpoint in group if endpoint is not gone])
    assert all(after[address] == home for address, home in before.items() if home != gone.id)
    assert gone.id not in after.values()


@pytest.mark.parametrize("weights", [(1, 1, 1), (3, 2, 1), (1000, 1000)])
def test_callers_are_shared_by_weight(weights: tuple[int, ...]) -> None:
    counts = Counter(homes(endpoints(*weights)).values())
    for endpoint in endpoints(*weights):
        assert counts[endpoint.id] / len(ADDRESSES) == pytest.approx(endpoint.weight / sum(weights), abs=0.04)


def test_another_one_is_where_the_caller_would_be_without_those_tried() -> None:
    group = endpoints(1, 2, 3)
    balancer, without_c = make_balancer(IP_HASH, group), make_balancer(IP_HASH, group[:2])
    for address in ADDRESSES[:100]:
        assert balancer.another(address, ()) is balancer.pick(address)
        assert balancer.another(address, {group[2]}) is without_c.pick(address)


def test_those_who_lose_their_instance_are_spread_over_the_others() -> None:
    group = endpoints(1, 1, 1, 1)
    before, after = homes(group), homes(group[1:])
    assert set(Counter(after[address] for address, home in before.items() if home == "a")) == {"b", "c", "d"}


@pytest.mark.parametrize("address", ["", "::1", "fe80::1%eth0", "ä", "x" * 1000])
def test_any_text_is_an_address(address: str) -> None:
    assert make_balancer(IP_HASH, endpoints(1, 1)).pick(address) is not None


@pytest.mark.parametrize("kind", [ROUND_ROBIN, LEAST_REQUEST])
@pytest.mark.parametrize("between", [1, 2, 3, 7])
def test_an_instance_that_comes_and_goes_favours_no_other(kind: LoadBalancer, between: int) -> None:
    """Each change makes a new balancer. All of them once began with the same instance."""
    everybody = endpoints(1, 1, 1, 1, 1)
    balancer = make_balancer(kind, everybody, start=2)
    count: Counter[str] = Counter()
    for number in range(1_000):
        count.update(picks(balancer, between))
        balancer = make_balancer(kind, everybody[: 5 - number % 2], 2, balancer.leave())
    stable = [count[each] for each in "abcd"]
    assert max(stable) < 1.6 * min(stable), stable


def test_weights_hold_although_another_comes_and_goes() -> None:
    everybody = endpoints(6, 3, 1, 2)
    balancer = make_balancer(ROUND_ROBIN, everybody)
    count: Counter[str] = Counter()
    for number in range(2_000):
        count.update(picks(balancer, 1))
        balancer = make_balancer(ROUND_ROBIN, everybody[: 4 - number % 2], 0, balancer.leave())
    assert 1.4 * count["b"] < count["a"] < 2.8 * count["b"] and 2 * count["c"] < count["b"] < 4.5 * count["c"]


@pytest.mark.parametrize("kind", list(LoadBalancer))
def test_one_alone_and_nobody_keep_the_place(kind: LoadBalancer) -> None:
    everybody = endpoints(1, 1, 1)
    balancer = make_balancer(ROUND_ROBIN, everybody)
    picks(balancer, 2)
    for few in (everybody[:1], [], everybody):
        balancer = make_balancer(kind, few, after=balancer.leave())
    assert make_balancer(ROUND_ROBIN, everybody, after=balancer.leave()).pick("10.0.0.1") is everybody[2]
