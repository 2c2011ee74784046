"""A fleet with one limit under the troubles of a network: nothing is admitted above the bound, and little is wasted.

Utilisation is what the fleet admits, over what one exact bucket would have admitted of the same requests.
"""

from __future__ import annotations

import pytest

from headgate_api.leases.messages import Limit, WithoutOwner
from tests.support.lease_fleet import Fleet

MODES = [WithoutOwner.STRICT, WithoutOwner.SHARE]
RATE, BURST = 300.0, 300


def even(nodes: int, load: float) -> list[float]:
    return [RATE * load / nodes] * nodes


def skewed(nodes: int, load: float) -> list[float]:
    """A fifth of the nodes has four fifths of the requests."""
    hot = max(1, nodes // 5)
    return [RATE * load * 0.8 / hot] * hot + [RATE * load * 0.2 / (nodes - hot)] * (nodes - hot)


def fleet(mode: WithoutOwner, demands: list[float], loss: float = 0.0) -> Fleet:
    return Fleet(Limit(RATE, BURST, mode), demands, seed=1, loss=loss)


def shift(fleet: Fleet) -> None:
    """The busy nodes become quiet, and others busy."""
    demands = [node.demand for node in fleet.nodes]
    for node, demand in zip(fleet.nodes, demands[-2:] + demands[:-2], strict=True):
        node.demand = demand


@pytest.mark.parametrize("load", [0.8, 1.0, 1.5])
@pytest.mark.parametrize(
    ("nodes", "least_even", "least_skewed"), [(3, 0.99, 0.97), (10, 0.99, 0.97), (50, 0.97, 0.96)]
)
def test_little_is_wasted(nodes: int, least_even: float, least_skewed: float, load: float) -> None:
    for demands, least in ((even(nodes, load), least_even), (skewed(nodes, load), least_skewed)):
        simulated = fleet(WithoutOwner.SHARE, demands)
        # Until the burst has been spent where there is more demand than the rate.
        simulated.run(8.0)
        assert simulated.utilisation(8.0) >= least
        assert simulated.meter.worst <= 0


@pytest.mark.parametrize("mode", MODES)
def test_shares_follow_demand_that_moves_every_second(mode: WithoutOwner) -> None:
    simulated = fleet(mode, skewed(10, 1.0))
    shares = []
    for _ in range(10):
        shares.append(simulated.utilisation(1.0))
        shift(simulated)
    assert sum(shares) / len(shares) >= 0.9
    assert simulated.meter.worst <= 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("nodes", [3, 10, 50])
def test_nothing_is_admitted_above_the_bound_in_any_trouble(mode: WithoutOwner, nodes: int) -> None:
    simulated = fleet(mode, skewed(nodes, 3.0), loss=0.03)
    for turn in range(12):
        chosen = simulated.random.sample(simulated.nodes, max(1, nodes // 3))
        match turn % 6:
            case 0:
                simulated.cut(chosen)
            case 1:
                simulated.cut(simulated.nodes, cut=False)
            case 2:
                for node in chosen:
                    simulated.restart(node, known=turn > 6)
            case 3:
                simulated.stop_owner()
            case 4:
                simulated.take_over()
            case _:
                shift(simulated)
        simulated.run(simulated.random.uniform(0.3, 3.0))
    assert simulated.meter.worst <= 0
    assert simulated.meter.admitted > 0


@pytest.mark.parametrize("mode", MODES)
def test_a_new_owner_that_has_heard_all_holders_serves_as_much_as_the_former(mode: WithoutOwner) -> None:
    simulated = fleet(mode, skewed(10, 1.5))
    simulated.run(5.0)
    simulated.stop_owner()
    simulated.run(1.0)
    simulated.take_over()
    simulated.run(6.0)
    assert simulated.utilisation(8.0) >= 0.97
    assert simulated.meter.worst <= 0


def test_a_fleet_without_its_owner_serves_nothing_when_strict() -> None:
    simulated = fleet(WithoutOwner.STRICT, even(10, 1.0))
    simulated.run(5.0)
    simulated.stop_owner()
    simulated.run(3.0)
    assert simulated.utilisation(5.0) == 0


def test_a_fleet_without_its_owner_serves_most_when_it_shares() -> None:
    simulated = fleet(WithoutOwner.SHARE, even(10, 1.0))
    simulated.run(5.0)
    simulated.stop_owner()
    simulated.run(3.0)
    assert simulated.utilisation(5.0) >= 0.75
    assert simulated.meter.worst <= 0
