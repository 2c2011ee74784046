"""Which of the healthy instances takes a request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar

from dataplane.policy.resources import LoadBalancer


class Endpoint(Protocol):
    """What a balancer needs to know of an instance."""

    @property
    def id(self) -> str:
        """Unique within the service; ip_hash goes by it."""

    @property
    def weight(self) -> int:
        """Relative share of the traffic, 1 to 1000."""

    @property
    def in_flight(self) -> int:
        """Requests under way."""


E = TypeVar("E", bound=Endpoint)
E_co = TypeVar("E_co", bound=Endpoint, covariant=True)


class Balancer(Protocol[E_co]):
    """Picks among a fixed set of endpoints; a changed set is a new balancer."""

    def pick(self, address: str) -> E_co | None:
        """The endpoint for a request from `address`; None when there is none."""

    def another(self, address: str, tried: Collection[object]) -> E_co | None:
        """An endpoint that is not in `tried`; None when all were."""


def make_balancer(kind: LoadBalancer, endpoints: Sequence[E], start: int = 0) -> Balancer[E]:
    """A balancer over healthy endpoints; workers pass different `start`s so as not to march in step."""
    raise NotImplementedError
