"""A simulated fleet with one limit: holders, owners and a network between them, by events and without real time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from headgate_api.leases.holder import Holder
from headgate_api.leases.messages import ASKING, Answer, Ask, Limit
from headgate_api.leases.owner import Owner, first_floors

KEY = "alice"


class Meter:
    """Counts admissions, and their excess over `rate * T + burst` in the worst of all windows."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._level = 0.0
        self._at = 0.0
        self.admitted = 0
        self.worst = -math.inf
        """Tokens; 0 is the bound."""

    def level(self, now: float) -> float:
        """Tokens admitted, less rate * T, in the worst of all windows that end now."""
        return max(0.0, self._level - self._limit.rate * (now - self._at))

    def take_back(self, tokens: float, now: float) -> None:
        """Take back admitted tokens."""
        self._level, self._at = max(0.0, self.level(now) - tokens), now

    def admit(self, now: float) -> None:
        """One token was admitted. `now` never decreases."""
        self._level = self.level(now) + 1
        self._at = now
        self.admitted += 1
        self.worst = max(self.worst, self._level - self._limit.burst)


class Bucket:
    """One exact token bucket: the admissions of a fleet without delays."""

    def __init__(self, limit: Limit) -> None:
        self._limit, self._tokens, self._at, self.admitted = limit, float(limit.burst), 0.0, 0

    def take(self, now: float) -> None:
        """One token, if there is one."""
        gained = self._limit.rate * (now - self._at)
        self._tokens, self._at = min(self._limit.burst, self._tokens + gained), now
        if self._tokens >= 1:
            self._tokens -= 1
            self.admitted += 1


@dataclass(slots=True)
class Node:
    """A data plane with one worker."""

    name: str
    holder: Holder
    offset: float
    speed: float
    """Its clock: offset + speed * time."""
    demand: float
    """Requests a second."""
    stream: int = 0
    """Number of its stream: messages on earlier streams do not arrive."""
    cut: bool = False
    """Whether it cannot reach the owner."""

    def clock(self, now: float) -> float:
        return self.offset + self.speed * now


@dataclass
class Fleet:
    """`delay`: minimum and maximum for a message, in seconds. `loss`: the probability for a message, which breaks the
    stream."""

    limit: Limit
    demands: list[float]
    seed: int = 0
    delay: tuple[float, float] = (0.001, 0.05)
    loss: float = 0.0
    now: float = 0.0
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.meter = Meter(self.limit)
        self.ideal = Bucket(self.limit)
        self.owner: Owner | None = Owner(self.limit, 1, 0.0, takeover=False)
        self.floors = first_floors(self.limit)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._epoch = 1
        self._runs = 0
        self.asked = 0
        """Asks that all nodes sent."""
        self.nodes = [self._node(demand) for demand in self.demands]
        for node in self.nodes:
            self._tick(node)
            self._request(node)
        self._sweep()
        self._store()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until

    def utilisation(self, seconds: float) -> float:
        """Let time pass; returns the admissions over those of one exact bucket."""
        admitted, ideal = self.meter.admitted, self.ideal.admitted
        self.run(seconds)
        return (self.meter.admitted - admitted) / (self.ideal.admitted - ideal)

    def restart(self, node: Node, known: bool) -> None:
        """The process of `node` dies and restarts; `known`: the owner is notified."""
        if known and self.owner is not None:
            self.owner.leave(node.name, self.now)
        node.stream += 1
        self._runs += 1
        node.name = f"{self._runs}"
        node.holder = Holder(self.limit)
        node.holder.wake = lambda: self._later(0.0, lambda: self._ask(node))

    def stop_owner(self) -> None:
        """The owner dies: asks are not answered."""
        self.owner = None
        for node in self.nodes:
            self._break(node)

    def take_over(self) -> None:
        """A new owner starts, without any state."""
        self._epoch += 1
        self.owner = Owner(self.limit, self._epoch, self.now, takeover=True, floors=self.floors)

    def cut(self, nodes: list[Node], cut: bool = True) -> None:
        """Begin, or end, a partition between `nodes` and the owner."""
        for node in nodes:
            node.cut = cut
            self._break(node)

    def send(self, node: Node, key: str, requests: int, every: float) -> int:
        """A client that sends so many requests to `node`, one after another; how many are admitted."""
        admitted = 0
        for _ in range(requests):
            clock = node.clock(self.now)
            holding = node.holder.holdings.get(key) or node.holder.open(key, clock)
            admitted += holding.take(1.0, clock)
            self.run(every)
        return admitted

    def _node(self, demand: float) -> Node:
        self._runs += 1
        speed = 1 + self.random.uniform(-0.004, 0.004)
        node = Node(f"{self._runs}", Holder(self.limit), self.random.uniform(0, 1e5), speed, demand)
        node.holder.wake = lambda: self._later(0.0, lambda: self._ask(node))
        return node

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, event))

    def _break(self, node: Node) -> None:
        node.stream += 1
        node.holder.lost()

    def _request(self, node: Node) -> None:
        if node.demand <= 0:
            self._later(0.1, lambda: self._request(node))
            return
        self._later(self.random.expovariate(node.demand), lambda: self._arrive(node))

    def _arrive(self, node: Node) -> None:
        self.ideal.take(self.now)
        clock = node.clock(self.now)
        holding = node.holder.holdings.get(KEY) or node.holder.open(KEY, clock)
        if holding.take(1.0, clock):
            self.meter.admit(self.now)
        self._request(node)

    def _tick(self, node: Node) -> None:
        self._ask(node)
        self._later(ASKING / 5, lambda: self._tick(node))

    def _ask(self, node: Node) -> None:
        if not node.cut and self.owner is not None:
            ask = node.holder.ask(node.clock(self.now))
            if ask is not None:
                self.asked += 1
                stream = node.stream
                self._send(node, lambda: self._owner_hears(node, stream, ask))

    def _send(self, node: Node, event: Callable[[], None]) -> None:
        if self.random.random() < self.loss:
            self._later(self.random.uniform(*self.delay), lambda: self._break(node))
        else:
            self._later(self.random.uniform(*self.delay), event)

    def _owner_hears(self, node: Node, stream: int, ask: Ask) -> None:
        # Asks of an earlier stream or run may still arrive.
        if self.owner is None or node.cut:
            return
        name = node.name
        answer = self.owner.ask(name, ask, self.now) if stream == node.stream else None
        if answer is not None:
            self._send(node, lambda: self._holder_hears(node, stream, answer))

    def _holder_hears(self, node: Node, stream: int, answer: Answer) -> None:
        if stream == node.stream and not node.cut:
            node.holder.answer(answer, node.clock(self.now))
            if node.holder.urgent:
                self._ask(node)

    def _store(self) -> None:
        if self.owner is not None and (reservation := self.owner.reserve(self.now)) is not None:
            self.floors = reservation.floors
            self.owner.reserved(reservation)
        self._later(0.1, self._store)

    def _sweep(self) -> None:
        if self.owner is not None:
            self.owner.sweep(self.now)
        for node in self.nodes:
            node.holder.tidy(node.clock(self.now))
        self._later(1.0, self._sweep)
