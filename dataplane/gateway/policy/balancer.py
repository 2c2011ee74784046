"""Load balancing: the choice of one healthy instance for a request.

A balancer serves a fixed set of endpoints. A changed set gets a new balancer, which continues at its predecessor's
position. Everything is computed from the set beforehand, so a pick is a step in a ring or a look-up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import cycle, islice
from math import gcd, log
from typing import Generic, Protocol, TypeVar
from zlib import crc32

from dataplane.gateway.policy.resources import LoadBalancer

_RING = 4096
"""Places in a ring, at most. Weights that need more are rounded, each to at least one place."""
_SLOTS = 4096
"""Groups of addresses in ip_hash."""


class BalancedEndpoint(Protocol):
    """The properties of an endpoint that balancers use."""

    @property
    def id(self) -> str:
        """Unique within the service; ip_hash goes by it."""

    @property
    def weight(self) -> int:
        """Relative share of the traffic, 1 to 1000."""

    @property
    def in_flight(self) -> int:
        """Requests in flight."""


E = TypeVar("E", bound=BalancedEndpoint)
E_co = TypeVar("E_co", bound=BalancedEndpoint, covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a balancer in its turns."""

    upcoming: tuple[object, ...]
    """Its endpoints, in the order of their next turns."""
    turn: float
    """The share of its ring that was behind it, from 0 to 1."""


class Balancer(Protocol[E_co]):
    """Picks among a fixed set of endpoints."""

    def pick(self, address: str) -> E_co | None:
        """The endpoint for a request from `address`; None when there is none."""

    def another(self, address: str, tried: Collection[object]) -> E_co | None:
        """An endpoint not in `tried`, for a retry; None when there is no other."""

    def leave(self) -> Position | None:
        """The position at which its successor continues; None: anywhere. This balancer stays where it is."""


def make_balancer(
    kind: LoadBalancer, endpoints: Sequence[E], start: int = 0, after: Position | None = None
) -> Balancer[E]:
    """A balancer over `endpoints`, all healthy.

    It continues at the position `after` of its predecessor, so that frequent changes do not favor the first endpoints.
    Without it, rings begin at place `start`, so that workers with different ones are not in step.
    """
    if not endpoints:
        return _Empty(after)
    if len(endpoints) == 1:
        return _Only(endpoints[0], after)
    if kind is LoadBalancer.IP_HASH:
        return _IpHash(endpoints, after)
    if kind is LoadBalancer.LEAST_REQUEST:
        return _LeastRequest(endpoints, start, after)
    return _RoundRobin(endpoints, start, after)


class _Empty(Generic[E]):
    def __init__(self, after: Position | None) -> None:
        self._after = after

    def pick(self, address: str) -> E | None:
        return None

    def another(self, address: str, tried: Collection[object]) -> E | None:
        return None

    def leave(self) -> Position | None:
        return self._after


class _Only(Generic[E]):
    def __init__(self, endpoint: E, after: Position | None) -> None:
        self._endpoint = endpoint
        self._after = after

    def pick(self, address: str) -> E | None:
        return self._endpoint

    def another(self, address: str, tried: Collection[object]) -> E | None:
        return None if self._endpoint in tried else self._endpoint

    def leave(self) -> Position | None:
        return self._after


class _RoundRobin(Generic[E]):
    """Each endpoint in turn, as often as its weight says and as evenly spread as it goes."""

    def __init__(self, endpoints: Sequence[E], start: int, after: Position | None) -> None:
        ring = _ring(endpoints)
        self._length = len(ring)
        self._ring = cycle(_turned(list(enumerate(ring)), _first_place(ring, start, after)))

    def pick(self, address: str) -> E | None:
        _, endpoint = next(self._ring)
        return endpoint

    def another(self, address: str, tried: Collection[object]) -> E | None:
        return next((each for _, each in islice(self._ring, self._length) if each not in tried), None)

    def leave(self) -> Position | None:
        left = list(islice(self._ring, self._length))
        return Position(tuple(dict.fromkeys(each for _, each in left)), left[0][0] / self._length)


class _LeastRequest(Generic[E]):
    """The less busy of two, in proportion to their weights; between equals, round robin.

    Two choices are nearly as good as all (M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing,
    2001) and cost the same however many there are. Chance is not needed: the second choice moves on each time around,
    so that every endpoint is compared with every other, or with as many as fit the ring.
    """

    def __init__(self, endpoints: Sequence[E], start: int, after: Position | None) -> None:
        self._endpoints = tuple(endpoints)
        pairs = [(place, first, second) for place, (first, second) in enumerate(_pairs(endpoints))]
        self._length = len(pairs)
        firsts = [first for _, first, _ in pairs]
        self._pairs = cycle(_turned(pairs, _first_place(firsts, start, after)))

    def pick(self, address: str) -> E | None:
        _, first, second = next(self._pairs)
        if second.in_flight * first.weight < first.in_flight * second.weight:
            return second
        return first

    def another(self, address: str, tried: Collection[object]) -> E | None:
        left = [each for each in self._endpoints if each not in tried]
        return min(left, key=lambda each: each.in_flight / each.weight, default=None)

    def leave(self) -> Position | None:
        left = list(islice(self._pairs, self._length))
        return Position(tuple(dict.fromkeys(each for _, each, _ in left)), left[0][0] / self._length)


class _IpHash(Generic[E]):
    """The same address, the same endpoint, on every worker and data plane: rendezvous hashing (Thaler and Ravishankar,
    1998). When an endpoint leaves, only its callers move; when it returns, they are back.

    Addresses are put into groups, and a group's endpoint is worked out when the first caller of it comes. So a pick is
    cheap, and a flood of addresses cannot make it expensive.
    """

    def __init__(self, endpoints: Sequence[E], after: Position | None) -> None:
        self._endpoints = tuple(endpoints)
        self._after = after
        self._slots: list[E | None] = [None] * _SLOTS

    def pick(self, address: str) -> E | None:
        slot = crc32(address.encode()) % _SLOTS
        endpoint = self._slots[slot]
        return self._fill(slot) if endpoint is None else endpoint

    def another(self, address: str, tried: Collection[object]) -> E | None:
        left = [each for each in self._endpoints if each not in tried]
        return _winner(left, crc32(address.encode()) % _SLOTS) if left else None

    def leave(self) -> Position | None:
        return self._after

    def _fill(self, slot: int) -> E:
        winner = self._slots[slot] = _winner(self._endpoints, slot)
        return winner


def _winner(endpoints: Sequence[E], slot: int) -> E:
    """The endpoint with the highest score, where higher weights win in proportion: w / -ln(u), u uniform in (0, 1)."""

    def score(endpoint: E) -> tuple[float, str]:
        digest = blake2b(f"{slot} {endpoint.id}".encode(), digest_size=7).digest()
        uniform = (int.from_bytes(digest, "big") + 0.5) / 2.0**56
        return endpoint.weight / -log(uniform), endpoint.id

    return max(endpoints, key=score)


def _ring(endpoints: Sequence[E]) -> list[E]:
    """Every endpoint as often as its weight says, evenly spread: the nth of w places lies at (n + phase) / w.

    The phases are all different, so that endpoints of one weight alternate instead of coming in a row.
    """
    places = _places([endpoint.weight for endpoint in endpoints])
    spread = sorted(
        ((nth + (index + 1) / (len(endpoints) + 1)) / count, index)
        for index, count in enumerate(places)
        for nth in range(count)
    )
    return [endpoints[index] for _, index in spread]


def _places(weights: Sequence[int]) -> list[int]:
    """The weights in lowest terms, or rounded so that a ring holds them."""
    common = gcd(*weights)
    total = sum(weights) // common
    if total <= _RING:
        return [weight // common for weight in weights]
    return [max(1, round(weight / common / total * _RING)) for weight in weights]


def _pairs(endpoints: Sequence[E]) -> list[tuple[E, E]]:
    """The ring, several times over, each place paired with another endpoint: the next one, then the one after it..."""
    ring = _ring(endpoints)
    index = {id(endpoint): place for place, endpoint in enumerate(endpoints)}
    others = len(endpoints) - 1
    rounds = min(others, max(1, _RING // len(ring)))
    steps = [1 + number * others // rounds for number in range(rounds)]
    return [
        (first, endpoints[(index[id(first)] + step) % len(endpoints)]) for step in steps for first in ring
    ]


def _first_place(ring: Sequence[E], start: int, after: Position | None) -> int:
    """The place of the next endpoint that is nearest to the last position in the other ring."""
    if after is None:
        return start
    length, wanted = len(ring), round(after.turn * len(ring))
    present = {id(endpoint) for endpoint in ring}
    upcoming = next((each for each in after.upcoming if id(each) in present), None)
    places = [place for place, endpoint in enumerate(ring) if endpoint is upcoming]
    return min(places, key=lambda place: _distance(place, wanted, length), default=wanted)


def _distance(one: int, other: int, length: int) -> int:
    """Of two places in a ring."""
    return min((one - other) % length, (other - one) % length)


def _turned(ring: list[T], start: int) -> list[T]:
    start %= len(ring)
    return ring[start:] + ring[:start]
