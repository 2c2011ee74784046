"""Whatever happens in between: in no window of T seconds more than rate * T + burst is admitted, for any key."""

from __future__ import annotations

import os
import random
from copy import copy
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import SHARE, Answer, Ask, Limit, WithoutOwner
from headgate_api.leases.owner import Owner, first_floors
from tests.support.lease_fleet import Meter, Node

KEYS = ("alice", "bob")
RATES = (0.1, 1.0, 10.0, 100.0)
BURSTS = (1, 2, 7, 20, 100)
SHARES = (SHARE, 3.0)
"""Seconds that holders which are away go on."""
SPEEDS = (0.9951, 1.0, 1.0049)
"""Of the holders' clocks; the owner's runs at 1."""


@dataclass
class World:
    """A fleet where each step is chosen from outside. Messages under way arrive in any order, or never."""

    limit: Limit
    now: float = 0.0
    epoch: int = 1
    runs: int = 0
    nodes: list[Node] = field(default_factory=list)
    asks: list[tuple[Node, str, int, Ask]] = field(default_factory=list)
    answers: list[tuple[Node, str, Answer]] = field(default_factory=list)
    taken: dict[tuple[str, str], int] = field(default_factory=dict)
    """Tokens that may still turn out not to be needed, by holder and key."""

    def __post_init__(self) -> None:
        self.floors = first_floors(self.limit)
        self.most = self.limit.burst
        self.owner = Owner(self.limit, 1, 0.0, takeover=False)
        self.meters = {key: Meter(self.limit) for key in KEYS}

    def join(self, speed: float) -> None:
        self.runs += 1
        node = Node(f"{self.runs}", Holder(self.limit), 1e6 * self.runs, speed, 0.0)
        self.nodes.append(node)

    def spend(self, node: Node, key: str, most: int) -> None:
        clock = node.clock(self.now)
        holding = node.holder.holdings.get(key) or node.holder.open(key, clock)
        for _ in range(most):
            if holding.take(1.0, clock):
                self.meters[key].admit(self.now)
                self.taken[node.name, key] = self.taken.get((node.name, key), 0) + 1

    def refund(self, node: Node, key: str, most: int) -> None:
        """Requests that were admitted some time ago have cost nothing after all."""
        count = min(most, self.taken.get((node.name, key), 0))
        if count:
            self.taken[node.name, key] -= count
            clock = node.clock(self.now)
            holding = node.holder.holdings.get(key) or node.holder.open(key, clock)
            before = holding.tokens
            holding.refund(count, clock)
            self.meters[key].take_back(holding.tokens - before, self.now)

    def change(self, burst: int, share: bool) -> None:
        """The limit is changed; holders learn of it later, and one by one."""
        mode = WithoutOwner.SHARE if share else WithoutOwner.STRICT
        self.limit = Limit(self.limit.rate, burst, mode, self.limit.share)
        self.owner.adopt(self.limit, self.now)
        # A smaller burst is in force when what was held under the larger one is spent.
        self.most = max(self.most, burst)

    def tick(self, node: Node) -> None:
        ask = node.holder.ask(node.clock(self.now))
        if ask is not None:
            self.asks.append((node, node.name, self.epoch, ask))

    def hear(self, which: int, twice: bool) -> None:
        """An ask under way arrives. One for an owner that is gone is lost."""
        if not self.asks:
            return
        node, name, epoch, ask = self.asks[which % len(self.asks)]
        if not twice:
            del self.asks[which % len(self.asks)]
        if epoch == self.epoch:
            answer = self.owner.ask(name, ask, self.now)
            if answer is not None:
                # What goes back to the owner was not needed from now on: it counted until then.
                for want in ask.wants:
                    self.meters[want.key].take_back(want.credit, self.now)
                self.answers.append((node, name, answer))

    def answer(self, which: int) -> None:
        if self.answers:
            node, name, answer = self.answers.pop(which % len(self.answers))
            if name == node.name:
                node.holder.answer(answer, node.clock(self.now))

    def exchange(self, node: Node) -> None:
        """An ask and its answer, at once; the store has what the last one needs."""
        self.store()
        node.holder.lost()
        before = len(self.asks)
        self.tick(node)
        if len(self.asks) > before:
            self.hear(len(self.asks) - 1, False)
            if self.answers:
                self.answer(len(self.answers) - 1)

    def restart(self, node: Node, known: bool) -> None:
        if known:
            self.owner.leave(node.name, self.now)
        self.runs += 1
        node.name, node.holder = f"{self.runs}", Holder(self.limit)

    def store(self) -> None:
        reservation = self.owner.reserve(self.now)
        if reservation is not None:
            self.floors = reservation.floors
            self.owner.reserved(reservation)

    def take_over(self) -> None:
        self.epoch += 1
        self.owner = Owner(self.limit, self.epoch, self.now, takeover=True, floors=self.floors)

    def check(self) -> None:
        """What could be admitted at once, if the requests came now, is within the bound, too."""
        for key, meter in self.meters.items():
            at_once = sum(spendable(node, key, node.clock(self.now)) for node in self.nodes)
            assert meter.level(self.now) + at_once <= self.most + 1e-6


def spendable(node: Node, key: str, clock: float) -> float:
    """Tokens of `key` that `node` may spend now."""
    holding = node.holder.holdings.get(key)
    if clock >= node.holder.until:
        return 0.0
    if holding is None:
        return float(node.holder.starter)
    holding = copy(holding)
    holding._renew(clock)
    return max(0.0, holding.tokens)


KINDS = (
    [
        "wait",
        "long",
        "lost",
        "restart",
        "kill",
        "over",
        "sweep",
        "twice",
        "store",
        "join",
        "quiet",
    ]
    + ["pass", "spend", "all", "tick", "hear", "answer"] * 3
    + ["exchange"] * 8
    + ["storm"] * 2
    + ["refund", "overdraw"]
)
CHANGES = ["change", "learn"]
Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 7), st.integers(0, 40)), min_size=20, max_size=80
)


def play(limit: Limit, speeds: list[float], steps: list[Step]) -> World:
    world = World(limit)
    for speed in speeds:
        world.join(speed)
    for name, which, amount in steps:
        step(world, name, world.nodes[which % len(world.nodes)], KEYS[0 if amount % 4 else 1], amount)
        world.check()
    return world


def step(world: World, name: str, node: Node, key: str, amount: int) -> None:
    limit = world.limit
    match name:
        case "pass":
            world.now += amount * 0.005
        case "wait":
            world.now += amount * 0.1
        case "long":
            world.now += amount / 20 * limit.burst / limit.rate
        case "quiet":
            # Long enough for every lease to lapse, with some holders that go on.
            for _ in range(12):
                world.now += 0.2
                for other in world.nodes[1 + amount % 3 :]:
                    world.exchange(other)
        case "spend":
            world.spend(node, key, amount)
        case "all":
            world.spend(node, key, 2 * limit.burst)
        case "storm":
            for other in world.nodes:
                world.spend(other, key, 2 * limit.burst)
                world.exchange(other)
                world.spend(other, key, 2 * limit.burst)
        case "tick":
            world.tick(node)
        case "hear" | "twice":
            world.hear(amount, name == "twice")
        case "answer":
            world.answer(amount)
        case "exchange":
            world.now += 0.1
            world.exchange(node)
        case "lost":
            node.holder.lost()
        case "refund":
            world.refund(node, key, amount)
        case "overdraw":
            node.holder.overdraw(key, amount / 4, node.clock(world.now))
        case "change":
            # A higher starter than half of the smallest burst would be held on to for an hour.
            world.change(BURSTS[amount % len(BURSTS)], limit.without_owner is WithoutOwner.SHARE)
        case "learn":
            node.holder.adopt(limit)
        case "join":
            if len(world.nodes) < 6:
                world.join(SPEEDS[amount % 3])
        case "restart" | "kill":
            world.restart(node, name == "kill")
        case "over":
            world.take_over()
        case "store":
            world.store()
        case _:
            world.owner.sweep(world.now)
            node.holder.tidy(node.clock(world.now))


@pytest.mark.parametrize("mode", [WithoutOwner.STRICT, WithoutOwner.SHARE])
@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)  # fmt: skip
@given(
    rate=st.sampled_from(RATES),
    burst=st.sampled_from(BURSTS),
    share=st.sampled_from(SHARES),
    speeds=st.lists(st.sampled_from(SPEEDS), min_size=1, max_size=4),
    steps=STEPS,
)
def test_no_window_admits_more_than_the_rate_and_the_burst(
    mode: WithoutOwner, rate: float, burst: int, share: float, speeds: list[float], steps: list[Step]
) -> None:
    play(Limit(rate, burst, mode, share), speeds, steps)


@pytest.mark.parametrize("mode", [WithoutOwner.STRICT, WithoutOwner.SHARE])
def test_nor_in_long_histories(mode: WithoutOwner) -> None:
    for seed in range(int(os.environ.get("LEASES_HISTORIES", "60"))):
        chance = random.Random(seed)
        kinds = chance.sample(KINDS, 14) + (CHANGES if seed % 3 == 0 else [])
        steps = [(chance.choice(kinds), chance.randrange(8), chance.randrange(41)) for _ in range(250)]
        speeds = chance.choices(SPEEDS, k=chance.randint(1, 4))
        try:
            limit = Limit(chance.choice(RATES), chance.choice(BURSTS), mode, SHARES[seed % 2])
            play(limit, speeds, steps)
        except AssertionError:
            raise AssertionError(f"seed {seed}") from None
