"""Operators' orders to close a breaker or to fill a bucket: each is obeyed once.

A table holds an order for a while, and a restored store may bring back old ones. An order is known by its target and
revision. Revisions are not compared: they go back with the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final

from dataplane.gateway.policy.breakers import Breakers
from dataplane.gateway.policy.limiter import Limiter, label, short
from dataplane.gateway.policy.resources import Reset
from dataplane.gateway.policy.window import reset
from dataplane.gateway.store import NoStore, Order, Store
from dataplane.proxy.trust import address_block

_MOST_OBEYED: Final = 1_000
"""Resets remembered that are no longer in the table."""
_MOST_UNSENT: Final = 10_000
_SENT_AGAIN: Final = 240.0
"""Seconds in which Redis is told again; shorter than it knows that it has obeyed (`window.reset`)."""
_ADDRESS: Final = "address:"
_BLOCK_BITS: Final = 64


class Resets:
    """The orders that one worker has obeyed."""

    def __init__(self, limiter: Limiter, breakers: Breakers) -> None:
        self._limiter = limiter
        self._breakers = breakers
        self._obeyed: dict[Reset, None] = {}
        self.store: Store = NoStore()
        """Where limits in Redis are counted."""
        self._unsent: deque[_ToRedis] = deque(maxlen=_MOST_UNSENT)

    def obey(self, resets: Collection[Reset], now: float, *, first: bool = False) -> None:
        """Obey the orders of a new table that are new here.

        Those of the `first` table are not passed on to Redis: they are older than this worker, and were obeyed there.
        """
        for order in resets:
            if order in self._obeyed:
                continue
            self._obeyed[order] = None
            if order.circuit:
                self._breakers.reset(order.circuit, now)
            if order.rate_limit:
                for bits in sorted({_BLOCK_BITS, *self._limiter.prefixes()}):
                    key = _bucket(order.rate_limit, bits)
                    self._limiter.reset(key, order.revision, now)
                    if not first:
                        self._reset_in_redis(key, order.revision, now)
        while len(self._obeyed) > _MOST_OBEYED + len(resets):
            del self._obeyed[next(iter(self._obeyed))]

    def _reset_in_redis(self, key: str, order: int, now: float) -> None:
        for limit in self._limiter.in_redis():
            for bare in {key, key.removeprefix(label(limit, ""))}:
                name = self.store.naming.name(limit.name, short(bare))
                self._send(_ToRedis(self._unsent, name, reset(name, order), now + _SENT_AGAIN), now)

    def send_again(self, now: float) -> None:
        """Redis answers: tell it what it has not heard while it was away."""
        for _ in range(len(self._unsent)):
            order = self._unsent.popleft()
            if now < order.until:
                self._send(order, now)

    def _send(self, order: _ToRedis, now: float) -> None:
        if not self.store.ask(order, now):
            self._unsent.append(order)


class _ToRedis(Order):
    """An order that Redis is told."""

    __slots__ = ("_unsent", "until")

    def __init__(self, unsent: deque[_ToRedis], name: bytes, command: bytes, until: float) -> None:
        super().__init__(name, command)
        self._unsent = unsent
        self.until = until

    def failed(self, now: float) -> None:
        self._unsent.append(self)


def _bucket(key: str, bits: int) -> str:
    """The key of a bucket that an operator names: any address of an IPv6 host means its block of so many `bits`."""
    if key.startswith(_ADDRESS):
        return _ADDRESS + _block(key.removeprefix(_ADDRESS), bits)
    return _block(key, bits)


def _block(address: str, bits: int) -> str:
    # A block is named by its length, too.
    return address if address.endswith(f"/{bits}") else address_block(address, bits)
